#include <errno.h>

#include "tools/trafficgen/send.h"

int
send_device(const struct send_config *config, struct load *load, struct pace *pace, struct send_result *result, struct err *err)
{
	(void)load;
	(void)pace;
	(void)result;
	return err_set(err, EINVAL, "--device: %s: not built yet: --kernel", config->device);
}
