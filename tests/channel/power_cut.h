/* power_cut: what the parts of power_cut_guest share. */
#ifndef PENSTOCK_TESTS_POWER_CUT_H
#define PENSTOCK_TESTS_POWER_CUT_H

#include <stdint.h>

uint32_t guest_chance(uint32_t below);
void guest_fail(const char *what) __attribute__((noreturn));
void guest_tell(uint64_t first, uint64_t second);

/* The daemon (/penstock) with its log and the sink's files on /disk, until so many events are acknowledged. */
void guest_daemon(const char *sync, uint64_t events, uint64_t *lines, uint64_t *posted);

#endif
