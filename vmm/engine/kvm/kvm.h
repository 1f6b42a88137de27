/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_KVM_H
#define VMM_ENGINE_KVM_KVM_H

#include <linux/kvm.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/cpumodel.h"

/*
 * The inside of the KVM engine. Everything that needs a new file descriptor or mapping
 * happens in kvm_create(): afterwards only ioctls on what is open, so that the sandbox
 * can be narrow.
 */
#define KVM_VCPUS_MAX 64u
#define KVM_MSRS_MAX  1024u

/* What interrupts KVM_RUN. Its handler does nothing; nobody else may use this signal. */
#define KVM_KICK_SIGNAL SIGRTMIN

struct kvm_cpu {
	struct vcpu vcpu;
	int fd;
	struct kvm_run *run; /* shared with the kernel */

	/* Any thread. */
	_Atomic pid_t tid;   /* of the thread that runs it, 0 before the first time */
	atomic_bool kicked;

	/* The vCPU's own thread. */
	bool more;           /* RUN holds an exit that vcpu_run() has yet to hand out */
};

/* What clock_freeze() read. The TSCs of all vCPUs belong to one instant. */
struct kvm_clocks {
	uint64_t kvmclock;                  /* nanoseconds */
	uint64_t tsc[KVM_VCPUS_MAX];
	uint64_t tsc_deadline[KVM_VCPUS_MAX]; /* IA32_TSC_DEADLINE, 0: not armed */
	struct kvm_pit_state2 pit;
};

struct kvm_cpu_state;
struct kvm_board_state;

struct kvm_dirty {
	bool on;
	uint64_t *bitmap[RAM_SLOTS]; /* as the kernel gives it: a bit a page of the slot */
};

/* What contract() hands out points in here. */
struct kvm_promise {
	char vendor[13];
	Segue__CpuidWord *words;
	Segue__CpuidWord **list;
	size_t n;
};

struct kvm_engine {
	struct engine engine;
	struct ram *ram;
	int vm;
	size_t run_size;      /* of the mapping of struct kvm_run */
	unsigned n_cpus;
	struct kvm_cpu cpus[KVM_VCPUS_MAX];

	char guest[64];
	char cpu_model[32];

	/* Set in create, constant afterwards. */
	bool has_sregs2;
	bool has_tsc_control;
	bool has_tsc_offset;     /* KVM_VCPU_TSC_OFFSET can be read and set */
	bool has_triple_fault;   /* as a vCPU event */
	size_t xsave_size;       /* bytes KVM_GET_XSAVE[2] fills */
	struct cpuid_table host; /* what KVM here can give */
	struct cpuid_table cpuid; /* what the guest sees; load() may replace it */
	uint32_t msrs[KVM_MSRS_MAX]; /* those that can be read, TSC and deadline apart */
	unsigned n_msrs;
	struct kvm_cpu_state *power_on[KVM_VCPUS_MAX];
	struct kvm_board_state *board_power_on;

	uint64_t tsc_khz;        /* the rate of the guest's TSC */
	bool frozen;
	struct kvm_clocks clocks; /* valid while frozen */

	struct kvm_dirty dirty;
	struct kvm_promise promise;
};

static inline struct kvm_engine *kvm_engine_of(struct engine *engine)
{
	return (struct kvm_engine *)engine;
}

static inline struct kvm_cpu *kvm_cpu_of(struct vcpu *vcpu)
{
	return (struct kvm_cpu *)vcpu;
}

/* An ioctl begun anew after EINTR. Its result, or a negative errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_value(int fd, unsigned long request, unsigned long value);

/* probe.c */
int kvm_probe(const Segue__Guest *guest, struct error *err);
int kvm_open(struct error *err); /* /dev/kvm, or a negative errno */
/* What KVM can give a guest, with what it leaves to its caller to know filled in. */
int kvm_host_cpuid(int kvm, struct cpuid_table *ret_table, struct error *err);

