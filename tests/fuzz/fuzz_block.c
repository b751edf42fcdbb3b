/* fuzz_block: any bytes as a block: checked, walked, all headers read; nothing leads outside. With libFuzzer (-DFUZZ_LIB) or alone:
 * fuzz_block [SEED [ROUNDS]] changes good blocks and makes their checksums good again, so that the walk sees them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t walked;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block_view view;
	uint8_t *bytes = malloc(size ? size : 1);	/* of the very size, for the address sanitizer */
	if (!bytes)
		return 0;
	memcpy(bytes, data, size);
	if (size >= BLOCK_HEADER_BYTES && block_view_open(&view, bytes, size)) {
		struct walk walk = { 0 };
		struct record_view record;
		struct header_view headers[8], found;
		char digits[24];
		const uint8_t *text;
		block_finish(bytes);
		bool good = !block_check(bytes, size);
		while (block_walk(&view, &walk, &record) > 0) {
			if (record.type != RECORD_EVENT)
				continue;
			uint32_t n = event_view_headers(&record.event, headers, 8);
			for (uint32_t i = 0; i < n && i < 8; i++)
				if (header_view_text(&headers[i], digits, &text) && text[0] == 0x7e)
					walked++;
			(void)event_view_header(&record.event, "host", 4, &found);
			walked += good;
		}
	}
	free(bytes);
	return 0;
}

#ifndef FUZZ_LIB
static uint64_t seed;

static uint32_t
any(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((seed >> 33) % below);
}

int
main(int argc, char **argv)
{
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 0) : 20000;
	struct block block = { .bytes = aligned_alloc(4096, 8192), .capacity = 8192 };
	struct block_scratch *scratch;
	uint8_t body[256], input[8192];
	if (!block.bytes || block_scratch_init(&scratch, 8192))
		return 1;
	printf("seed %llu, %llu rounds\n", (unsigned long long)seed, (unsigned long long)rounds);
	struct header_set *set = calloc(1, sizeof *set + 2 * sizeof(struct header));
	set->count = 2;
	set->headers[0] = (struct header){ .name = name_intern("host", 4), .kind = HEADER_BYTES, .len = 3, .value.bytes = (const uint8_t *)"abc" };
	set->headers[1] = (struct header){ .name = name_intern("n", 1), .kind = HEADER_NUMBER, .value.number = 77 };
	uint32_t bytes = 0;
	for (uint64_t round = 0; round < rounds; round++) {
		if (round % 64 == 0) {
			struct name inline_name = { "wild", 4, NAME_ID_INLINE };
			block_open(&block, scratch);
			for (uint32_t i = 1 + any(30); i > 0; i--) {
				struct header own[] = {
					{ .name = name_intern("t", 1), .kind = HEADER_NUMBER, .value.number = any(1u << 30) },
					{ .name = name_intern("w", 1), .kind = HEADER_BODY, .len = 1, .value.body_offset = 2 },
					{ .name = &inline_name, .kind = HEADER_BYTES, .len = any(20), .value.bytes = body },
				};
				memset(body, (int)any(256), sizeof body);
				struct event e = { .body = body, .body_len = 3 + any(100), .headers = own, .header_count = (uint16_t)any(4),
					.shared = any(2) ? set : NULL, .time_ns = any(1u << 30) };
				if (block_put(&block, 0, &e))
					break;
			}
			bytes = block_seal(&block);
			((struct block_header *)block.bytes)->group_count = 1;
		}
		memcpy(input, block.bytes, bytes);
		const struct block_header *h = (const struct block_header *)input;
		uint32_t raw_end = BLOCK_HEADER_BYTES + h->raw_bytes;
		for (uint32_t k = any(4); k > 0; k--) {
			uint32_t at = any(3) == 0 ? 100 + any(40) : raw_end + any(400);
			if (at < bytes)
				input[at] = (uint8_t)(any(2) ? any(256) : input[at] ^ 1u << any(8));
		}
		LLVMFuzzerTestOneInput(input, any(10) ? bytes : any(bytes + 1));
	}
	printf("%llu events of good blocks walked\n", (unsigned long long)walked);
	free(set);
	free(block.bytes);
	block_scratch_free(scratch);
	return walked ? 0 : 1;
}
#endif
