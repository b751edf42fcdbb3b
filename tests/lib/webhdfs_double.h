/* webhdfs_double: starts tests/lib/webhdfs_double.py and gives it orders; see there. SOURCE_ROOT is given by meson. */
#ifndef PENSTOCK_TESTS_LIB_WEBHDFS_DOUBLE_H
#define PENSTOCK_TESTS_LIB_WEBHDFS_DOUBLE_H

extern char double_address[64];		/* host:port */

int double_start(void **state);		/* as cmocka's group set-up and tear-down */
int double_stop(void **state);
/* Orders something ("/fault?op=..."); its answer as a number. */
long double_order(const char *query);

#endif
