#include "sinks/sink.h"

const struct sink_ops *const sink_kinds[] = { &sink_null, &sink_logger, &sink_file_roll, &sink_hdfs, &sink_kafka, NULL };
