#include "tests/lib/sink_fixture.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/config_of.h"

void
fixture_init(struct sink_fixture *fixture, uint64_t wall_ms)
{
	memset(fixture, 0, sizeof *fixture);
	fake_channel_init(&fixture->channel);
	clock_manual_init(&fixture->clock, NS_PER_S, wall_ms * NS_PER_MS);
}

int
fixture_open(struct sink_fixture *fixture, const struct sink_ops *ops, struct clock *clock, ...)
{
	const char *texts[33];
	size_t count = 0;
	va_list args;
	va_start(args, clock);
	while (count < 32 && (texts[count] = va_arg(args, const char *)))
		count++;
	texts[count] = NULL;
	va_end(args);
	free(fixture->config);
	option_values_free(&fixture->values);
	int rc = config_of(ops->options, ops->config_size, texts, &fixture->config, &fixture->values);
	if (rc)
		return rc;
	if (ops->check && (rc = ops->check(fixture->config, "k1", &fixture->err)))
		return rc;
	return sink_runner_open(&fixture->runner, ops, fixture->config, "a1", "k1", &fixture->channel.channel,
				clock ? clock : &fixture->clock.clock, &fixture->err);
}

void
fixture_step(struct sink_fixture *fixture)
{
	sink_runner_step(fixture->runner, 0);
}

void
fixture_stop(struct sink_fixture *fixture)
{
	if (fixture->runner)
		sink_runner_finish(fixture->runner, 0);
	fixture->runner = NULL;
}

void
fixture_free(struct sink_fixture *fixture)
{
	fixture_stop(fixture);
	fake_channel_free(&fixture->channel);
	free(fixture->config);
	option_values_free(&fixture->values);
}

uint64_t
fixture_metric(const char *name)
{
	return metrics_sum("SINK", "k1", name);
}

char *
file_read(const char *directory, const char *name, size_t *len)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	FILE *file = fopen(path, "rb");
	if (!file)
		return NULL;
	char *bytes = malloc(1 << 22);
	*len = fread(bytes, 1, (1 << 22) - 1, file);
	bytes[*len] = '\0';
	fclose(file);
	return bytes;
}

char *
files_list(const char *directory)
{
	struct dirent **names;
	int count = scandir(directory, &names, NULL, alphasort);
	size_t room = 1 << 16, used = 0;
	char *text = calloc(1, room);
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.')
			used += (size_t)snprintf(text + used, room - used, "%s%s", used ? " " : "", names[i]->d_name);
		free(names[i]);
	}
	free(names);
	return text;
}
