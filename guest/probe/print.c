/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

static char line[256];
static unsigned used;

void print_flush(void)
{
	unsigned n = used;

	used = 0;
	if (n)
		hv(SEGUE_PV_PRINT, gpa_of(line), n, 0);
}

static void print_byte(char c)
{
	line[used++] = c;
	if (c == '\n' || used == sizeof(line))
		print_flush();
}

void print(const char *text)
{
	while (*text)
		print_byte(*text++);
}

void print_hex(uint64_t value)
{
	int shift = 60;

	print("0x");
	while (shift && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		print_byte("0123456789abcdef"[value >> shift & 15]);
}

void print_decimal(uint64_t value)
{
	if (value >= 10)
		print_decimal(value / 10);
	print_byte((char)('0' + value % 10));
}
