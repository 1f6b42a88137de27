/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONFIG_CHECK_H
#define VMM_CONFIG_CHECK_H

#include "guest.pb-c.h"
#include "vmm/config_schema.h"
#include "vmm/config_where.h"

/*
 * Turns what a file says into a guest: required keys, ranges, duplicates, defaults, paths
 * made relative to DIR ("" when the file lies in the working directory). Fills GUEST, which
 * is initialised and, also after a failure, the caller's to free.
 */
int config_check(const struct config_file *file, const struct config_where *where,
		 const char *dir, Segue__Guest *guest, struct error *err);

#endif
