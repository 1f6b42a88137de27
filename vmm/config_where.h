/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONFIG_WHERE_H
#define VMM_CONFIG_WHERE_H

#include <stddef.h>

#include <cyaml/cyaml.h>

#include "proto/error.h"

/*
 * Where in a YAML file each key is, so that a value found wrong after parsing can be
 * pointed at; and a check of the keys themselves against the schema.
 */
struct config_where;

/*
 * Reads LEN bytes; NAME (kept, not copied) stands for the file in errors. Refuses what is
 * not YAML, more than one document, aliases, keys that are unknown or given twice.
 */
int config_where_new(const char *data, size_t len, const char *name,
		     const cyaml_schema_value_t *schema, struct config_where **ret_where,
		     struct error *err);
void config_where_free(struct config_where *where); /* NULL is fine */

/*
 * Sets ERR to "NAME:LINE: KEY: text", with the line of KEY or, where the key is missing,
 * of the nearest thing around it. Returns -EINVAL.
 */
int config_where_error(const struct config_where *where, struct error *err, const char *key,
		       const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
