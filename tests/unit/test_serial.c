/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <linux/serial_reg.h>
#include <string.h>

#include "vmm/devices/serial_uart.h"

static void test_output(void)
{
	struct uart uart;

	uart_reset(&uart);
	CU_ASSERT_TRUE(uart_write(&uart, UART_TX, 'a'));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	CU_ASSERT_FALSE(uart_interrupt(&uart));
	/* With the divisor latch open the port is the divisor. */
	uart_write(&uart, UART_LCR, UART_LCR_DLAB);
	CU_ASSERT_FALSE(uart_write(&uart, UART_DLL, 1));
	uart_write(&uart, UART_DLM, 2);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_DLL), 1);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_DLM), 2);
	uart_write(&uart, UART_LCR, UART_LCR_WLEN8);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_RX), 0);
}

static void test_transmit_interrupt(void)
{
	struct uart uart;

	uart_reset(&uart);
	uart_write(&uart, UART_IER, UART_IER_THRI);
	CU_ASSERT_TRUE(uart_interrupt(&uart));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), UART_IIR_THRI);
	/* Seen is gone, until the next character has been sent. */
	CU_ASSERT_FALSE(uart_interrupt(&uart));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), UART_IIR_NO_INT);
	uart_write(&uart, UART_TX, 'a');
	CU_ASSERT_TRUE(uart_interrupt(&uart));
	/* Turned off and on it comes again: Linux relies on that to start sending. */
	uart_read(&uart, UART_IIR);
	uart_write(&uart, UART_IER, 0);
	uart_write(&uart, UART_IER, UART_IER_THRI);
	CU_ASSERT_TRUE(uart_interrupt(&uart));
}

static void test_input(void)
{
	struct uart uart;

	uart_reset(&uart);
	uart_write(&uart, UART_IER, UART_IER_RDI);
	/* Without FIFOs one character is all there is room for. */
	CU_ASSERT_TRUE(uart_receive(&uart, 'a'));
	CU_ASSERT_FALSE(uart_receive(&uart, 'b'));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), UART_IIR_RDI);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_LSR) & UART_LSR_DR, UART_LSR_DR);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_RX), 'a');
	CU_ASSERT_FALSE(uart_interrupt(&uart));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_LSR) & UART_LSR_DR, 0);

	uart_write(&uart, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_R_TRIG_10);
	for (unsigned i = 0; i < UART_FIFO; i++)
		CU_ASSERT_TRUE(uart_receive(&uart, (uint8_t)('a' + i)));
	CU_ASSERT_FALSE(uart_receive(&uart, 'z'));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), 0xc0 | UART_IIR_RDI);
	for (unsigned i = 0; i < 9; i++)
		CU_ASSERT_EQUAL(uart_read(&uart, UART_RX), 'a' + i);
	/* Below the trigger level of 8, what is left is for the timeout to tell. */
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
	uart_write(&uart, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), 0xc0 | UART_IIR_NO_INT);
}

/* What Linux's 8250 driver does to find out what it has before it (autoconfig()). */
static void test_probe(void)
{
	struct uart uart;

	uart_reset(&uart);
	uart_write(&uart, UART_IER, 0);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IER), 0);
	uart_write(&uart, UART_IER, 0x0f);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IER), 0x0f);
	uart_write(&uart, UART_IER, 0);
	uart_write(&uart, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_MSR) & 0xf0, UART_MSR_DCD | UART_MSR_CTS);
	uart_write(&uart, UART_MCR, 0);
	uart_write(&uart, UART_FCR, UART_FCR_ENABLE_FIFO);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR) >> 6, 3); /* a 16550A */
	uart_write(&uart, UART_LCR, UART_LCR_CONF_MODE_B);
	CU_ASSERT_NOT_EQUAL(uart_read(&uart, UART_EFR), 0); /* not a 16650 */
	uart_write(&uart, UART_LCR, 0);
	uart_write(&uart, UART_IER, UART_IER_UUE);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IER) & UART_IER_UUE, 0); /* not an XScale */
	uart_write(&uart, UART_SCR, 0x55);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_SCR), 0x55);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_PORTS), 0xff);
}

