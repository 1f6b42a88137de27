/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/kvm/kvm.h"

/*
 * Running a vCPU, and making it stop.
 *
 * A kick must also stop a vCPU that is just about to enter the kernel. It sets KICKED and
 * immediate_exit, which KVM looks at on entry, and then sends a signal, which ends a
 * KVM_RUN that has passed that point (Documentation/virt/kvm/api.rst, KVM_RUN).
 */
static void kick_handler(int signal)
{
	(void)signal;
}

int kvm_kick_prepare(struct error *err)
{
	struct sigaction action = {.sa_handler = kick_handler};

	sigemptyset(&action.sa_mask);
	if (sigaction(KVM_KICK_SIGNAL, &action, NULL) < 0)
		return error_system(err, -errno, "cannot take the signal for vCPUs");
	return 0;
}

struct vcpu *kvm_vcpu(struct engine *engine, unsigned index)
{
	struct kvm_engine *e = kvm_engine_of(engine);

	return index < e->n_cpus ? &e->cpus[index].vcpu : NULL;
}

void kvm_vcpu_kick(struct vcpu *vcpu)
{
	struct kvm_cpu *cpu = kvm_cpu_of(vcpu);
	pid_t tid;

	atomic_store(&cpu->kicked, true);
	__atomic_store_n(&cpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	tid = atomic_load(&cpu->tid);
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, KVM_KICK_SIGNAL);
}

/* The caller looks around after this, so whoever kicked until now has been heard. */
static void kick_taken(struct kvm_cpu *cpu)
{
	atomic_store(&cpu->kicked, false);
	__atomic_store_n(&cpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

void kvm_kick_unblock(void)
{
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KVM_KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
}

static void adopt_thread(struct kvm_cpu *cpu)
{
	static _Thread_local pid_t self;

	if (!self) {
		self = (pid_t)syscall(SYS_gettid);
		kvm_kick_unblock();
	}
	if (atomic_load_explicit(&cpu->tid, memory_order_relaxed) != self)
		atomic_store(&cpu->tid, self);
}

static void failed(struct kvm_cpu *cpu, struct vcpu_exit *exit, int code, const char *what,
		   uint64_t detail)
{
	struct kvm_regs regs;

	memset(&exit->error, 0, sizeof(exit->error));
	exit->kind = VCPU_EXIT_FAILED;
	if (kvm_ioctl(cpu->fd, KVM_GET_REGS, &regs) < 0)
		regs.rip = 0;
	error_set(&exit->error, code, "vCPU %u cannot go on at instruction 0x%llx: %s (0x%llx)",
		  cpu->vcpu.index, (unsigned long long)regs.rip, what,
		  (unsigned long long)detail);
}

static void exit_io(struct kvm_cpu *cpu, struct vcpu_exit *exit)
{
	struct kvm_run *run = cpu->run;

	exit->kind = VCPU_EXIT_PIO;
	exit->address = run->io.port;
	exit->data = (uint8_t *)run + run->io.data_offset;
	exit->len = run->io.size;
	exit->count = run->io.count;
	exit->write = run->io.direction == KVM_EXIT_IO_OUT;
}

static void exit_mmio(struct kvm_cpu *cpu, struct vcpu_exit *exit)
{
	struct kvm_run *run = cpu->run;

	exit->kind = VCPU_EXIT_MMIO;
	exit->address = run->mmio.phys_addr;
	exit->data = run->mmio.data;
	exit->len = run->mmio.len;
	exit->count = 1;
	exit->write = run->mmio.is_write;
}

static void exit_internal(struct kvm_cpu *cpu, struct vcpu_exit *exit)
{
	switch (cpu->run->internal.suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		failed(cpu, exit, -ENOTSUP, "KVM cannot interpret it", cpu->run->internal.ndata);
		break;
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		failed(cpu, exit, -EIO, "KVM cannot deliver an event to it",
		       cpu->run->internal.data[0]);
		break;
	default:
		failed(cpu, exit, -EIO, "KVM reports an internal error",
		       cpu->run->internal.suberror);
		break;
	}
}

static void hand_out(struct kvm_cpu *cpu, struct vcpu_exit *exit)
{
	struct kvm_run *run = cpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(cpu, exit);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(cpu, exit);
		break;
	case KVM_EXIT_SHUTDOWN:
		exit->kind = VCPU_EXIT_SHUTDOWN;
		break;
	case KVM_EXIT_INTR:
		exit->kind = VCPU_EXIT_KICKED;
		break;
	case KVM_EXIT_FAIL_ENTRY:
		failed(cpu, exit, -EIO, "the processor refuses the guest's state",
		       run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		exit_internal(cpu, exit);
		break;
	default:
		failed(cpu, exit, -EIO, "KVM stopped for a reason nobody asked for",
		       run->exit_reason);
		break;
	}
}

/*
 * EAGAIN: a vCPU that waited for its start-up interrupt has got it, or KVM had to drop
 * what it was about to do; entering again is all that is asked for.
 */
static int enter(struct kvm_cpu *cpu)
{
	int r;

	do {
		r = ioctl(cpu->fd, KVM_RUN, 0);
	} while (r < 0 && errno == EAGAIN);
	return r < 0 ? -errno : 0;
}

void kvm_vcpu_run(struct vcpu *vcpu, struct vcpu_exit *ret_exit)
{
	struct kvm_cpu *cpu = kvm_cpu_of(vcpu);
	int r = 0;

	adopt_thread(cpu);
	if (!cpu->more)
		r = enter(cpu);
	cpu->more = false;
	if (r == -EINTR) {
		kick_taken(cpu);
		ret_exit->kind = VCPU_EXIT_KICKED;
	} else if (r < 0) {
		failed(cpu, ret_exit, r, strerror(-r), cpu->run->exit_reason);
	} else {
		hand_out(cpu, ret_exit);
	}
}

bool kvm_vcpu_settle(struct vcpu *vcpu)
{
	struct kvm_cpu *cpu = kvm_cpu_of(vcpu);

	if (cpu->more)
		return false;
	adopt_thread(cpu);
	__atomic_store_n(&cpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	/*
	 * With immediate_exit KVM completes the access and leaves with EINTR. It leaves
	 * with 0 when that instruction wants something more.
	 */
	cpu->more = enter(cpu) == 0;
	__atomic_store_n(&cpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (atomic_load(&cpu->kicked))
		__atomic_store_n(&cpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	return !cpu->more;
}
