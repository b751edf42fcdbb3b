#include "sinks/sink_hdfs_ledger.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int
ledger_begin(struct hdfs_sink *sink, struct err *err)
{
	if (sink->config->delivery == DELIVERY_EXACTLY_ONCE)
		return err_set(err, ENOTSUP, "penstock.delivery exactly_once is not there yet");
	return 0;
}

void
ledger_end(struct hdfs_sink *sink)
{
	(void)sink;
}

uint64_t
ledger_step(struct hdfs_sink *sink, uint64_t now_ns)
{
	(void)sink;
	(void)now_ns;
	return UINT64_MAX;
}

uint64_t
ledger_file_number(struct hdfs_ledger *ledger)
{
	(void)ledger;
	return 0;
}

const char *
ledger_file_stem(const struct hdfs_ledger *ledger)
{
	(void)ledger;
	return "";
}

void
ledger_file_note(struct hdfs_file *file)
{
	(void)file;
}

uint64_t
ledger_file_step(struct hdfs_file *file, uint64_t now_ns)
{
	(void)file;
	(void)now_ns;
	return UINT64_MAX;
}

uint64_t
ledger_file_resolve(struct hdfs_file *file)
{
	(void)file;
	return UINT64_MAX;
}

void
ledger_file_removed(struct hdfs_file *file)
{
	(void)file;
}

void
ledger_in_doubt(struct hdfs_file *file)
{
	(void)file;
}
