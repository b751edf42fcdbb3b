/* Any bytes as a properties file, then as a whole configuration: no crash, and what was read can be written and read again.
 * With libFuzzer (clang -fsanitize=fuzzer) this is its target; built plainly it runs a bounded number of mutations from a seed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctrlplane/config.h"
#include "ctrlplane/config_print.h"
#include "tests/ctrlplane/test_kinds.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
parse_and_write(const uint8_t *bytes, size_t len)
{
	struct properties properties = { 0 }, again = { 0 };
	struct text text = { 0 };
	text_add(&text, "", 0);
	if (properties_parse(&properties, "f", bytes, len, NULL) == 0) {
		for (size_t i = 0; i < properties.count; i++)
			properties_write(&text, properties.lines[i]->key, properties.lines[i]->raw);
		if (properties_parse(&again, "g", text.text, text.len, NULL) || again.count != properties.count)
			abort();
		for (size_t i = 0; i < properties.count; i++) {
			if (strcmp(again.lines[i]->key, properties.lines[i]->key) != 0 || strcmp(again.lines[i]->raw, properties.lines[i]->raw) != 0)
				abort();
		}
	}
	text_free(&text);
	properties_free(&properties);
	properties_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static char path[64];
	const char *files[] = { path };
	struct config_request request = { .files = files, .file_count = 1, .agent = "a1", .wall_ns = 1 };
	struct config_report report = { 0 };
	struct config *config;
	parse_and_write(bytes, len);
	/* The command of an external filter would run: no filter may be configured, nor spelt with escapes. */
	uint8_t *tame = malloc(len + 1), *at;
	if (!tame)
		return 0;
	memcpy(tame, bytes, len);
	for (size_t i = 0; i < len; i++)
		tame[i] = tame[i] == '\\' ? '/' : tame[i];
	while ((at = memmem(tame, len, "configfilters", 13)) != NULL)
		*at = 'x';
	if (!*path) {
		test_kinds_fill();
		snprintf(path, sizeof path, "/tmp/penstock-fuzz-%d", (int)getpid());
	}
	FILE *file = fopen(path, "w");
	if (file) {
		fwrite(tame, 1, len, file);
		fclose(file);
	}
	free(tame);
	if (config_load(&config, &request, &report) == 0) {
		struct text text = { 0 };
		config_print(&text, config);
		text_free(&text);
		config_free(config);
	}
	unlink(path);
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static uint64_t seed = 1;

static uint32_t
draw(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % below;
}

int
main(int argc, char **argv)
{
	static const char *const words[] = { "a1.sources = r1", "${", "}", "\\", "\\u00", "\n", "=", ":-", "${a1.sources}", "sinks", "channels", ".", "$$", "\r", "#", "[x]}" };
	uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000;
	for (int a = 2; a < argc; a++) {
		FILE *file = fopen(argv[a], "r");
		static uint8_t original[65536], bytes[131072];
		size_t original_len = file ? fread(original, 1, sizeof original, file) : 0;
		if (file)
			fclose(file);
		for (uint32_t round = 0; round < rounds; round++) {
			size_t len = original_len;
			memcpy(bytes, original, len);
			for (uint32_t change = draw(8); change > 0 && len > 0; change--) {
				size_t at = draw((uint32_t)len);
				const char *word = words[draw(sizeof words / sizeof *words)];
				switch (draw(4)) {
				case 0: bytes[at] = (uint8_t)draw(256); break;
				case 1: len = at; break;
				case 2: memmove(bytes + at, bytes + at + 1, --len - at); break;
				case 3:
					memmove(bytes + at + strlen(word), bytes + at, len - at);
					memcpy(bytes + at, word, strlen(word));
					len += strlen(word);
					break;
				}
			}
			LLVMFuzzerTestOneInput(bytes, len);
		}
	}
	return 0;
}
#endif
