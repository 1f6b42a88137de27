/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SEGUE_VMM_RAM_FILE_H
#define SEGUE_VMM_RAM_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

/*
 * A file in memory of SIZE bytes, all holes, that goes with its last descriptor and mapping.
 * In huge pages where the kernel lets this user have them, whatever its setting for memfds
 * ("never", on most hosts); else an ordinary memfd: *RET_HUGE says. Before the sandbox closes;
 * forks. The caller owns *RET_FD. Errors: what the kernel says.
 */
int ram_file_create(uint64_t size, int *ret_fd, bool *ret_huge, struct error *err);

#endif
