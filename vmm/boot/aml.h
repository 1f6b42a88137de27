/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_AML_H
#define VMM_BOOT_AML_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/buffer.h"

/*
 * Writes ACPI Machine Language (ACPI 6.4, 20) into a buffer. Things with a length are
 * opened and closed, and nest. A write that fails for want of memory is remembered: ask
 * once, at the end, with aml_done().
 */
#define AML_DEPTH 8u

struct aml {
	struct buffer bytes;
	unsigned depth;
	size_t opened[AML_DEPTH]; /* where each length begins */
	int error;
};

int aml_done(const struct aml *aml); /* 0, -ENOMEM, or -EOVERFLOW: too deep or too long */

void aml_bytes(struct aml *aml, const void *data, size_t len);
void aml_byte(struct aml *aml, uint8_t byte);
/* Up to four characters, filled up with '_'; a leading backslash is kept. */
void aml_name(struct aml *aml, const char *name);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisa_id(struct aml *aml, const char *id); /* "PNP0A08", as an integer */

void aml_open(struct aml *aml); /* a length begins; the opcode has been written */
void aml_open_scope(struct aml *aml, const char *name);
void aml_open_device(struct aml *aml, const char *name);
void aml_open_method(struct aml *aml, const char *name, unsigned args, bool serialized);
void aml_open_package(struct aml *aml, uint8_t elements);
void aml_open_if(struct aml *aml); /* the predicate follows */
void aml_close(struct aml *aml);

/* Name (NAME, ...): the value follows. */
void aml_define(struct aml *aml, const char *name);
void aml_define_integer(struct aml *aml, const char *name, uint64_t value);
void aml_define_string(struct aml *aml, const char *name, const char *text);
void aml_define_eisa_id(struct aml *aml, const char *name, const char *id);

/* A region of system memory with one field of 32 bits over all of it. */
void aml_register(struct aml *aml, const char *region, uint64_t gpa, const char *field);

/* Name (_CRS, ResourceTemplate () { ... }): resources between open and close. */
void aml_open_resources(struct aml *aml);
void aml_close_resources(struct aml *aml);
void aml_memory_fixed(struct aml *aml, uint32_t base, uint32_t size);
void aml_io(struct aml *aml, uint16_t base, uint8_t size);
void aml_interrupt(struct aml *aml, uint32_t gsi, bool edge);
void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *aml, uint32_t base, uint32_t size);

#endif
