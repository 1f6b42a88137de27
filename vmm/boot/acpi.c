/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/acpi.h"

#include <errno.h>
#include <string.h>

#include "proto/le.h"
#include "vmm/layout.h"

#define OEM_ID       "SEGUE "
#define OEM_TABLE_ID "SEGUEVMM"
#define OEM_REVISION 1u
#define CREATOR_ID   "SEGU"

#define RSDP_SIZE     36u
#define RSDP_V1_SIZE  20u
#define RSDP_REVISION 2u
#define XSDT_REVISION 1u
#define TABLES        4u

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *bytes++);
	return (uint8_t)-sum;
}

/* System description table header, ACPI 6.4, 5.2.6 */
int acpi_table(struct buffer *bytes, const char *signature, uint8_t revision, const void *body,
	       size_t len)
{
	uint8_t *table = buffer_reserve(bytes, ACPI_HEADER + len);

	if (!table)
		return -ENOMEM;
	memset(table, 0, ACPI_HEADER);
	memcpy(table, signature, 4);
	le32_put(table + 4, (uint32_t)(ACPI_HEADER + len));
	table[8] = revision;
	memcpy(table + 10, OEM_ID, 6);
	memcpy(table + 16, OEM_TABLE_ID, 8);
	le32_put(table + 24, OEM_REVISION);
	memcpy(table + 28, CREATOR_ID, 4);
	le32_put(table + 32, OEM_REVISION);
	memcpy(table + ACPI_HEADER, body, len);
	table[9] = checksum(table, ACPI_HEADER + len);
	bytes->len += ACPI_HEADER + len;
	return 0;
}

/* Room for the next table: its gpa goes to *ret_gpa. */
static int align(struct buffer *bytes, uint64_t *ret_gpa)
{
	static const uint8_t zeros[16];
	size_t pad = -bytes->len % sizeof(zeros);
	int r = buffer_append(bytes, zeros, pad);

	if (r == 0)
		*ret_gpa = LAYOUT_ACPI + bytes->len;
	return r;
}

/* 5.2.5.3: the first checksum is over what ACPI 1.0 knew of it, the second over all. */
static void rsdp_fill(uint8_t *rsdp, uint64_t xsdt)
{
	memset(rsdp, 0, RSDP_SIZE);
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = RSDP_REVISION;
	le32_put(rsdp + 20, RSDP_SIZE);
	le64_put(rsdp + 24, xsdt);
	rsdp[8] = checksum(rsdp, RSDP_V1_SIZE);
	rsdp[32] = checksum(rsdp, RSDP_SIZE);
}

static int tables_build(struct buffer *bytes, unsigned cpus, uint64_t *ret_gpas)
{
	int r = align(bytes, &ret_gpas[0]);

	if (r == 0)
		r = acpi_dsdt(bytes, cpus);
	if (r == 0)
		r = align(bytes, &ret_gpas[1]);
	if (r == 0)
		r = acpi_fadt(bytes, ret_gpas[0]);
	if (r == 0)
		r = align(bytes, &ret_gpas[2]);
	if (r == 0)
		r = acpi_madt(bytes, cpus);
	if (r == 0)
		r = align(bytes, &ret_gpas[3]);
	if (r == 0)
		r = acpi_mcfg(bytes);
	return r;
}

/* The XSDT lists all but the DSDT, which the FADT points to (5.2.8). */
static int xsdt_build(struct buffer *bytes, const uint64_t *gpas, uint64_t *ret_gpa)
{
	uint8_t body[8 * (TABLES - 1)];
	int r = align(bytes, ret_gpa);

	for (unsigned i = 1; i < TABLES; i++)
		le64_put(body + (size_t)8 * (i - 1), gpas[i]);
	return r < 0 ? r : acpi_table(bytes, "XSDT", XSDT_REVISION, body, sizeof(body));
}

static int acpi_build(struct buffer *bytes, unsigned cpus)
{
	static const uint8_t room[RSDP_SIZE];
	uint64_t gpas[TABLES], xsdt = 0;
	int r = buffer_append(bytes, room, sizeof(room));

	if (r == 0)
		r = tables_build(bytes, cpus, gpas);
	if (r == 0)
		r = xsdt_build(bytes, gpas, &xsdt);
	if (r == 0)
		rsdp_fill(bytes->data, xsdt);
	return r;
}

int acpi_write(struct ram *ram, unsigned cpus)
{
	struct buffer bytes = {0};
	int r = acpi_build(&bytes, cpus);

	if (r == 0 && bytes.len > LAYOUT_ACPI_END - LAYOUT_ACPI)
		r = -E2BIG;
	if (r == 0)
		r = ram_write(ram, LAYOUT_ACPI, bytes.data, bytes.len);
	buffer_done(&bytes);
	return r;
}
