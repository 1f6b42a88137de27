/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

/* 16550 registers, from its data sheet. */
#define COM1     0x3f8
#define UART_THR (COM1 + 0)
#define UART_IER (COM1 + 1)
#define UART_FCR (COM1 + 2)
#define UART_LCR (COM1 + 3)
#define UART_LSR (COM1 + 5)
#define LSR_THRE 0x20

void serial_init(void)
{
	out8(UART_IER, 0);
	out8(UART_LCR, 0x03);
	out8(UART_FCR, 0x07);
}

void serial_byte(char c)
{
	while (!(in8(UART_LSR) & LSR_THRE))
		;
	out8(UART_THR, (uint8_t)c);
}

void serial_text(const char *text)
{
	while (*text)
		serial_byte(*text++);
}

void serial_hex(uint64_t value)
{
	serial_text("0x");
	for (int shift = 60; shift >= 0; shift -= 4)
		serial_byte("0123456789abcdef"[value >> shift & 15]);
}

void serial_decimal(uint64_t value)
{
	char digits[20];
	unsigned n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		serial_byte(digits[--n]);
}

void serial_fail(const char *what, uint64_t at, uint64_t got, uint64_t want)
{
	serial_text("\nFAIL ");
	serial_text(what);
	serial_text(" at ");
	serial_hex(at);
	serial_text(" got ");
	serial_hex(got);
	serial_text(" want ");
	serial_hex(want);
	serial_byte('\n');
	guest_stop();
}
