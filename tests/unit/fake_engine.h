/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_FAKE_ENGINE_H
#define TESTS_UNIT_FAKE_ENGINE_H

#include <stdatomic.h>

#include "vmm/engine/engine.h"

/*
 * An engine whose vCPUs do what a test tells them, one step a run. It watches that the
 * machine keeps the rules of engine.h: every breach is counted.
 */
#define FAKE_CPUS 4u

struct fake_engine;

struct fake_vcpu {
	struct vcpu vcpu;
	struct fake_engine *engine;
	_Atomic uint64_t steps; /* its state: what save and load carry */
	atomic_bool kicked;
	atomic_bool inside; /* vcpu_run() */
	bool answered;      /* an access has been handed out and not been settled */
	uint8_t data[8];
};

struct fake_engine {
	struct engine engine;
	struct ram *ram;
	struct fake_vcpu vcpus[FAKE_CPUS];
	unsigned n_vcpus;
	atomic_uint breaches;
	atomic_uint boots, freezes, releases;
	atomic_uint irqs; /* a bit a GSI: its level */
	atomic_bool frozen;
	uint64_t elapsed; /* of the last release */
	struct boot_state boot;
};

/* What vCPU 0 and the others do next; set by the test. Without one they idle until kicked. */
typedef void (*fake_step)(struct fake_vcpu *vcpu, struct vcpu_exit *exit);
extern _Atomic(fake_step) fake_steps[FAKE_CPUS];
extern atomic_bool fake_refuses; /* the next accept */

extern const struct engine_ops fake_engine_ops;

/* For steps: an access of one byte. */
void fake_out(struct fake_vcpu *vcpu, struct vcpu_exit *exit, uint16_t port, uint8_t value);
void fake_store(struct fake_vcpu *vcpu, struct vcpu_exit *exit, uint64_t gpa, uint8_t value);
void fake_idle(struct fake_vcpu *vcpu, struct vcpu_exit *exit);

#endif
