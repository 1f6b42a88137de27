/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/serial_uart.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <string.h>

#define IER_BITS     0x0fu
#define FCR_BITS     (UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_MASK)
#define MCR_BITS     0x1fu
#define IIR_FIFOS    0xc0u
#define MSR_LINES    0xf0u
#define MSR_ATTACHED (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)
#define LSR_SENT     (UART_LSR_THRE | UART_LSR_TEMT)
#define DLL_RESET    12u /* 9600 baud */

void uart_reset(struct uart *uart)
{
	*uart = (struct uart){.mcr = UART_MCR_OUT2, .msr = MSR_ATTACHED, .dll = DLL_RESET};
}

static bool uart_latch(const struct uart *uart)
{
	return uart->lcr & UART_LCR_DLAB;
}

static unsigned uart_room(const struct uart *uart)
{
	return uart->fcr & UART_FCR_ENABLE_FIFO ? UART_FIFO : 1;
}

/* How many characters it takes for the "data" rather than the "timeout" interrupt. */
static unsigned uart_trigger(const struct uart *uart)
{
	static const uint8_t triggers[] = {1, 4, 8, 14};

	return uart->fcr & UART_FCR_ENABLE_FIFO ? triggers[uart->fcr >> 6] : 1;
}

/* What IIR says, by the priorities of the data sheet's table IV. */
static uint8_t uart_cause(const struct uart *uart)
{
	if ((uart->ier & UART_IER_RDI) && uart->n_received >= uart_trigger(uart))
		return UART_IIR_RDI;
	if ((uart->ier & UART_IER_RDI) && uart->n_received)
		return UART_IIR_RX_TIMEOUT;
	if ((uart->ier & UART_IER_THRI) && uart->thr_pending)
		return UART_IIR_THRI;
	if ((uart->ier & UART_IER_MSI) && (uart->msr & UART_MSR_ANY_DELTA))
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

bool uart_interrupt(const struct uart *uart)
{
	return uart_cause(uart) != UART_IIR_NO_INT;
}

static bool uart_take(struct uart *uart, uint8_t value)
{
	if (uart->n_received >= uart_room(uart))
		return false;
	uart->received[uart->n_received++] = value;
	return true;
}

bool uart_receive(struct uart *uart, uint8_t value)
{
	return !(uart->mcr & UART_MCR_LOOP) && uart_take(uart, value);
}

static uint8_t read_received(struct uart *uart)
{
	uint8_t value = uart->received[0];

	if (!uart->n_received)
		return 0;
	memmove(uart->received, uart->received + 1, --uart->n_received);
	return value;
}

/* Reading it is how a driver says that it knows the transmitter to be empty. */
static uint8_t read_iir(struct uart *uart)
{
	uint8_t cause = uart_cause(uart);

	if (cause == UART_IIR_THRI)
		uart->thr_pending = false;
	return (uint8_t)(cause | (uart->fcr & UART_FCR_ENABLE_FIFO ? IIR_FIFOS : 0));
}

static uint8_t read_msr(struct uart *uart)
{
	uint8_t value = uart->msr;

	uart->msr &= MSR_LINES;
	return value;
}

uint8_t uart_read(struct uart *uart, unsigned port)
{
	switch (port) {
	case UART_RX:
		return uart_latch(uart) ? uart->dll : read_received(uart);
	case UART_IER:
		return uart_latch(uart) ? uart->dlm : uart->ier;
	case UART_IIR:
		return read_iir(uart);
	case UART_LCR:
		return uart->lcr;
	case UART_MCR:
		return uart->mcr;
	case UART_LSR:
		return (uint8_t)(LSR_SENT | (uart->n_received ? UART_LSR_DR : 0));
	case UART_MSR:
		return read_msr(uart);
	case UART_SCR:
		return uart->scr;
	default:
		return 0xff;
	}
}

static bool write_thr(struct uart *uart, uint8_t value)
{
	uart->thr_pending = true;
	if (!(uart->mcr & UART_MCR_LOOP))
		return true;
	uart_take(uart, value);
	return false;
}

static void write_ier(struct uart *uart, uint8_t value)
{
	/* Enabled with the transmitter empty, which it always is, it comes at once. */
	if (value & ~uart->ier & UART_IER_THRI)
		uart->thr_pending = true;
	uart->ier = value & IER_BITS;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	if (((uart->fcr ^ value) & UART_FCR_ENABLE_FIFO) || (value & UART_FCR_CLEAR_RCVR))
		uart->n_received = 0;
	uart->fcr = value & UART_FCR_ENABLE_FIFO ? value & FCR_BITS : 0;
}

/* In loopback the outputs are wired to the inputs (data sheet, 8.6.6). */
static uint8_t lines(const struct uart *uart)
{
	uint8_t value = 0;

	if (!(uart->mcr & UART_MCR_LOOP))
		return MSR_ATTACHED;
	if (uart->mcr & UART_MCR_RTS)
		value |= UART_MSR_CTS;
	if (uart->mcr & UART_MCR_DTR)
		value |= UART_MSR_DSR;
	if (uart->mcr & UART_MCR_OUT1)
		value |= UART_MSR_RI;
	if (uart->mcr & UART_MCR_OUT2)
		value |= UART_MSR_DCD;
	return value;
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	uint8_t old = uart->msr & MSR_LINES, new, delta;

	uart->mcr = value & MCR_BITS;
	new = lines(uart);
	delta = (uint8_t)((old ^ new) >> 4);
	if (new &UART_MSR_RI) /* only its trailing edge counts */
		delta &= (uint8_t)~UART_MSR_TERI;
	uart->msr = (uint8_t)(new | (uart->msr & UART_MSR_ANY_DELTA) | delta);
}

bool uart_write(struct uart *uart, unsigned port, uint8_t value)
{
	switch (port) {
	case UART_TX:
		if (!uart_latch(uart))
			return write_thr(uart, value);
		uart->dll = value;
		break;
	case UART_IER:
		if (uart_latch(uart))
			uart->dlm = value;
		else
			write_ier(uart, value);
		break;
	case UART_FCR:
		write_fcr(uart, value);
		break;
	case UART_LCR:
		uart->lcr = value;
		break;
	case UART_MCR:
		write_mcr(uart, value);
		break;
	case UART_SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR are for reading */
		break;
	}
	return false;
}

void uart_save(struct uart *uart, Segue__SerialState *message)
{
	message->ier = uart->ier;
	message->fcr = uart->fcr;
	message->lcr = uart->lcr;
	message->mcr = uart->mcr;
	message->msr = uart->msr;
	message->scr = uart->scr;
	message->dll = uart->dll;
	message->dlm = uart->dlm;
	message->thr_pending = uart->thr_pending;
	message->received.data = uart->received;
	message->received.len = uart->n_received;
}

int uart_load(struct uart *uart, const Segue__SerialState *message, struct error *err)
{
	struct uart loaded = {
	    .ier = (uint8_t)(message->ier & IER_BITS),
	    .fcr = (uint8_t)(message->fcr & FCR_BITS),
	    .lcr = (uint8_t)message->lcr,
	    .mcr = (uint8_t)(message->mcr & MCR_BITS),
	    .msr = (uint8_t)message->msr,
	    .scr = (uint8_t)message->scr,
	    .dll = (uint8_t)message->dll,
	    .dlm = (uint8_t)message->dlm,
	    .thr_pending = message->thr_pending,
	    .n_received = (unsigned)message->received.len,
	};

	if (message->received.len > uart_room(&loaded))
		return error_set(err, -EPROTO, "%zu characters in a FIFO of %u",
				 message->received.len, uart_room(&loaded));
	if (loaded.n_received)
		memcpy(loaded.received, message->received.data, loaded.n_received);
	*uart = loaded;
	return 0;
}
