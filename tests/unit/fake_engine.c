/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Atomic(fake_step) fake_steps[FAKE_CPUS];
atomic_bool fake_refuses;

static void breach(struct fake_engine *e, bool broken)
{
	if (broken)
		atomic_fetch_add(&e->breaches, 1);
}

static bool running(struct fake_engine *e)
{
	for (unsigned i = 0; i < e->n_vcpus; i++) {
		if (atomic_load(&e->vcpus[i].inside) || e->vcpus[i].answered)
			return true;
	}
	return false;
}

void fake_out(struct fake_vcpu *vcpu, struct vcpu_exit *exit, uint16_t port, uint8_t value)
{
	vcpu->data[0] = value;
	vcpu->answered = true;
	*exit = (struct vcpu_exit){.kind = VCPU_EXIT_PIO,
				   .address = port,
				   .data = vcpu->data,
				   .len = 1,
				   .count = 1,
				   .write = true};
}

void fake_store(struct fake_vcpu *vcpu, struct vcpu_exit *exit, uint64_t gpa, uint8_t value)
{
	fake_out(vcpu, exit, 0, value);
	exit->kind = VCPU_EXIT_MMIO;
	exit->address = gpa;
}

void fake_idle(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	while (!atomic_load(&vcpu->kicked))
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	exit->kind = VCPU_EXIT_KICKED;
}

static int fake_probe(const Segue__Guest *guest, struct error *err)
{
	(void)guest;
	(void)err;
	return 0;
}

static int fake_create(const struct engine_config *config, struct engine **ret_engine,
		       struct error *err)
{
	struct fake_engine *e = calloc(1, sizeof(*e));

	(void)err;
	e->engine.ops = &fake_engine_ops;
	e->ram = config->ram;
	e->n_vcpus = config->guest->cpus;
	for (unsigned i = 0; i < e->n_vcpus; i++) {
		e->vcpus[i].vcpu.engine = &e->engine;
		e->vcpus[i].vcpu.index = i;
		e->vcpus[i].engine = e;
	}
	*ret_engine = &e->engine;
	return 0;
}

static void fake_destroy(struct engine *engine)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	if (running(e))
		abort();
	free(e);
}

static int fake_boot(struct engine *engine, const struct boot_state *boot, struct error *err)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	(void)err;
	breach(e, running(e));
	e->boot = *boot;
	for (unsigned i = 0; i < e->n_vcpus; i++)
		e->vcpus[i].steps = 0;
	atomic_fetch_add(&e->boots, 1);
	return 0;
}

static struct vcpu *fake_vcpu(struct engine *engine, unsigned index)
{
	return &((struct fake_engine *)engine)->vcpus[index].vcpu;
}

static void fake_run(struct vcpu *vcpu, struct vcpu_exit *exit)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;
	fake_step step = atomic_load(&fake_steps[vcpu->index]);

	atomic_store(&v->inside, true);
	v->answered = false;
	breach(v->engine, atomic_load(&v->engine->frozen));
	if (atomic_exchange(&v->kicked, false)) {
		exit->kind = VCPU_EXIT_KICKED;
	} else if (step) {
		step(v, exit);
		v->steps++;
	} else {
		fake_idle(v, exit);
	}
	atomic_store(&v->inside, false);
}

static bool fake_settle(struct vcpu *vcpu)
{
	((struct fake_vcpu *)vcpu)->answered = false;
	return true;
}

static void fake_kick(struct vcpu *vcpu)
{
	atomic_store(&((struct fake_vcpu *)vcpu)->kicked, true);
}

static int fake_set_irq(struct engine *engine, unsigned gsi, bool level)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	if (level)
		atomic_fetch_or(&e->irqs, 1u << gsi);
	else
		atomic_fetch_and(&e->irqs, ~(1u << gsi));
	return 0;
}

static int fake_msi(struct engine *engine, uint64_t address, uint32_t data)
{
	(void)engine;
	(void)address;
	(void)data;
	return 0;
}

static int fake_notify(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		       int eventfd)
{
	(void)engine;
	(void)gpa;
	(void)len;
	(void)value;
	(void)eventfd;
	return 0;
}

static int fake_save(struct engine *engine, struct buffer *state, struct error *err)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	(void)err;
	breach(e, running(e) || !atomic_load(&e->frozen));
	for (unsigned i = 0; i < e->n_vcpus; i++) {
		uint64_t steps = e->vcpus[i].steps;

		buffer_append(state, &steps, sizeof(steps));
	}
	return 0;
}

static int fake_load(struct engine *engine, const uint8_t *state, size_t len, struct error *err)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	breach(e, running(e));
	if (len != e->n_vcpus * sizeof(uint64_t))
		return error_set(err, -EPROTO, "its state is of the wrong size");
	for (unsigned i = 0; i < e->n_vcpus; i++) {
		uint64_t steps;

		memcpy(&steps, state + i * sizeof(steps), sizeof(steps));
		e->vcpus[i].steps = steps;
	}
	atomic_store(&e->frozen, true);
	return 0;
}

static int fake_freeze(struct engine *engine, struct error *err)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	(void)err;
	breach(e, running(e) || atomic_exchange(&e->frozen, true));
	atomic_fetch_add(&e->freezes, 1);
	return 0;
}

static int fake_release(struct engine *engine, uint64_t elapsed_ns, struct error *err)
{
	struct fake_engine *e = (struct fake_engine *)engine;

	(void)err;
	breach(e, running(e) || !atomic_exchange(&e->frozen, false));
	e->elapsed = elapsed_ns;
	atomic_fetch_add(&e->releases, 1);
	return 0;
}

static int fake_contract(struct engine *engine, Segue__Contract *contract)
{
	(void)engine;
	contract->engine = "fake";
	return 0;
}

static int fake_accept(struct engine *engine, const Segue__Contract *contract,
		       struct error *err)
{
	(void)engine;
	if (strcmp(contract->engine, "fake") != 0 || atomic_load(&fake_refuses))
		return error_set(err, -EINVAL, "the engine refuses");
	return 0;
}

const struct engine_ops fake_engine_ops = {
    .name = "fake",
    .probe = fake_probe,
    .create = fake_create,
    .destroy = fake_destroy,
    .boot = fake_boot,
    .vcpu = fake_vcpu,
    .vcpu_run = fake_run,
    .vcpu_settle = fake_settle,
    .vcpu_kick = fake_kick,
    .set_irq = fake_set_irq,
    .signal_msi = fake_msi,
    .notify_add = fake_notify,
    .notify_remove = fake_notify,
    .save = fake_save,
    .load = fake_load,
    .clock_freeze = fake_freeze,
    .clock_release = fake_release,
    .contract = fake_contract,
    .accept = fake_accept,
};
