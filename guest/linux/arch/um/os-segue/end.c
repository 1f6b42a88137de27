// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine's end: power-off, reboot, panic.
 */
#include <linux/export.h>
#include <linux/init.h>
#include <linux/panic.h>
#include <linux/panic_notifier.h>
#include <linux/pm.h>
#include <linux/reboot.h>
#include <linux/string.h>
#include <asm/page.h>
#include "segue.h"

#define TEXT_MAX 256

static void __noreturn end(enum segue_pv_end how)
{
	for (;;)
		segue_call3(SEGUE_PV_END, how, 0, 0);
}

static void power_off(void)
{
	end(SEGUE_PV_OFF);
}

/* That there is one tells generic code that power-off is more than a halt. */
void (*pm_power_off)(void) = power_off;
EXPORT_SYMBOL(pm_power_off);

void machine_restart(char *unused)
{
	end(SEGUE_PV_REBOOT);
}

void machine_power_off(void)
{
	power_off();
}

void machine_halt(void)
{
	power_off();
}

/* Without panic=SECONDS nothing would come after a panic; with it a reboot does. */
static int on_panic(struct notifier_block *self, unsigned long unused, void *message)
{
	static char text[TEXT_MAX];
	ssize_t length = strscpy(text, message, sizeof(text));

	if (length < 0)
		length = sizeof(text) - 1;
	if (!panic_timeout)
		segue_call3(SEGUE_PV_END, SEGUE_PV_PANIC, __pa(text), length);
	return NOTIFY_DONE;
}

static struct notifier_block panic_block = {
	.notifier_call = on_panic,
	.priority = INT_MIN, /* after those that write messages */
};

void __init segue_end_early(void)
{
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
}
