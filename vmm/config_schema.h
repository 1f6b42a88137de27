/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONFIG_SCHEMA_H
#define VMM_CONFIG_SCHEMA_H

#include <cyaml/cyaml.h>

#include "proto/error.h"

/*
 * The shape of a guest's YAML file. Everything is optional here and text as it was
 * written: what must be there and what it may say is config_check.c's affair, which can
 * name the line and the reason better.
 */
enum config_bool { CONFIG_UNSET, CONFIG_FALSE, CONFIG_TRUE };

struct config_cpu {
	char *model;
	char *count;
};

struct config_kernel {
	char *image;
	char *initrd;
	char *cmdline;
};

struct config_disk {
	char *path;
	char *serial;
	enum config_bool readonly;
	enum config_bool direct;
};

struct config_net {
	char *tap;
	char *mac;
};

struct config_file {
	char *name;
	char *engine;
	struct config_cpu cpu;
	char *memory;
	struct config_kernel kernel;
	struct config_disk *disks;
	struct config_net *nets;
	unsigned n_disks;
	unsigned n_nets;
	enum config_bool console;
	enum config_bool entropy;
	enum config_bool balloon;
	enum config_bool allow_emulation;
};

extern const cyaml_schema_value_t config_schema;

/* libcyaml with its complaint caught: on failure ERR says "NAME:LINE: KEY: ...". */
int config_schema_load(const char *data, size_t len, const char *name,
		       struct config_file **ret_file, struct error *err);
void config_schema_free(struct config_file *file);

#endif
