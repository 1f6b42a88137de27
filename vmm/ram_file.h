/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SEGUE_VMM_RAM_FILE_H
#define SEGUE_VMM_RAM_FILE_H

#include <stdint.h>

#include "proto/error.h"

/*
 * A file in memory of SIZE bytes, all holes, that goes with its last descriptor and mapping.
 * In huge pages where the kernel lets this user have them, whatever its setting for memfds
 * ("never", on most hosts); else an ordinary memfd. Before the sandbox closes; forks, so best
 * before there are threads. The caller owns *RET_FD. Errors: what the kernel says.
 */
int ram_file_create(uint64_t size, int *ret_fd, struct error *err);

#endif
