/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_GUEST_H
#define TESTS_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What the test guests share. They run on one vCPU with interrupts off and 4 GiB mapped one
 * to one, also where KVM emulates every instruction: so few instructions count for more than
 * anything else here.
 */
#define GUEST_PAGE 4096u

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* Interrupts are off, so nothing but a reset ends this. */
static inline __attribute__((noreturn)) void guest_stop(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* serial.c: the first serial port, by polling. */
void serial_init(void);
void serial_byte(char c); /* waits for room */
void serial_text(const char *text);
void serial_hex(uint64_t value);
void serial_decimal(uint64_t value);
/* "\nFAIL what: got at value, wanted value\n", and stops. */
__attribute__((noreturn)) void serial_fail(const char *what, uint64_t at, uint64_t got,
					   uint64_t want);

/* cmdline.c: NAME=VALUE words of the kernel command line. */
void cmdline_init(const uint8_t *boot_params);
/* Decimal, or with 0x in front; FALLBACK if the word is missing. */
uint64_t cmdline_number(const char *name, uint64_t fallback);
bool cmdline_is(const char *name, const char *value);

/* fill.c: page INDEX of memory that looks used. */
enum fill {
	FILL_NONE,
	FILL_ZERO,
	FILL_MIXED, /* of ten pages five zero, three text, two random */
	FILL_RANDOM,
};
enum fill fill_named(void); /* from the word fill= */
void fill_pages(enum fill fill, uint64_t gpa, uint64_t pages);

/*
 * blk.c: the first virtio-blk function on the PCI bus, by polling, one request at a time.
 * It has to be a modern one behind ECAM, as our machine has it.
 */
bool blk_init(uint64_t ecam, uint64_t bar_base);
uint64_t blk_sectors(void);
/* Reads COUNT sectors to GPA; false if the device says it failed. */
bool blk_read(uint64_t sector, uint64_t gpa, uint32_t count);

#endif
