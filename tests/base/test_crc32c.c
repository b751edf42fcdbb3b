/* crc32c: RFC 3720's vectors, and every way against the table at all lengths and alignments where they change over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"

static void
test_vectors(void **state)
{
	(void)state;
	uint8_t bytes[32];
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void
test_ways(void **state)
{
	(void)state;
	static uint8_t bytes[70000];
	uint32_t random = 1;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)((random = random * 1664525 + 1013904223) >> 24);
	for (size_t len = 0; len < 3000; len++) {
		size_t at = len % 67;
		uint32_t want = crc32c_sw(random, bytes + at, len);
		assert_int_equal(crc32c(random, bytes + at, len), want);
		if (crc32c_has_hw())
			assert_int_equal(crc32c_hw(random, bytes + at, len), want);
		random = random * 1664525 + 1013904223;
	}
	for (size_t len = 60000; len < 60600; len += 7)
		assert_int_equal(crc32c(random, bytes + 1, len), crc32c_sw(random, bytes + 1, len));
	/* Continued. */
	assert_int_equal(crc32c(crc32c(0, bytes, 4099), bytes + 4099, 5000), crc32c_sw(0, bytes, 9099));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors), cmocka_unit_test(test_ways) };
	return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
