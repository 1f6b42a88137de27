/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <stdlib.h>
#include <string.h>

#include "machine.pb-c.h"
#include "vmm/devices/serial_uart.h"
#include "vmm/layout.h"

/* The UART between a console, an interrupt line and the port bus. */
struct serial {
	struct device device;
	struct machine *machine;
	struct console *console;
	struct uart uart;
	bool line; /* the interrupt, as last told */
	bool quiet;
};

static void serial_line(struct serial *serial)
{
	struct engine *engine = machine_engine(serial->machine);
	bool level = uart_interrupt(&serial->uart);

	if (level == serial->line)
		return;
	serial->line = level;
	engine->ops->set_irq(engine, LAYOUT_COM1_GSI, level);
}

static size_t serial_input(void *device, const uint8_t *data, size_t len)
{
	struct serial *serial = device;
	size_t taken = 0;

	if (serial->quiet)
		return 0;
	while (taken < len && uart_receive(&serial->uart, data[taken]))
		taken++;
	serial_line(serial);
	return taken;
}

static void serial_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	struct serial *serial = device;

	memset(data, 0xff, len);
	if (len != 1)
		return;
	data[0] = uart_read(&serial->uart, (unsigned)offset);
	if (offset == UART_RX)
		console_drain(serial->console);
	serial_line(serial);
}

static void serial_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct serial *serial = device;

	if (len != 1)
		return;
	if (uart_write(&serial->uart, (unsigned)offset, data[0]))
		console_write(serial->console, data, 1);
	serial_line(serial);
}

static const struct bus_ops serial_ops = {.read = serial_read, .write = serial_write};

static void serial_reset(struct device *device)
{
	struct serial *serial = (struct serial *)device;

	uart_reset(&serial->uart);
	serial_line(serial);
}

static void serial_quiesce(struct device *device)
{
	struct serial *serial = (struct serial *)device;

	serial->quiet = true;
	machine_device_idle(serial->machine, device);
}

static void serial_resume(struct device *device)
{
	struct serial *serial = (struct serial *)device;

	serial->quiet = false;
	console_drain(serial->console);
}

static int serial_save(struct device *device, struct buffer *state)
{
	struct serial *serial = (struct serial *)device;
	Segue__SerialState message = SEGUE__SERIAL_STATE__INIT;

	uart_save(&serial->uart, &message);
	return buffer_pack(state, &message.base);
}

static int serial_load(struct device *device, const uint8_t *state, size_t len,
		       struct error *err)
{
	struct serial *serial = (struct serial *)device;
	Segue__SerialState *message = segue__serial_state__unpack(NULL, len, state);
	int r;

	if (!message)
		return error_set(err, -EPROTO, "not a valid message");
	r = uart_load(&serial->uart, message, err);
	segue__serial_state__free_unpacked(message, NULL);
	/* What the line was is not in the interrupt controller's state. */
	if (r == 0)
		serial_line(serial);
	return r;
}

static void serial_destroy(struct device *device)
{
	struct serial *serial = (struct serial *)device;

	console_device(serial->console, NULL, NULL);
	bus_remove(machine_ports(serial->machine), LAYOUT_COM1);
	free(serial);
}

static const struct device_ops serial_device = {
    .reset = serial_reset,
    .quiesce = serial_quiesce,
    .resume = serial_resume,
    .save = serial_save,
    .load = serial_load,
    .destroy = serial_destroy,
};

int serial_add(struct machine *machine, struct console *console, struct error *err)
{
	struct serial *serial = calloc(1, sizeof(*serial));
	int r;

	if (!serial)
		return error_set(err, -ENOMEM, "no memory for the serial port");
	serial->device = (struct device){
	    .ops = &serial_device, .name = "serial0", .contract = "16550a 0x3f8"};
	serial->machine = machine;
	serial->console = console;
	uart_reset(&serial->uart);
	r = bus_add(machine_ports(machine), LAYOUT_COM1, UART_PORTS, &serial_ops, serial);
	if (r < 0) {
		free(serial);
		return error_system(err, r, "serial port");
	}
	console_device(console, serial_input, serial);
	machine_add(machine, &serial->device);
	return 0;
}
