/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_SERIAL_UART_H
#define VMM_DEVICES_SERIAL_UART_H

#include <stdbool.h>
#include <stdint.h>

#include "machine.pb-c.h"
#include "proto/error.h"

/* The registers of a 16550A, apart from what they are connected to. */
#define UART_PORTS 8u
#define UART_FIFO  16u

struct uart {
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	bool thr_pending; /* the transmitter has become empty, which nobody has seen yet */
	uint8_t received[UART_FIFO];
	unsigned n_received;
};

void uart_reset(struct uart *uart);
uint8_t uart_read(struct uart *uart, unsigned port);
/* True when VALUE has gone out on the line. */
bool uart_write(struct uart *uart, unsigned port, uint8_t value);
/* VALUE comes in; false when there is no room for it now. */
bool uart_receive(struct uart *uart, uint8_t value);
bool uart_interrupt(const struct uart *uart); /* the level of its interrupt */

void uart_save(struct uart *uart,
	       Segue__SerialState *message); /* which then points into UART */
int uart_load(struct uart *uart, const Segue__SerialState *message, struct error *err);

#endif
