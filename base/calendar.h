/* calendar: instants to calendar fields and back by the rules of a zone, over libicu; never by the process's own zone unless asked for.
 * As Java's GregorianCalendar, its change from Julian to Gregorian dates in 1582 included. Owner and thread: whoever opened it. */
#ifndef PENSTOCK_BASE_CALENDAR_H
#define PENSTOCK_BASE_CALENDAR_H

#include <stdint.h>

#include "base/err.h"

struct calendar;

struct calendar_time {
	int32_t year;
	int32_t month, day;		/* 1 ... */
	int32_t hour, minute, second, ms;
	int32_t weekday;		/* 0 Sunday */
	int32_t yearday;		/* 1 ... */
	int32_t zone_s;			/* east of UTC, daylight saving included */
};

enum calendar_unit { CALENDAR_SECOND, CALENDAR_MINUTE, CALENDAR_HOUR, CALENDAR_DAY };

/* zone: "America/New_York", "GMT+5:30", "UTC"; NULL: this machine's. -EINVAL: there is no such zone. */
int calendar_open(struct calendar **calendar, const char *zone, struct err *err);
void calendar_close(struct calendar *calendar);
void calendar_split(struct calendar *calendar, int64_t ms, struct calendar_time *time);
/* Down to a multiple of `value` of that field in the zone, the smaller fields to 0 (CALENDAR_DAY: to midnight, value 1). */
int64_t calendar_floor(struct calendar *calendar, int64_t ms, enum calendar_unit unit, uint32_t value);
/* The instant of the fields (year to ms; others are not looked at); a time that a change of zone leaves out counts as the one behind it. */
int64_t calendar_join(struct calendar *calendar, const struct calendar_time *time);

/* Days since 1970-01-01 of a date by the Gregorian rules, before 1582 too; month 1 to 12, day any. Any thread. */
int64_t calendar_day_number(int64_t year, int64_t month, int64_t day);

#endif
