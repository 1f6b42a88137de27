/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONFIG_DEVICES_H
#define VMM_CONFIG_DEVICES_H

#include "guest.pb-c.h"
#include "vmm/config_schema.h"
#include "vmm/config_where.h"

/* The parts of config_check() for disks and network cards. */
int config_check_disks(const struct config_file *file, const struct config_where *where,
		       const char *dir, Segue__Guest *guest, struct error *err);
int config_check_nets(const struct config_file *file, const struct config_where *where,
		      Segue__Guest *guest, struct error *err);

/*
 * Put a copy of TEXT into an initialised message's field; the second puts DIR in front of a
 * relative path.
 */
int config_copy(char **field, const char *text, struct error *err);
int config_copy_path(char **field, const char *dir, const char *path, struct error *err);

#endif
