/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/aml.h"

#include <errno.h>
#include <string.h>

#include "proto/le.h"

/* Opcodes, ACPI 6.4, 20.3 */
enum {
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE = 0x10,
	AML_PACKAGE = 0x12,
	AML_METHOD = 0x14,
	AML_EXT = 0x5b,
	AML_EXT_REGION = 0x80,
	AML_EXT_FIELD = 0x81,
	AML_EXT_DEVICE = 0x82,
	AML_IF = 0xa0,
};

/* A field read and written by double words, bits not in it written as zero (20.2.5.2). */
#define FIELD_DWORD_ZEROS 0x43u
#define REGION_MEMORY     0x00u
#define METHOD_SERIALIZED 0x08u

int aml_done(const struct aml *aml)
{
	if (aml->error)
		return aml->error;
	return aml->depth ? -EOVERFLOW : 0;
}

void aml_bytes(struct aml *aml, const void *data, size_t len)
{
	if (!aml->error)
		aml->error = buffer_append(&aml->bytes, data, len);
}

void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

void aml_name(struct aml *aml, const char *name)
{
	char segment[4] = {'_', '_', '_', '_'};
	size_t len;

	if (*name == '\\')
		aml_byte(aml, (uint8_t)*name++);
	len = strnlen(name, sizeof(segment));
	memcpy(segment, name, len);
	aml_bytes(aml, segment, sizeof(segment));
}

void aml_integer(struct aml *aml, uint64_t value)
{
	uint8_t bytes[9];
	unsigned len;

	le64_put(bytes + 1, value);
	if (value <= 1) {
		aml_byte(aml, (uint8_t)value); /* ZeroOp, OneOp */
		return;
	}
	if (value <= UINT8_MAX)
		bytes[0] = AML_BYTE, len = 1;
	else if (value <= UINT16_MAX)
		bytes[0] = AML_WORD, len = 2;
	else if (value <= UINT32_MAX)
		bytes[0] = AML_DWORD, len = 4;
	else
		bytes[0] = AML_QWORD, len = 8;
	aml_bytes(aml, bytes, 1 + len);
}

void aml_string(struct aml *aml, const char *text)
{
	aml_byte(aml, AML_STRING);
	aml_bytes(aml, text, strlen(text) + 1);
}

static unsigned hex_digit(char digit)
{
	return (unsigned)(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

/* Three letters in five bits each, four digits in four (ACPI 6.4, 19.3.4 EISAID). */
void aml_eisa_id(struct aml *aml, const char *id)
{
	unsigned letters =
	    (unsigned)((id[0] & 0x1f) << 10 | (id[1] & 0x1f) << 5 | (id[2] & 0x1f));
	unsigned digits = hex_digit(id[3]) << 12 | hex_digit(id[4]) << 8 |
			  hex_digit(id[5]) << 4 | hex_digit(id[6]);
	uint8_t bytes[5] = {
	    AML_DWORD,       (uint8_t)(letters >> 8), (uint8_t)letters, (uint8_t)(digits >> 8),
	    (uint8_t)digits,
	};

	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_open(struct aml *aml)
{
	if (aml->depth == AML_DEPTH) {
		aml->error = aml->error ? aml->error : -EOVERFLOW;
		return;
	}
	aml->opened[aml->depth++] = aml->bytes.len;
}

/* PkgLength counts itself (20.2.4): 6 bits alone, or 4 and one to three more bytes. */
static unsigned length_encode(size_t body, uint8_t *bytes)
{
	unsigned extra = body + 1 < 0x40       ? 0
			 : body + 2 < 0x1000   ? 1
			 : body + 3 < 0x100000 ? 2
					       : 3;
	size_t len = body + 1 + extra;

	if (!extra) {
		bytes[0] = (uint8_t)len;
		return 1;
	}
	bytes[0] = (uint8_t)(extra << 6 | (len & 0xf));
	for (unsigned i = 0; i < extra; i++)
		bytes[1 + i] = (uint8_t)(len >> (4 + 8 * i));
	return 1 + extra;
}

void aml_close(struct aml *aml)
{
	uint8_t bytes[4];
	size_t at, body;
	unsigned n;

	if (aml->error || !aml->depth)
		return;
	at = aml->opened[--aml->depth];
	body = aml->bytes.len - at;
	if (body >= 1u << 27) {
		aml->error = -EOVERFLOW;
		return;
	}
	n = length_encode(body, bytes);
	aml_bytes(aml, bytes, n); /* makes the room */
	if (aml->error)
		return;
	memmove(aml->bytes.data + at + n, aml->bytes.data + at, body);
	memcpy(aml->bytes.data + at, bytes, n);
}

void aml_open_scope(struct aml *aml, const char *name)
{
	aml_byte(aml, AML_SCOPE);
	aml_open(aml);
	aml_name(aml, name);
}

void aml_open_device(struct aml *aml, const char *name)
{
	aml_byte(aml, AML_EXT);
	aml_byte(aml, AML_EXT_DEVICE);
	aml_open(aml);
	aml_name(aml, name);
}

void aml_open_method(struct aml *aml, const char *name, unsigned args, bool serialized)
{
	aml_byte(aml, AML_METHOD);
	aml_open(aml);
	aml_name(aml, name);
	aml_byte(aml, (uint8_t)(args | (serialized ? METHOD_SERIALIZED : 0)));
}

void aml_open_package(struct aml *aml, uint8_t elements)
{
	aml_byte(aml, AML_PACKAGE);
	aml_open(aml);
	aml_byte(aml, elements);
}

void aml_open_if(struct aml *aml)
{
	aml_byte(aml, AML_IF);
	aml_open(aml);
}

void aml_define(struct aml *aml, const char *name)
{
	aml_byte(aml, AML_NAME);
	aml_name(aml, name);
}

void aml_define_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_define(aml, name);
	aml_integer(aml, value);
}

void aml_define_string(struct aml *aml, const char *name, const char *text)
{
	aml_define(aml, name);
	aml_string(aml, text);
}

void aml_define_eisa_id(struct aml *aml, const char *name, const char *id)
{
	aml_define(aml, name);
	aml_eisa_id(aml, id);
}

void aml_register(struct aml *aml, const char *region, uint64_t gpa, const char *field)
{
	aml_byte(aml, AML_EXT);
	aml_byte(aml, AML_EXT_REGION);
	aml_name(aml, region);
	aml_byte(aml, REGION_MEMORY);
	aml_integer(aml, gpa);
	aml_integer(aml, 4);
	aml_byte(aml, AML_EXT);
	aml_byte(aml, AML_EXT_FIELD);
	aml_open(aml);
	aml_name(aml, region);
	aml_byte(aml, FIELD_DWORD_ZEROS);
	aml_name(aml, field);
	aml_byte(aml, 32); /* bits, as a PkgLength of one byte */
	aml_close(aml);
}
