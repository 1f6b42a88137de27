/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONFIG_H
#define VMM_CONFIG_H

#include <stddef.h>

#include "guest.pb-c.h"
#include "proto/error.h"

/*
 * A guest's YAML file. Every error reads "web1.yaml:12: disks[0].path: what is wrong".
 * docs/segue.1 lists the keys.
 */
#define CONFIG_FILE_MAX    (64u << 10) /* bytes of YAML */
#define CONFIG_CPUS_MAX    8u
#define CONFIG_DISKS_MAX   8u
#define CONFIG_NETS_MAX    4u
#define CONFIG_MEMORY_STEP (2ull << 20)
#define CONFIG_MEMORY_MIN  (4ull << 20)
#define CONFIG_MEMORY_MAX  (1ull << 40)
#define CONFIG_PATH_MAX    4095u
#define CONFIG_CMDLINE_MAX 2047u /* Linux' COMMAND_LINE_SIZE less the final NUL */
#define CONFIG_SERIAL_MAX  20u   /* virtio 1.2, 5.2.6.1: VIRTIO_BLK_T_GET_ID */

/*
 * Reads, checks and completes with defaults. Relative paths in the file become paths
 * relative to the file's directory. Nothing that the file names is opened.
 */
int config_load(const char *path, Segue__Guest **ret_guest, struct error *err);

/* The same for LEN bytes in memory; NAME stands for the file in errors and relative paths. */
int config_parse(const char *data, size_t len, const char *name, Segue__Guest **ret_guest,
		 struct error *err);

void config_free(Segue__Guest *guest); /* NULL is fine */

#endif