/* speed.c: -ENOTSUP when KVM interprets instructions instead of having them executed. */
int kvm_speed_probe(int kvm, struct error *err);
/* The verdict alone: DONE of the loop's iterations took NS, all of them take NATIVE_NS here. */
bool kvm_speed_emulated(uint64_t done, uint64_t ns, uint64_t native_ns);

/* vm.c */
int kvm_create(const struct engine_config *config, struct engine **ret_engine,
	       struct error *err);
void kvm_destroy(struct engine *engine);
int kvm_slot_set(struct kvm_engine *e, unsigned slot, uint32_t flags);
int kvm_set_irq(struct engine *engine, unsigned gsi, bool level);
int kvm_signal_msi(struct engine *engine, uint64_t address, uint32_t data);
int kvm_notify_add(struct engine *engine, uint64_t gpa, unsigned len, int64_t value, int eventfd);
int kvm_notify_remove(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		      int eventfd);

/* msr.c */
int kvm_msr_read(const struct kvm_engine *e, unsigned index, uint32_t msr, uint64_t *ret_value);
int kvm_msr_write(const struct kvm_engine *e, unsigned index, uint32_t msr, uint64_t value);

/* vcpu.c */
int kvm_kick_prepare(struct error *err);
void kvm_kick_unblock(void); /* in the calling thread, which may have inherited it blocked */
struct vcpu *kvm_vcpu(struct engine *engine, unsigned index);
void kvm_vcpu_run(struct vcpu *vcpu, struct vcpu_exit *ret_exit);
bool kvm_vcpu_settle(struct vcpu *vcpu);
void kvm_vcpu_kick(struct vcpu *vcpu);

/* vcpu_setup.c */
int kvm_cpus_create(struct kvm_engine *e, int kvm, struct error *err);
int kvm_cpuid_set(struct kvm_engine *e, struct error *err); /* e->cpuid, to every vCPU */

/* boot.c */
int kvm_boot(struct engine *engine, const struct boot_state *boot, struct error *err);

void kvm_boot_sregs(struct kvm_sregs2 *sregs, const struct boot_state *boot);
void kvm_boot_regs(struct kvm_regs *regs, const struct boot_state *boot);
/* TWO: the kernel has the newer form; the older lacks the PDPTRs. */
int kvm_sregs_get(int vcpu, bool two, struct kvm_sregs2 *sregs);
int kvm_sregs_set(int vcpu, bool two, const struct kvm_sregs2 *sregs);

/* state.c */
int kvm_save(struct engine *engine, struct buffer *state, struct error *err);
int kvm_load(struct engine *engine, const uint8_t *state, size_t len, struct error *err);

/* clock.c */
int kvm_clock_freeze(struct engine *engine, struct error *err);
int kvm_clock_release(struct engine *engine, uint64_t elapsed_ns, struct error *err);
int kvm_clocks_read(struct kvm_engine *e, struct kvm_clocks *ret_clocks, struct error *err);
/* Makes the guest's TSC run at KHZ; -ENOTSUP when it cannot. PINNED: the guest trusts it. */
int kvm_tsc_rate_check(const struct kvm_engine *e, uint64_t khz, bool pinned,
		       struct error *err);
int kvm_tsc_rate_set(struct kvm_engine *e, uint64_t khz, struct error *err);

/* contract.c */
int kvm_contract_make(struct kvm_engine *e, struct error *err); /* after e->cpuid is set */
void kvm_contract_done(struct kvm_engine *e);
int kvm_contract(struct engine *engine, Segue__Contract *contract);
/* The same for a table of CPUID that came with a guest's state. */
int kvm_cpuid_check(struct kvm_engine *e, const struct cpuid_table *guest, uint64_t tsc_khz,
		    struct error *err);
int kvm_accept(struct engine *engine, const Segue__Contract *contract, struct error *err);

/* dirty.c */
int kvm_dirty_start(struct engine *engine, struct error *err);
int kvm_dirty_harvest(struct engine *engine, uint64_t *words, struct error *err);
int kvm_dirty_stop(struct engine *engine);
const char *kvm_dirty_words(const struct engine *engine);

#endif
