/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

/* From here on this vCPU runs no guest code until the machine has been reset. */
static void vcpu_hold(struct machine_vcpu *v)
{
	pthread_mutex_lock(&v->machine->run_lock);
	v->held = true;
	pthread_mutex_unlock(&v->machine->run_lock);
}

static void vcpu_over(struct machine_vcpu *v, enum machine_event event, const char *text)
{
	vcpu_hold(v);
	machine_lock(v->machine);
	machine_report(v->machine, event, text);
	machine_unlock(v->machine);
}

static void vcpu_failed(struct machine_vcpu *v, const struct vcpu_exit *exit)
{
	struct error why = exit->error;

	error_prefix(&why, "vCPU %u", v->vcpu->index);
	vcpu_over(v, MACHINE_FAILED, why.text);
}

static void vcpu_shutdown(struct machine_vcpu *v)
{
	vcpu_hold(v);
	machine_reset(v->machine);
}

static void vcpu_access(struct machine *machine, struct bus *bus, const struct vcpu_exit *exit,
			unsigned count)
{
	uint8_t *data = exit->data;

	machine_lock(machine);
	for (unsigned i = 0; i < count; i++, data += exit->len) {
		if (exit->write)
			bus_write(bus, exit->address, data, exit->len);
		else
			bus_read(bus, exit->address, data, exit->len);
	}
	machine_unlock(machine);
}

static void vcpu_exit(struct machine_vcpu *v, const struct vcpu_exit *exit)
{
	struct machine *machine = v->machine;

	switch (exit->kind) {
	case VCPU_EXIT_KICKED:
		break;
	case VCPU_EXIT_PIO:
		vcpu_access(machine, machine->ports, exit, exit->count);
		break;
	case VCPU_EXIT_MMIO:
		vcpu_access(machine, machine->memory, exit, 1);
		break;
	case VCPU_EXIT_SHUTDOWN:
		vcpu_shutdown(v);
		break;
	case VCPU_EXIT_OFF:
		vcpu_over(v, MACHINE_POWERED_OFF, "the guest switched itself off");
		break;
	case VCPU_EXIT_PANICKED:
		vcpu_over(v, MACHINE_PANICKED, exit->error.text);
		break;
	case VCPU_EXIT_FAILED:
		vcpu_failed(v, exit);
		break;
	}
}

/* An instruction that makes several accesses is taken to its end. */
static void vcpu_settle(struct machine_vcpu *v)
{
	const struct engine_ops *ops = v->machine->engine_ops;
	struct vcpu_exit exit = {0};

	while (!ops->vcpu_settle(v->vcpu)) {
		ops->vcpu_run(v->vcpu, &exit);
		vcpu_exit(v, &exit);
		if (v->held)
			return;
	}
}

/*
 * Tells the loop when the last vCPU has parked. A vCPU that has run settles first, so that
 * what it was answered is in its registers before they are saved.
 */
static void vcpu_park(struct machine_vcpu *v)
{
	struct machine *machine = v->machine;

	if (v->ran)
		vcpu_settle(v);
	v->ran = false;
	pthread_mutex_lock(&machine->run_lock);
	if (atomic_load(&machine->parked) + 1 == machine->n_vcpus)
		machine->parked_at = machine_now();
	if (atomic_fetch_add(&machine->parked, 1) + 1 == machine->n_vcpus)
		uv_async_send(&machine->wake);
	while ((atomic_load(&machine->stop) || v->held) && !machine->quit)
		pthread_cond_wait(&machine->run_cond, &machine->run_lock);
	atomic_fetch_sub(&machine->parked, 1);
	pthread_mutex_unlock(&machine->run_lock);
}

static bool vcpu_quit(struct machine *machine)
{
	bool quit;

	pthread_mutex_lock(&machine->run_lock);
	quit = machine->quit;
	pthread_mutex_unlock(&machine->run_lock);
	return quit;
}

/* By itself: another thread's name is a file, which a sandbox may not open. */
static void vcpu_name(const struct machine_vcpu *v)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->vcpu->index);
	pthread_setname_np(pthread_self(), name);
}

/* HELD is only ever set by this thread, and cleared while it is parked. */
static void *vcpu_thread(void *context)
{
	struct machine_vcpu *v = context;
	struct machine *machine = v->machine;
	struct vcpu_exit exit = {0};

	vcpu_name(v);
	for (;;) {
		if (atomic_load(&machine->stop) || v->held) {
			vcpu_park(v);
			if (vcpu_quit(machine))
				return NULL;
			continue;
		}
		if (atomic_load(&machine->throttling))
			machine_throttle_wait(machine);
		v->ran = true;
		machine->engine_ops->vcpu_run(v->vcpu, &exit);
		vcpu_exit(v, &exit);
	}
}

/* Signals for the whole process belong to the loop thread; a kick is sent to its thread. */
static void signals_block(sigset_t *ret_old)
{
	static const int ours[] = {SIGTERM, SIGINT,   SIGHUP,  SIGQUIT,
				   SIGCHLD, SIGWINCH, SIGPIPE, SIGALRM};
	sigset_t set;

	sigemptyset(&set);
	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(&set, ours[i]);
	pthread_sigmask(SIG_BLOCK, &set, ret_old);
}

int machine_vcpus_start(struct machine *machine, struct error *err)
{
	unsigned n;
	sigset_t old;
	int r = 0;

	if (machine->threads_started)
		return 0;
	signals_block(&old);
	for (n = 0; n < machine->n_vcpus && r == 0; n++)
		r = -pthread_create(&machine->vcpus[n].thread, NULL, vcpu_thread,
				    &machine->vcpus[n]);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	machine->threads_started = r == 0;
	if (r == 0)
		return 0;
	/* The one that failed is the last counted. */
	pthread_mutex_lock(&machine->run_lock);
	machine->quit = true;
	pthread_cond_broadcast(&machine->run_cond);
	pthread_mutex_unlock(&machine->run_lock);
	while (--n > 0)
		pthread_join(machine->vcpus[n - 1].thread, NULL);
	machine->quit = false;
	return error_system(err, r, "cannot start a vCPU's thread");
}

void machine_vcpus_stop(struct machine *machine)
{
	pthread_mutex_lock(&machine->run_lock);
	atomic_store(&machine->stop, true);
	pthread_cond_broadcast(&machine->run_cond);
	pthread_mutex_unlock(&machine->run_lock);
	for (unsigned i = 0; i < machine->n_vcpus; i++)
		machine->engine_ops->vcpu_kick(machine->vcpus[i].vcpu);
}

void machine_vcpus_go(struct machine *machine)
{
	pthread_mutex_lock(&machine->run_lock);
	atomic_store(&machine->stop, false);
	pthread_cond_broadcast(&machine->run_cond);
	pthread_mutex_unlock(&machine->run_lock);
}

bool machine_vcpus_parked(struct machine *machine)
{
	return !machine->threads_started || atomic_load(&machine->parked) == machine->n_vcpus;
}

void machine_vcpus_join(struct machine *machine)
{
	if (!machine->threads_started)
		return;
	pthread_mutex_lock(&machine->run_lock);
	machine->quit = true;
	pthread_cond_broadcast(&machine->run_cond);
	pthread_mutex_unlock(&machine->run_lock);
	for (unsigned i = 0; i < machine->n_vcpus; i++)
		pthread_join(machine->vcpus[i].thread, NULL);
	machine->threads_started = false;
}
