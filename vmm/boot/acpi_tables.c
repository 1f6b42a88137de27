/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/acpi.h"

#include "proto/le.h"
#include "vmm/layout.h"

/* Fixed ACPI description table, ACPI 6.4, 5.2.9; offsets are from the table's start. */
#define FADT_SIZE     276u
#define FADT_REVISION 6u
#define FADT_MINOR    4u

#define FADT_PROFILE       45u
#define FADT_BOOT_ARCH     109u
#define FADT_FLAGS         112u
#define FADT_RESET_REG     116u
#define FADT_RESET_VALUE   128u
#define FADT_MINOR_VERSION 131u
#define FADT_X_DSDT        140u
#define FADT_SLEEP_CONTROL 244u
#define FADT_SLEEP_STATUS  256u

#define PROFILE_SERVER 4u

/* No legacy devices, 8042 or VGA to be looked for, nor a CMOS clock (5.2.9.3). */
#define BOOT_NO_VGA   (1u << 2)
#define BOOT_NO_CLOCK (1u << 5)

#define FLAG_WBINVD           (1u << 0)
#define FLAG_NO_POWER_BUTTON  (1u << 4) /* not a fixed one: it is a device */
#define FLAG_NO_SLEEP_BUTTON  (1u << 5)
#define FLAG_RESET_REG        (1u << 10)
#define FLAG_HARDWARE_REDUCED (1u << 20)

/* Generic address structure, 5.2.3.2: a port of one byte. */
static void put_port(uint8_t *at, uint16_t port)
{
	at[0] = 1; /* system I/O */
	at[1] = 8; /* bits */
	at[2] = 0;
	at[3] = 1; /* by bytes */
	le64_put(at + 4, port);
}

int acpi_fadt(struct buffer *bytes, uint64_t dsdt)
{
	uint8_t table[FADT_SIZE] = {0};

	table[FADT_PROFILE] = PROFILE_SERVER;
	le16_put(table + FADT_BOOT_ARCH, BOOT_NO_VGA | BOOT_NO_CLOCK);
	le32_put(table + FADT_FLAGS, FLAG_WBINVD | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON |
					 FLAG_RESET_REG | FLAG_HARDWARE_REDUCED);
	put_port(table + FADT_RESET_REG, LAYOUT_RESET);
	table[FADT_RESET_VALUE] = LAYOUT_RESET_VALUE;
	table[FADT_MINOR_VERSION] = FADT_MINOR;
	le64_put(table + FADT_X_DSDT, dsdt);
	put_port(table + FADT_SLEEP_CONTROL, LAYOUT_SLEEP);
	put_port(table + FADT_SLEEP_STATUS, LAYOUT_SLEEP + 1);
	return acpi_table(bytes, "FACP", FADT_REVISION, table + ACPI_HEADER,
			  sizeof(table) - ACPI_HEADER);
}

/* Multiple APIC description table, 5.2.12 */
#define MADT_REVISION 5u

static int put_lapic(struct buffer *body, uint8_t id)
{
	/* type, length, ACPI processor's uid, APIC id, enabled */
	const uint8_t entry[8] = {0, 8, id, id, 1};

	return buffer_append(body, entry, sizeof(entry));
}

static int put_ioapic(struct buffer *body)
{
	uint8_t entry[12] = {1, 12}; /* type, length; id 0; GSIs from 0 */

	le32_put(entry + 4, (uint32_t)LAYOUT_IOAPIC);
	return buffer_append(body, entry, sizeof(entry));
}

static int put_lapic_nmi(struct buffer *body)
{
	/* type, length, every processor, flags as the bus has them, LINT1 */
	static const uint8_t entry[6] = {4, 6, 0xff, 0, 0, 1};

	return buffer_append(body, entry, sizeof(entry));
}

static int madt_fill(struct buffer *body, unsigned cpus)
{
	uint8_t fixed[8] = {0}; /* LAPIC's address; flags: there is no 8259 */
	int r;

	le32_put(fixed, (uint32_t)LAYOUT_LAPIC);
	r = buffer_append(body, fixed, sizeof(fixed));
	for (unsigned i = 0; i < cpus && r == 0; i++)
		r = put_lapic(body, (uint8_t)i);
	if (r == 0)
		r = put_ioapic(body);
	if (r == 0)
		r = put_lapic_nmi(body);
	return r;
}

int acpi_madt(struct buffer *bytes, unsigned cpus)
{
	struct buffer body = {0};
	int r = madt_fill(&body, cpus);

	if (r == 0)
		r = acpi_table(bytes, "APIC", MADT_REVISION, body.data, body.len);
	buffer_done(&body);
	return r;
}

/* PCI Firmware Specification 3.3, 4.1.2: one segment of one bus. */
int acpi_mcfg(struct buffer *bytes)
{
	uint8_t body[8 + 16] = {0};

	le64_put(body + 8, LAYOUT_ECAM);
	return acpi_table(bytes, "MCFG", 1, body, sizeof(body));
}
