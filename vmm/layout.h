/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_LAYOUT_H
#define VMM_LAYOUT_H

/*
 * Where everything is that the guest finds at a fixed place. Part of what both ends of a
 * move must agree on: change it only together with the contract (proto/hello.proto).
 */

/* Guest RAM is 0 .. 3 GiB and from 4 GiB on (vmm/ram.h). Between them: */
#define LAYOUT_PCI_WINDOW      0xc0000000ull /* BARs */
#define LAYOUT_PCI_WINDOW_SIZE 0x20000000ull
#define LAYOUT_ECAM            0xe0000000ull /* PCI configuration space, one bus */
#define LAYOUT_ECAM_SIZE       0x00100000ull
#define LAYOUT_GED             0xfe000000ull /* ACPI generic event device */
#define LAYOUT_GED_SIZE        0x1000ull
#define LAYOUT_PANIC           0xfe001000ull /* pvpanic */
#define LAYOUT_PANIC_SIZE      0x1000ull
#define LAYOUT_IOAPIC          0xfec00000ull
#define LAYOUT_LAPIC           0xfee00000ull
#define LAYOUT_KVM_IDENTITY    0xfffbc000ull /* one page; the TSS's three follow */

/* Ports */
#define LAYOUT_COM1       0x3f8
#define LAYOUT_COM1_GSI   4
#define LAYOUT_SLEEP      0x600 /* ACPI sleep control, status at +1 */
#define LAYOUT_RESET      0x602 /* writing LAYOUT_RESET_VALUE resets */
#define LAYOUT_RESET_VALUE 0x06
#define LAYOUT_GED_GSI    5

/* Leaves half of what kernel mode can address for its own mappings (guest/abi.h) */
#define LAYOUT_PV_RAM_MAX     0x3f80000000ull
/* A paravirtual machine's devices: above any RAM, a page and a line each in the order built */
#define LAYOUT_PV_DEVICES     0x10000000000ull
#define LAYOUT_PV_DEVICE_SIZE 0x1000u
#define LAYOUT_PV_FIRST_LINE  8u
#define LAYOUT_PV_LINES       64u

/* Guest physical addresses of what the loader puts into low RAM */
#define LAYOUT_GDT         0x00000500ull
#define LAYOUT_BOOT_PARAMS 0x00007000ull
#define LAYOUT_PAGE_TABLE  0x00009000ull /* PML4, PDPT and four PDs follow */
#define LAYOUT_CMDLINE     0x00020000ull
#define LAYOUT_CMDLINE_MAX 0x00010000ull
#define LAYOUT_ACPI        0x000e0000ull /* RSDP first */
#define LAYOUT_ACPI_END    0x000ffff0ull
#define LAYOUT_FIRMWARE    0x000ffff0ull /* the processor's reset vector in real mode */
#define LAYOUT_KERNEL      0x00100000ull

#endif
