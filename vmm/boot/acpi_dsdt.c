/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/acpi.h"

#include <stdio.h>

#include "vmm/boot/aml.h"
#include "vmm/devices/ged.h"
#include "vmm/devices/power.h"
#include "vmm/layout.h"

#define DSDT_REVISION 2u /* integers of 64 bits */
#define COM1_PORTS    8u
#define PCI_CONFIG    0xcf8u
#define STATUS_ALL    0x0fu /* present, enabled, shown, working (ACPI 6.4, 6.3.7) */

/* Opcodes that only these methods use (ACPI 6.4, 20.2.5) */
enum {
	AML_LOCAL0 = 0x60,
	AML_STORE = 0x70,
	AML_AND = 0x7b,
	AML_NOTIFY = 0x86,
	AML_NULL_NAME = 0x00,
};

#define NOTIFY_BUTTON_PRESSED 0x80u /* 5.6.6 */

static void put_pci(struct aml *aml)
{
	aml_open_device(aml, "PCI0");
	aml_define_eisa_id(aml, "_HID", "PNP0A08");
	aml_define_eisa_id(aml, "_CID", "PNP0A03");
	aml_define_integer(aml, "_UID", 0);
	aml_define_integer(aml, "_SEG", 0);
	aml_define_integer(aml, "_BBN", 0);
	aml_define_integer(aml, "_CBA", LAYOUT_ECAM);
	aml_open_resources(aml);
	aml_bus_window(aml, 0, 0);
	aml_io(aml, PCI_CONFIG, 8);
	aml_memory_window(aml, (uint32_t)LAYOUT_PCI_WINDOW, (uint32_t)LAYOUT_PCI_WINDOW_SIZE);
	aml_close_resources(aml);
	aml_close(aml);
}

/* What is taken besides devices: Linux uses ECAM only when it finds it here. */
static void put_board(struct aml *aml)
{
	aml_open_device(aml, "MBRD");
	aml_define_eisa_id(aml, "_HID", "PNP0C02");
	aml_define_integer(aml, "_UID", 0);
	aml_open_resources(aml);
	aml_memory_fixed(aml, (uint32_t)LAYOUT_ECAM, (uint32_t)LAYOUT_ECAM_SIZE);
	aml_close_resources(aml);
	aml_close(aml);
}

/* If (Local0 & EVENT) { Notify (DEVICE, VALUE) } */
static void put_notify(struct aml *aml, uint32_t event, const char *device, uint32_t value)
{
	aml_open_if(aml);
	aml_byte(aml, AML_AND);
	aml_byte(aml, AML_LOCAL0);
	aml_integer(aml, event);
	aml_byte(aml, AML_NULL_NAME);
	aml_byte(aml, AML_NOTIFY);
	aml_name(aml, device);
	aml_integer(aml, value);
	aml_close(aml);
}

/* 5.6.9: its interrupt says "look"; _EVT reads, and thereby clears, what has happened. */
static void put_ged(struct aml *aml)
{
	aml_open_device(aml, "GED0");
	aml_define_string(aml, "_HID", "ACPI0013");
	aml_define_integer(aml, "_UID", 0);
	aml_open_resources(aml);
	aml_interrupt(aml, LAYOUT_GED_GSI, false);
	aml_close_resources(aml);
	aml_register(aml, "GEDR", LAYOUT_GED, "ESEL");
	aml_open_method(aml, "_EVT", 1, true);
	aml_byte(aml, AML_STORE);
	aml_name(aml, "ESEL");
	aml_byte(aml, AML_LOCAL0);
	put_notify(aml, GED_POWER_BUTTON, "PWRB", NOTIFY_BUTTON_PRESSED);
	aml_close(aml);
	aml_close(aml);
}

static void put_power_button(struct aml *aml)
{
	aml_open_device(aml, "PWRB");
	aml_define_eisa_id(aml, "_HID", "PNP0C0C");
	aml_define_integer(aml, "_UID", 0);
	aml_close(aml);
}

static void put_serial(struct aml *aml)
{
	aml_open_device(aml, "COM1");
	aml_define_eisa_id(aml, "_HID", "PNP0501");
	aml_define_integer(aml, "_UID", 1);
	aml_open_resources(aml);
	aml_io(aml, LAYOUT_COM1, COM1_PORTS);
	aml_interrupt(aml, LAYOUT_COM1_GSI, true);
	aml_close_resources(aml);
	aml_close(aml);
}

static void put_panic(struct aml *aml)
{
	aml_open_device(aml, "PEVT");
	aml_define_string(aml, "_HID", "QEMU0001");
	aml_define_integer(aml, "_UID", 0);
	aml_define_integer(aml, "_STA", STATUS_ALL);
	aml_open_resources(aml);
	aml_memory_fixed(aml, (uint32_t)LAYOUT_PANIC, (uint32_t)LAYOUT_PANIC_SIZE);
	aml_close_resources(aml);
	aml_close(aml);
}

static void put_cpu(struct aml *aml, unsigned index)
{
	char name[5];

	snprintf(name, sizeof(name), "C%03X", index & 0xfff);
	aml_open_device(aml, name);
	aml_define_string(aml, "_HID", "ACPI0007");
	aml_define_integer(aml, "_UID", index);
	aml_close(aml);
}

/* Soft off is type 5 in the sleep control register (7.4.2.6, 4.8.3.7). */
static void put_soft_off(struct aml *aml)
{
	aml_define(aml, "\\_S5");
	aml_open_package(aml, 4);
	aml_integer(aml, POWER_SOFT_OFF);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_close(aml);
}

int acpi_dsdt(struct buffer *bytes, unsigned cpus)
{
	struct aml aml = {0};
	int r;

	aml_open_scope(&aml, "\\_SB");
	put_pci(&aml);
	put_board(&aml);
	put_ged(&aml);
	put_power_button(&aml);
	put_serial(&aml);
	put_panic(&aml);
	for (unsigned i = 0; i < cpus; i++)
		put_cpu(&aml, i);
	aml_close(&aml);
	put_soft_off(&aml);
	r = aml_done(&aml);
	if (r == 0)
		r = acpi_table(bytes, "DSDT", DSDT_REVISION, aml.bytes.data, aml.bytes.len);
	buffer_done(&aml.bytes);
	return r;
}
