// SPDX-License-Identifier: GPL-2.0-only
/*
 * ttyS0, the machine's serial port: printing is a hypercall for many bytes, what is typed
 * comes from the registers of a 16550 (TI PC16550D, table 2).
 */
#include <linux/console.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/tty.h>
#include <linux/tty_driver.h>
#include <linux/tty_flip.h>
#include <asm/page.h>
#include "segue.h"

#define PORT_DATA    0x3f8
#define PORT_ENABLE  0x3f9
#define PORT_STATUS  0x3fd
#define ENABLE_INPUT 1
#define STATUS_INPUT 1
#define CHUNK        1024

static struct tty_driver *driver;
static struct tty_port port;
static DEFINE_SPINLOCK(print_lock);

static u8 port_read(unsigned long address)
{
	return segue_call3(SEGUE_PV_IO_READ, SEGUE_PV_PORTS, address, 1);
}

static void port_write(unsigned long address, u8 value)
{
	segue_call4(SEGUE_PV_IO_WRITE, SEGUE_PV_PORTS, address, 1, value);
}

/* The machine reads from the direct map, and TEXT may be anywhere. */
static void print(const char *text, size_t bytes)
{
	static char chunk[CHUNK];
	unsigned long flags;
	size_t n;

	spin_lock_irqsave(&print_lock, flags);
	for (; bytes; text += n, bytes -= n) {
		n = min_t(size_t, bytes, CHUNK);
		memcpy(chunk, text, n);
		segue_print(chunk, n);
	}
	spin_unlock_irqrestore(&print_lock, flags);
}

static irqreturn_t input(int irq, void *unused)
{
	bool any = false;

	while (port_read(PORT_STATUS) & STATUS_INPUT) {
		tty_insert_flip_char(&port, port_read(PORT_DATA), TTY_NORMAL);
		any = true;
	}
	if (any)
		tty_flip_buffer_push(&port);
	return any ? IRQ_HANDLED : IRQ_NONE;
}

static int activate(struct tty_port *unused, struct tty_struct *tty)
{
	port_write(PORT_ENABLE, ENABLE_INPUT);
	return 0;
}

static void shutdown(struct tty_port *unused)
{
	port_write(PORT_ENABLE, 0);
}

static const struct tty_port_operations port_ops = {
	.activate = activate,
	.shutdown = shutdown,
};

static int tty_do_open(struct tty_struct *tty, struct file *file)
{
	return tty_port_open(&port, tty, file);
}

static void tty_do_close(struct tty_struct *tty, struct file *file)
{
	tty_port_close(&port, tty, file);
}

static void tty_do_hangup(struct tty_struct *tty)
{
	tty_port_hangup(&port);
}

static int tty_do_write(struct tty_struct *tty, const unsigned char *text, int bytes)
{
	print(text, bytes);
	return bytes;
}

static unsigned int tty_room(struct tty_struct *tty)
{
	return CHUNK;
}

static const struct tty_operations tty_ops = {
	.open = tty_do_open,
	.close = tty_do_close,
	.hangup = tty_do_hangup,
	.write = tty_do_write,
	.write_room = tty_room,
};

/* Messages come without carriage returns, as for any serial console. */
static void console_write(struct console *console, const char *text, unsigned int bytes)
{
	const char *end = text + bytes;

	while (text < end) {
		const char *line = memchr(text, '\n', end - text);

		print(text, (line ? line : end) - text);
		if (!line)
			break;
		print("\r\n", 2);
		text = line + 1;
	}
}

static struct tty_driver *driver_of(struct console *console, int *ret_index)
{
	*ret_index = 0;
	return driver;
}

static struct console console = {
	.name = "ttyS",
	.write = console_write,
	.device = driver_of,
	.flags = CON_PRINTBUFFER,
	.index = -1,
};

static int __init console_init_serial(void)
{
	register_console(&console);
	return 0;
}
console_initcall(console_init_serial);

static int __init tty_init_serial(void)
{
	int err;

	driver = tty_alloc_driver(1, TTY_DRIVER_RESET_TERMIOS | TTY_DRIVER_REAL_RAW);
	if (IS_ERR(driver))
		return PTR_ERR(driver);
	driver->driver_name = "segue";
	driver->name = "ttyS";
	driver->major = TTY_MAJOR;
	driver->minor_start = 64;
	driver->type = TTY_DRIVER_TYPE_SERIAL;
	driver->subtype = SERIAL_TYPE_NORMAL;
	driver->init_termios = tty_std_termios;
	driver->init_termios.c_cflag = B115200 | CS8 | CREAD | HUPCL | CLOCAL;
	tty_set_operations(driver, &tty_ops);
	tty_port_init(&port);
	port.ops = &port_ops;
	tty_port_link_device(&port, driver, 0);
	err = request_irq(SEGUE_PV_LINE_SERIAL, input, 0, "serial", NULL);
	if (!err)
		err = tty_register_driver(driver);
	return err;
}
device_initcall(tty_init_serial);
