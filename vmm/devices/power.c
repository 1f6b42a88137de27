/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/power.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine.pb-c.h"
#include "vmm/layout.h"

#define SLEEP_ENABLE   0x20u /* of the control register; the type is bits 2 to 4 */
#define SLEEP_WAKE     0x80u /* of the status register; written 1 to clear */
#define SLEEP_PORTS    2u
#define KEYBOARD       0x64u
#define KEYBOARD_RESET 0xfeu /* pulse output line 0, which is the processor's reset */

struct power {
	struct device device;
	struct machine *machine;
	uint8_t status;
};

static void sleep_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	const struct power *power = device;

	memset(data, 0, len);
	for (unsigned i = 0; i < len; i++) {
		if (offset + i == 1)
			data[i] = power->status;
	}
}

static void sleep_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct power *power = device;
	unsigned type = data[0] >> 2 & 7;

	if (offset == 1) {
		power->status &= (uint8_t) ~(data[0] & SLEEP_WAKE);
		return;
	}
	if (len == 1 && (data[0] & SLEEP_ENABLE) && type == POWER_SOFT_OFF)
		machine_report(power->machine, MACHINE_POWERED_OFF,
			       "the guest switched itself off");
}

static void reset_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct power *power = device;

	(void)offset;
	(void)len;
	if (data[0] == LAYOUT_RESET_VALUE)
		machine_reset(power->machine);
}

/* An empty controller: nothing to read, always ready for a command. */
static void keyboard_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	(void)device;
	(void)offset;
	memset(data, 0, len);
}

static void keyboard_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	struct power *power = device;

	(void)offset;
	(void)len;
	if (data[0] == KEYBOARD_RESET)
		machine_reset(power->machine);
}

static const struct bus_ops sleep_ops = {.read = sleep_read, .write = sleep_write};
static const struct bus_ops reset_ops = {.write = reset_write};
static const struct bus_ops keyboard_ops = {.read = keyboard_read, .write = keyboard_write};

static void power_reset(struct device *device)
{
	struct power *power = (struct power *)device;

	power->status = 0;
}

static int power_save(struct device *device, struct buffer *state)
{
	const struct power *power = (struct power *)device;
	Segue__PowerState message = SEGUE__POWER_STATE__INIT;

	message.sleep_status = power->status;
	return buffer_pack(state, &message.base);
}

static int power_load(struct device *device, const uint8_t *state, size_t len,
		      struct error *err)
{
	struct power *power = (struct power *)device;
	Segue__PowerState *message = segue__power_state__unpack(NULL, len, state);

	if (!message)
		return error_set(err, -EPROTO, "not a valid message");
	power->status = (uint8_t)(message->sleep_status & SLEEP_WAKE);
	segue__power_state__free_unpacked(message, NULL);
	return 0;
}

static void power_destroy(struct device *device)
{
	struct power *power = (struct power *)device;
	struct bus *ports = machine_ports(power->machine);

	bus_remove(ports, LAYOUT_SLEEP);
	bus_remove(ports, LAYOUT_RESET);
	bus_remove(ports, KEYBOARD);
	free(power);
}

static const struct device_ops power_device = {
    .reset = power_reset,
    .save = power_save,
    .load = power_load,
    .destroy = power_destroy,
};

int power_add(struct machine *machine, struct error *err)
{
	struct power *power = calloc(1, sizeof(*power));
	struct bus *ports = machine_ports(machine);
	int r;

	if (!power)
		return error_set(err, -ENOMEM, "no memory for the power registers");
	power->device =
	    (struct device){.ops = &power_device, .name = "power", .contract = "acpi"};
	power->machine = machine;
	r = bus_add(ports, LAYOUT_SLEEP, SLEEP_PORTS, &sleep_ops, power);
	if (r == 0)
		r = bus_add(ports, LAYOUT_RESET, 1, &reset_ops, power);
	if (r == 0)
		r = bus_add(ports, KEYBOARD, 1, &keyboard_ops, power);
	if (r < 0) {
		power_destroy(&power->device);
		return error_system(err, r, "power registers");
	}
	machine_add(machine, &power->device);
	return 0;
}