static void test_loopback(void)
{
	struct uart uart;

	uart_reset(&uart);
	uart_read(&uart, UART_MSR);
	uart_write(&uart, UART_IER, UART_IER_MSI);
	uart_write(&uart, UART_MCR, UART_MCR_LOOP);
	CU_ASSERT_FALSE(uart_write(&uart, UART_TX, 'x'));
	CU_ASSERT_FALSE(uart_receive(&uart, 'y'));
	CU_ASSERT_EQUAL(uart_read(&uart, UART_RX), 'x');
	CU_ASSERT_EQUAL(uart_read(&uart, UART_IIR), UART_IIR_MSI);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_MSR),
			UART_MSR_DDCD | UART_MSR_DDSR | UART_MSR_DCTS);
	CU_ASSERT_FALSE(uart_interrupt(&uart));
	/* Of the ring indicator only the end is an event. */
	uart_write(&uart, UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_MSR), UART_MSR_RI);
	uart_write(&uart, UART_MCR, UART_MCR_LOOP);
	CU_ASSERT_EQUAL(uart_read(&uart, UART_MSR), UART_MSR_TERI);
}

static void test_state(void)
{
	struct uart uart, loaded;
	Segue__SerialState message = SEGUE__SERIAL_STATE__INIT;
	struct error err = {0};

	memset(&uart, 0, sizeof(uart));
	memset(&loaded, 0, sizeof(loaded));
	uart_reset(&uart);
	uart_write(&uart, UART_LCR, UART_LCR_DLAB);
	uart_write(&uart, UART_DLL, 1);
	uart_write(&uart, UART_LCR, UART_LCR_WLEN8);
	uart_write(&uart, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_R_TRIG_11);
	uart_write(&uart, UART_IER, UART_IER_THRI | UART_IER_RDI);
	uart_write(&uart, UART_SCR, 9);
	uart_write(&uart, UART_MCR, UART_MCR_DTR);
	uart_receive(&uart, 'p');
	uart_receive(&uart, 'q');
	uart_save(&uart, &message);
	CU_ASSERT_EQUAL(uart_load(&loaded, &message, &err), 0);
	Segue__SerialState again = SEGUE__SERIAL_STATE__INIT;
	uint8_t packed[2][128];
	size_t len = segue__serial_state__pack(&message, packed[0]);
	uart_save(&loaded, &again);
	CU_ASSERT_EQUAL(segue__serial_state__pack(&again, packed[1]), len);
	CU_ASSERT_EQUAL(memcmp(packed[0], packed[1], len), 0);
	CU_ASSERT_TRUE(uart_interrupt(&loaded));
	CU_ASSERT_EQUAL(uart_read(&loaded, UART_RX), 'p');

	/* More than fits is refused, with and without FIFOs. */
	uint8_t many[UART_FIFO + 1] = {0};
	message.received.data = many;
	message.received.len = sizeof(many);
	CU_ASSERT_EQUAL(uart_load(&loaded, &message, &err), -EPROTO);
	message.fcr = 0;
	message.received.len = 2;
	CU_ASSERT_EQUAL(uart_load(&loaded, &message, NULL), -EPROTO);
	CU_ASSERT_EQUAL(uart_read(&loaded, UART_RX), 'q');
}

int main(void)
{
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("serial", NULL, NULL);

	CU_add_test(suite, "output goes out at once", test_output);
	CU_add_test(suite, "the transmitter's interrupt", test_transmit_interrupt);
	CU_add_test(suite, "input with and without FIFOs", test_input);
	CU_add_test(suite, "it is found to be a 16550A", test_probe);
	CU_add_test(suite, "loopback", test_loopback);
	CU_add_test(suite, "its state moves", test_state);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
