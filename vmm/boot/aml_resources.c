/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/aml.h"

#include <errno.h>
#include <string.h>

#include "proto/le.h"

/* Resource descriptors, ACPI 6.4, 6.4 */
enum {
	RESOURCE_IO = 0x47,
	RESOURCE_END = 0x79,
	RESOURCE_MEMORY_FIXED = 0x86,
	RESOURCE_WINDOW_32 = 0x87,
	RESOURCE_WINDOW_16 = 0x88,
	RESOURCE_INTERRUPT = 0x89,
};

#define IO_DECODE_16       0x01u
#define MEMORY_WRITABLE    0x01u
#define INTERRUPT_CONSUMER 0x01u
#define INTERRUPT_EDGE     0x02u
#define WINDOW_MEMORY      0u
#define WINDOW_BUS         2u
#define WINDOW_FIXED       0x0cu /* both ends; produced for what is behind the bridge */

#define AML_BUFFER_OP 0x11u
#define AML_WORD_OP   0x0bu

/* The buffer's own size stands in front of its bytes, as a word to be filled in. */
#define SIZE_BYTES 3u

void aml_open_resources(struct aml *aml)
{
	static const uint8_t size[SIZE_BYTES] = {AML_WORD_OP};

	aml_define(aml, "_CRS");
	aml_byte(aml, AML_BUFFER_OP);
	aml_open(aml);
	aml_bytes(aml, size, sizeof(size));
}

void aml_close_resources(struct aml *aml)
{
	static const uint8_t end[] = {RESOURCE_END, 0};
	size_t at, len;

	aml_bytes(aml, end, sizeof(end));
	if (aml->error || !aml->depth)
		return;
	at = aml->opened[aml->depth - 1];
	len = aml->bytes.len - at - SIZE_BYTES;
	if (len > UINT16_MAX) {
		aml->error = -EOVERFLOW;
		return;
	}
	le16_put(aml->bytes.data + at + 1, (uint16_t)len);
	aml_close(aml);
}

void aml_memory_fixed(struct aml *aml, uint32_t base, uint32_t size)
{
	uint8_t bytes[12] = {RESOURCE_MEMORY_FIXED, 9, 0, MEMORY_WRITABLE};

	le32_put(bytes + 4, base);
	le32_put(bytes + 8, size);
	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_io(struct aml *aml, uint16_t base, uint8_t size)
{
	uint8_t bytes[8] = {RESOURCE_IO, IO_DECODE_16};

	le16_put(bytes + 2, base);
	le16_put(bytes + 4, base);
	bytes[6] = 1; /* alignment */
	bytes[7] = size;
	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_interrupt(struct aml *aml, uint32_t gsi, bool edge)
{
	uint8_t bytes[9] = {RESOURCE_INTERRUPT, 6, 0};

	bytes[3] = (uint8_t)(INTERRUPT_CONSUMER | (edge ? INTERRUPT_EDGE : 0));
	bytes[4] = 1; /* of them */
	le32_put(bytes + 5, gsi);
	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
	uint8_t bytes[16] = {RESOURCE_WINDOW_16, 13, 0, WINDOW_BUS, WINDOW_FIXED};

	le16_put(bytes + 8, first);
	le16_put(bytes + 10, last);
	le16_put(bytes + 14, (uint16_t)(last - first + 1));
	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_memory_window(struct aml *aml, uint32_t base, uint32_t size)
{
	uint8_t bytes[26] = {RESOURCE_WINDOW_32, 23,           0,
			     WINDOW_MEMORY,      WINDOW_FIXED, MEMORY_WRITABLE};

	le32_put(bytes + 10, base);
	le32_put(bytes + 14, base + (size - 1));
	le32_put(bytes + 22, size);
	aml_bytes(aml, bytes, sizeof(bytes));
}
