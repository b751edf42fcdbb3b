#include "base/calendar.h"

#include <errno.h>
#include <stdlib.h>
#include <unicode/ucal.h>
#include <unicode/ustring.h>

#define ZONE_CHARS 128

struct calendar {
	UCalendar *icu;
};

int
calendar_open(struct calendar **made, const char *zone, struct err *err)
{
	UErrorCode status = U_ZERO_ERROR;
	UChar name[ZONE_CHARS], known[ZONE_CHARS];
	UBool system;
	if (zone) {
		u_strFromUTF8(name, ZONE_CHARS, NULL, zone, -1, &status);
		ucal_getCanonicalTimeZoneID(name, -1, known, ZONE_CHARS, &system, &status);
		if (U_FAILURE(status))
			return err_set(err, EINVAL, "the time zone \"%s\" is not known: use a name such as Europe/Berlin, UTC or GMT+5:30", zone);
	}
	struct calendar *calendar = calloc(1, sizeof *calendar);
	if (!calendar)
		return err_set(err, ENOMEM, "no memory");
	calendar->icu = ucal_open(zone ? name : NULL, -1, "en_US", UCAL_GREGORIAN, &status);
	if (U_FAILURE(status)) {
		free(calendar);
		return err_set(err, EIO, "no calendar: %s", u_errorName(status));
	}
	*made = calendar;
	return 0;
}

void
calendar_close(struct calendar *calendar)
{
	if (!calendar)
		return;
	ucal_close(calendar->icu);
	free(calendar);
}

void
calendar_split(struct calendar *calendar, int64_t ms, struct calendar_time *time)
{
	UErrorCode status = U_ZERO_ERROR;
	UCalendar *icu = calendar->icu;
	ucal_setMillis(icu, (UDate)ms, &status);
	*time = (struct calendar_time){
		.year = ucal_get(icu, UCAL_YEAR, &status), .month = ucal_get(icu, UCAL_MONTH, &status) + 1, .day = ucal_get(icu, UCAL_DATE, &status),
		.hour = ucal_get(icu, UCAL_HOUR_OF_DAY, &status), .minute = ucal_get(icu, UCAL_MINUTE, &status),
		.second = ucal_get(icu, UCAL_SECOND, &status), .ms = ucal_get(icu, UCAL_MILLISECOND, &status),
		.weekday = ucal_get(icu, UCAL_DAY_OF_WEEK, &status) - UCAL_SUNDAY, .yearday = ucal_get(icu, UCAL_DAY_OF_YEAR, &status),
		.zone_s = (ucal_get(icu, UCAL_ZONE_OFFSET, &status) + ucal_get(icu, UCAL_DST_OFFSET, &status)) / 1000,
	};
}

int64_t
calendar_floor(struct calendar *calendar, int64_t ms, enum calendar_unit unit, uint32_t value)
{
	static const UCalendarDateFields fields[] = {
		[CALENDAR_SECOND] = UCAL_SECOND, [CALENDAR_MINUTE] = UCAL_MINUTE, [CALENDAR_HOUR] = UCAL_HOUR_OF_DAY, [CALENDAR_DAY] = UCAL_DATE,
	};
	UErrorCode status = U_ZERO_ERROR;
	UCalendar *icu = calendar->icu;
	int32_t step = value ? (int32_t)value : 1;
	ucal_setMillis(icu, (UDate)ms, &status);
	if (unit != CALENDAR_DAY)
		ucal_set(icu, fields[unit], ucal_get(icu, fields[unit], &status) / step * step);
	ucal_set(icu, UCAL_MILLISECOND, 0);
	if (unit >= CALENDAR_MINUTE)
		ucal_set(icu, UCAL_SECOND, 0);
	if (unit >= CALENDAR_HOUR)
		ucal_set(icu, UCAL_MINUTE, 0);
	if (unit >= CALENDAR_DAY)
		ucal_set(icu, UCAL_HOUR_OF_DAY, 0);
	return (int64_t)ucal_getMillis(icu, &status);
}

int64_t
calendar_join(struct calendar *calendar, const struct calendar_time *time)
{
	UErrorCode status = U_ZERO_ERROR;
	UCalendar *icu = calendar->icu;
	ucal_clear(icu);
	ucal_setDateTime(icu, time->year, time->month - 1, time->day, time->hour, time->minute, time->second, &status);
	ucal_set(icu, UCAL_MILLISECOND, time->ms);
	return (int64_t)ucal_getMillis(icu, &status);
}

int64_t
calendar_day_number(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;	/* the year begins in March, so that the leap day is its last */
	int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}
