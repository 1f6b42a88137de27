// SPDX-License-Identifier: GPL-2.0-only
/*
 * The power button, an input device as on other machines: acpid and logind listen to it.
 */
#include <linux/init.h>
#include <linux/input.h>
#include <linux/interrupt.h>
#include "segue.h"

static struct input_dev *button;

static irqreturn_t pressed(int irq, void *unused)
{
	input_report_key(button, KEY_POWER, 1);
	input_sync(button);
	input_report_key(button, KEY_POWER, 0);
	input_sync(button);
	return IRQ_HANDLED;
}

static int __init power_init(void)
{
	int err;

	button = input_allocate_device();
	if (!button)
		return -ENOMEM;
	button->name = "Power Button";
	button->phys = "segue/power";
	button->id.bustype = BUS_HOST;
	input_set_capability(button, EV_KEY, KEY_POWER);
	err = input_register_device(button);
	if (err) {
		input_free_device(button);
		return err;
	}
	err = request_irq(SEGUE_PV_LINE_POWER, pressed, 0, "power", NULL);
	if (err)
		input_unregister_device(button);
	return err;
}
device_initcall(power_init);
