/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmm/config.h"

/* libcyaml's own booleans take any word they do not know for "true". */
static const cyaml_strval_t bools[] = {
    {"false", CONFIG_FALSE}, {"no", CONFIG_FALSE}, {"off", CONFIG_FALSE},
    {"true", CONFIG_TRUE},   {"yes", CONFIG_TRUE}, {"on", CONFIG_TRUE},
};

#define TEXT(key, type, member, max)                                                           \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 0, \
			       max)
#define BOOL(key, type, member)                                                                \
	CYAML_FIELD_ENUM(                                                                      \
	    key, CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT | CYAML_FLAG_CASE_INSENSITIVE, type,  \
	    member, bools, CYAML_ARRAY_LEN(bools))

static const cyaml_schema_field_t cpu_fields[] = {
    TEXT("model", struct config_cpu, model, 64),
    TEXT("count", struct config_cpu, count, 16),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t kernel_fields[] = {
    TEXT("image", struct config_kernel, image, CONFIG_PATH_MAX),
    TEXT("initrd", struct config_kernel, initrd, CONFIG_PATH_MAX),
    TEXT("cmdline", struct config_kernel, cmdline, CONFIG_CMDLINE_MAX),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t disk_fields[] = {
    TEXT("path", struct config_disk, path, CONFIG_PATH_MAX),
    TEXT("serial", struct config_disk, serial, 256),
    BOOL("readonly", struct config_disk, readonly),
    BOOL("direct", struct config_disk, direct),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t net_fields[] = {
    TEXT("tap", struct config_net, tap, 64),
    TEXT("mac", struct config_net, mac, 64),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t disk_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_disk, disk_fields),
};

static const cyaml_schema_value_t net_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct config_net, net_fields),
};

static const cyaml_schema_field_t file_fields[] = {
    TEXT("name", struct config_file, name, 256),
    TEXT("engine", struct config_file, engine, 64),
    CYAML_FIELD_MAPPING("cpu", CYAML_FLAG_OPTIONAL, struct config_file, cpu, cpu_fields),
    TEXT("memory", struct config_file, memory, 64),
    CYAML_FIELD_MAPPING("kernel", CYAML_FLAG_OPTIONAL, struct config_file, kernel,
			kernel_fields),
    CYAML_FIELD_SEQUENCE_COUNT("disks", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			       struct config_file, disks, n_disks, &disk_value, 0,
			       CYAML_UNLIMITED),
    CYAML_FIELD_SEQUENCE_COUNT("nets", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL,
			       struct config_file, nets, n_nets, &net_value, 0,
			       CYAML_UNLIMITED),
    BOOL("console", struct config_file, console),
    BOOL("entropy", struct config_file, entropy),
    BOOL("balloon", struct config_file, balloon),
    BOOL("allow_emulation", struct config_file, allow_emulation),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config_file, file_fields),
};

/* What libcyaml told its log: first a complaint, then a backtrace from the inside out. */
struct complaint {
	char text[256];
	char path[256];
	unsigned line;
	bool backtrace;
};

static void path_prepend(struct complaint *c, const char *part)
{
	char was[sizeof(c->path)];
	const char *dot = c->path[0] && c->path[0] != '[' ? "." : "";

	memcpy(was, c->path, sizeof(was));
	if (snprintf(c->path, sizeof(c->path), "%s%s%s", part, dot, was) < 0)
		c->path[0] = '\0';
}

static void take_frame(struct complaint *c, const char *frame)
{
	char part[128];
	unsigned line = 0, index;

	if (sscanf(frame, "  in mapping field '%100[^']' (line: %u", part, &line) >= 1) {
		path_prepend(c, part);
	} else if (sscanf(frame, "  in sequence entry '%u' (line: %u", &index, &line) >= 1) {
		/* It counts from one, the path from zero as other tools do. */
		snprintf(part, sizeof(part), "[%u]", index ? index - 1 : 0);
		path_prepend(c, part);
	} else if (sscanf(frame, "  in mapping (line: %u", &line) != 1) {
		return;
	}
	if (!c->line)
		c->line = line;
}

__attribute__((format(printf, 3, 0))) static void take_log(cyaml_log_t level, void *context,
							   const char *format, va_list args)
{
	struct complaint *c = context;
	char text[sizeof(c->text) + 8], *words = text;

	(void)level;
	vsnprintf(text, sizeof(text), format, args);
	text[strcspn(text, "\n")] = '\0';
	if (!strncmp(words, "Load: ", 6))
		words += 6;
	if (!strcmp(words, "Backtrace:"))
		c->backtrace = true;
	else if (c->backtrace)
		take_frame(c, words);
	else if (!c->text[0])
		snprintf(c->text, sizeof(c->text), "%.255s", words);
}

/* libcyaml speaks of types and events; the file's author thinks of keys and values. */
static const char *in_plain_words(const struct complaint *c, cyaml_err_t r)
{
	static const struct {
		const char *begins, *words;
	} plain[] = {
	    {"Expecting STRING", "must be a plain value"},
	    {"Expecting ENUM", "must be true or false"},
	    {"Expecting MAPPING", "must hold keys, \"key: value\""},
	    {"Expecting SEQUENCE", "must be a list, \"- ...\""},
	    {"Invalid ENUM", "must be true or false"},
	};

	for (size_t i = 0; i < CYAML_ARRAY_LEN(plain); i++)
		if (!strncmp(c->text, plain[i].begins, strlen(plain[i].begins)))
			return plain[i].words;
	if (r == CYAML_ERR_STRING_LENGTH_MAX)
		return "too long";
	return c->text[0] ? c->text : cyaml_strerror(r);
}

static const cyaml_config_t *configure(cyaml_config_t *config, struct complaint *c)
{
	*config = (cyaml_config_t){
	    .log_fn = take_log,
	    .log_ctx = c,
	    .log_level = CYAML_LOG_ERROR,
	    .mem_fn = cyaml_mem,
	    .flags = CYAML_CFG_NO_ALIAS,
	};
	return config;
}

int config_schema_load(const char *data, size_t len, const char *name,
		       struct config_file **ret_file, struct error *err)
{
	struct complaint c = {0};
	struct config_file *file = NULL;
	cyaml_config_t config;
	cyaml_err_t r;

	r = cyaml_load_data((const uint8_t *)data, len, configure(&config, &c), &config_schema,
			    (cyaml_data_t **)&file, NULL);
	if (r == CYAML_ERR_OOM)
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	if (r != CYAML_OK)
		return error_set(err, -EINVAL, "%s:%u: %s%s%s", name, c.line ? c.line : 1,
				 c.path, c.path[0] ? ": " : "", in_plain_words(&c, r));
	if (!file)
		return error_set(err, -EINVAL,
				 "%s:1: empty; a guest needs name, memory and kernel", name);
	*ret_file = file;
	return 0;
}

void config_schema_free(struct config_file *file)
{
	struct complaint c = {0};
	cyaml_config_t config;

	cyaml_free(configure(&config, &c), &config_schema, file, 0);
}
