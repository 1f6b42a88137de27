/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BOOT_ACPI_H
#define VMM_BOOT_ACPI_H

#include "proto/buffer.h"
#include "vmm/ram.h"

/*
 * Hardware-reduced ACPI (ACPI 6.4, 4.1): no legacy timer, interrupt controller, clock or
 * keyboard; the machine is found in tables alone. The same guest gives the same bytes.
 */
#define ACPI_HEADER 36u

/* Writes all tables to LAYOUT_ACPI, the RSDP first. 0 or a negative errno. */
int acpi_write(struct ram *ram, unsigned cpus);

/* One table each, appended with header and checksum. 0 or -ENOMEM. */
int acpi_dsdt(struct buffer *bytes, unsigned cpus);
int acpi_fadt(struct buffer *bytes, uint64_t dsdt);
int acpi_madt(struct buffer *bytes, unsigned cpus);
int acpi_mcfg(struct buffer *bytes);

/* Appends a table: SIGNATURE, REVISION, and LEN bytes of BODY behind the header. */
int acpi_table(struct buffer *bytes, const char *signature, uint8_t revision, const void *body,
	       size_t len);

#endif
