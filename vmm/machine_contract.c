/* SPDX-License-Identifier: Apache-2.0 */
#include "hello.pb-c.h"
#include "vmm/machine_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "blk0 virtio-blk 1048576 sectors" */
static char *device_promise(const struct device *device)
{
	char *text;

	if (asprintf(&text, "%s %s", device->name, device->contract) < 0)
		return NULL;
	return text;
}

static void promises_free(Segue__Contract *contract)
{
	for (size_t i = 0; i < contract->n_devices; i++)
		free(contract->devices[i]);
	free(contract->devices);
	contract->devices = NULL;
	contract->n_devices = 0;
}

static int promises(const struct machine *machine, Segue__Contract *contract)
{
	size_t n = 0;

	for (const struct device *d = machine->devices; d; d = d->next)
		n++;
	contract->devices = calloc(n + 1, sizeof(*contract->devices));
	if (!contract->devices)
		return -ENOMEM;
	for (const struct device *d = machine->devices; d; d = d->next) {
		char *text = device_promise(d);

		if (!text)
			return -ENOMEM;
		contract->devices[contract->n_devices++] = text;
	}
	return 0;
}

int machine_contract(struct machine *machine, struct buffer *contract)
{
	Segue__Contract message = SEGUE__CONTRACT__INIT;
	int r;

	/* The engine lends what it fills in; the devices' promises are made here. */
	r = machine->engine_ops->contract(machine->engine, &message);
	if (r < 0)
		return r;
	message.cpus = machine->n_vcpus;
	message.memory = ram_size(machine->ram);
	r = promises(machine, &message);
	if (r == 0)
		r = buffer_pack(contract, &message.base);
	promises_free(&message);
	return r;
}

/* First: what another engine's machine lacks would only confuse. */
static int accept_engine(const struct machine *machine, const Segue__Contract *contract,
			 struct error *err)
{
	const char *ours = machine->engine_ops->name;

	if (strcmp(contract->engine, ours) != 0)
		return error_set(err, -ENOTSUP,
				 "the guest runs under engine %.31s, here it would under %s",
				 contract->engine, ours);
	return 0;
}

static int accept_size(const struct machine *machine, const Segue__Contract *contract,
		       struct error *err)
{
	if (contract->cpus != machine->n_vcpus)
		return error_set(err, -EINVAL, "the guest has %u vCPUs, here it would have %u",
				 contract->cpus, machine->n_vcpus);
	if (contract->memory != ram_size(machine->ram))
		return error_set(err, -EINVAL,
				 "the guest has %" PRIu64
				 " bytes of memory, here it would have "
				 "%" PRIu64,
				 contract->memory, ram_size(machine->ram));
	return 0;
}

static int accept_device(const struct device *device, const char *theirs, struct error *err)
{
	char *ours = device_promise(device);
	int r = 0;

	if (!ours)
		return error_set(err, -ENOMEM, "no memory to compare devices");
	if (strcmp(ours, theirs) != 0)
		r = error_set(err, -EINVAL,
			      "the guest has \"%.95s\", here it would have \"%s\"", theirs,
			      ours);
	free(ours);
	return r;
}

/* Their order is that of their places on the bus. */
static int accept_devices(const struct machine *machine, const Segue__Contract *contract,
			  struct error *err)
{
	const struct device *d = machine->devices;
	int r = 0;

	for (size_t i = 0; i < contract->n_devices && r == 0; i++) {
		if (!d)
			return error_set(err, -EINVAL,
					 "the guest has \"%.95s\", which is missing "
					 "here",
					 contract->devices[i]);
		r = accept_device(d, contract->devices[i], err);
		d = d->next;
	}
	if (r == 0 && d)
		return error_set(err, -EINVAL,
				 "here the guest would have \"%s %s\", which it lacks", d->name,
				 d->contract);
	return r;
}

int machine_accept(struct machine *machine, const uint8_t *contract, size_t len,
		   struct error *err)
{
	Segue__Contract *message = segue__contract__unpack(NULL, len, contract);
	int r;

	if (!message)
		return error_set(err, -EPROTO, "the contract is not a valid message");
	r = accept_engine(machine, message, err);
	if (r == 0)
		r = accept_size(machine, message, err);
	if (r == 0)
		r = accept_devices(machine, message, err);
	if (r == 0)
		r = machine->engine_ops->accept(machine->engine, message, err);
	segue__contract__free_unpacked(message, NULL);
	if (r < 0)
		return r;
	/* Outside the blackout: what a resume needs. */
	return machine_vcpus_start(machine, err);
}
