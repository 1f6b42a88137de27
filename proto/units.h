/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_UNITS_H
#define PROTO_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* Sizes and times as people write and read them. */

/*
 * "512M", "4G", "1.5GiB", "64k": powers of 1024; a unit (K, M, G or T) is asked for, so that
 * nobody is left guessing what a bare 512 means. 0, -EINVAL, or -ERANGE.
 */
int units_parse_size(const char *text, uint64_t *ret_bytes);

/* "5ms", "300us", "2s", "5m", "1h"; a unit is asked for. Microseconds. */
int units_parse_time(const char *text, uint64_t *ret_us);

/* "512 MiB", "1.5 GiB"; BUF of UNITS_MAX bytes, returned. */
#define UNITS_MAX 32u
char *units_size(char *buf, uint64_t bytes);
/* "3.2 ms", "41 s", "2 min 5 s". */
char *units_time(char *buf, uint64_t us);
/* "812 MB/s": powers of 1000, as links are sold. */
char *units_rate(char *buf, uint64_t bytes_a_second);

#endif
