// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's messages before there is a console: the machine prints them on its serial port.
 */
#include <linux/console.h>
#include <linux/init.h>
#include <asm/page.h>
#include "segue.h"

void segue_print(const char *text, unsigned long bytes)
{
	segue_call2(SEGUE_PV_PRINT, __pa(text), bytes);
}

static void early_write(struct console *console, const char *text, unsigned int bytes)
{
	segue_print(text, bytes);
}

static struct console early = {
	.name = "segue",
	.write = early_write,
	.flags = CON_BOOT | CON_PRINTBUFFER,
	.index = -1,
};

void __init segue_console_early(void)
{
	register_console(&early);
}
