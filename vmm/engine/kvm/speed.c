/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmm/engine/kvm/kvm.h"
#include "vmm/layout.h"

/*
 * Does the processor execute a guest's instructions, or does KVM interpret them? Some
 * builds of KVM offer the whole interface on processors without virtualization and
 * interpret, at less than a million instructions a second: a stock kernel does not come up
 * in a day.
 *
 * A small loop is run here and in a guest of its own, and the two are compared. Compared,
 * because a host may itself be emulated and slow without its KVM being at fault; and in
 * processor time, because others may be busy on this host.
 */
#define ITERATIONS     200000u
#define RATIO_MAX      50u
#define SLOW_NS        20000000ull
#define ATTEMPTS       4
#define DEADLINE_NS    250000000ll
#define AGAIN_NS       10000000ll
#define LATEST_NS      800000000ull

/* The guest's memory: PML4, PDPT, page directory, code. Identity mapped, 2 MiB. */
#define PML4 0x0000u
#define PDPT 0x1000u
#define PD   0x2000u
#define CODE 0x3000u
#define SIZE 0x4000u
#define PRESENT_WRITE 3u
#define LARGE         0x80u

static const uint8_t loop_code[] = {
	0xff, 0xc9,       /* 1: dec %ecx */
	0x75, 0xfc,       /*    jnz 1b */
	0xe6, 0x80,       /*    out %al, $0x80 */
};

struct speed {
	int vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_size;
};

static uint64_t cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void native_loop(void)
{
	uint32_t n = ITERATIONS;

	__asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
}

/* The best of three: the first may meet cold caches. */
static uint64_t native_ns(void)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 3; i++) {
		uint64_t from = cpu_now(), took;

		native_loop();
		took = cpu_now() - from;
		if (took < best)
			best = took;
	}
	return best ? best : 1;
}

static void memory_fill(uint8_t *memory)
{
	*(uint64_t *)(memory + PML4) = PDPT | PRESENT_WRITE;
	*(uint64_t *)(memory + PDPT) = PD | PRESENT_WRITE;
	*(uint64_t *)(memory + PD) = LARGE | PRESENT_WRITE;
	memcpy(memory + CODE, loop_code, sizeof(loop_code));
}

static int memory_make(struct speed *s)
{
	struct kvm_userspace_memory_region region = {.memory_size = SIZE};
	void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	s->memory = memory;
	memory_fill(s->memory);
	region.userspace_addr = (uintptr_t)s->memory;
	return kvm_ioctl(s->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static int loop_begin(struct speed *s)
{
	struct boot_state boot = {.entry = CODE, .page_table = PML4};
	struct kvm_regs regs;

	kvm_boot_regs(&regs, &boot);
	regs.rcx = ITERATIONS;
	return kvm_ioctl(s->vcpu, KVM_SET_REGS, &regs);
}

/* Real mode would do for the loop, but some Intel processors do interpret that. */
static int mode_set(struct speed *s)
{
	struct boot_state boot = {.entry = CODE, .page_table = PML4};
	struct kvm_sregs2 sregs;
	int r = kvm_sregs_get(s->vcpu, false, &sregs);

	if (r < 0)
		return r;
	kvm_boot_sregs(&sregs, &boot);
	return kvm_sregs_set(s->vcpu, false, &sregs);
}

static int guest_make(struct speed *s, int kvm)
{
	int size = kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	int r;

	if (size < (int)sizeof(*s->run))
		return size < 0 ? size : -EIO;
	s->vm = kvm_ioctl(kvm, KVM_CREATE_VM, NULL);
	if (s->vm < 0)
		return s->vm;
	r = kvm_ioctl_value(s->vm, KVM_SET_TSS_ADDR, LAYOUT_KVM_IDENTITY + 0x1000);
	if (r >= 0)
		r = memory_make(s);
	if (r < 0)
		return r;
	s->vcpu = kvm_ioctl(s->vm, KVM_CREATE_VCPU, NULL);
	if (s->vcpu < 0)
		return s->vcpu;
	s->run_size = (size_t)size;
	s->run = mmap(NULL, s->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->vcpu, 0);
	if (s->run == MAP_FAILED) {
		int error = -errno;

		s->run = NULL;
		return error;
	}
	return mode_set(s);
}

static void guest_free(struct speed *s)
{
	if (s->run)
		munmap(s->run, s->run_size);
	if (s->vcpu >= 0)
		close(s->vcpu);
	if (s->vm >= 0)
		close(s->vm);
	if (s->memory)
		munmap(s->memory, SIZE);
}

/* Comes again and again: the first might hit just before KVM_RUN and be without effect. */
static int alarm_start(timer_t *ret_timer)
{
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = KVM_KICK_SIGNAL,
		._sigev_un._tid = (pid_t)syscall(SYS_gettid),
	};
	struct itimerspec when = {
		.it_value.tv_nsec = DEADLINE_NS,
		.it_interval.tv_nsec = AGAIN_NS,
	};

	if (timer_create(CLOCK_MONOTONIC, &event, ret_timer) < 0)
		return -errno;
	if (timer_settime(*ret_timer, 0, &when, NULL) == 0)
		return 0;
	timer_delete(*ret_timer);
	return -errno;
}

static uint64_t wall_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* On a busy host the alarm may come before the guest has had enough of the processor. */
static bool too_early(uint64_t cpu_from, uint64_t wall_from)
{
	return cpu_now() - cpu_from < 2 * SLOW_NS && wall_now() - wall_from < LATEST_NS;
}

/* Runs the loop to its end or the deadline; the iterations done, in the time it took. */
static int guest_run(struct speed *s, uint64_t *ret_done, uint64_t *ret_ns)
{
	struct kvm_regs regs;
	uint64_t from, wall_from = wall_now();
	timer_t timer;
	int r;

	/* Blocked, it would leave the probe in an interpreted loop for good. */
	kvm_kick_unblock();
	r = loop_begin(s);
	if (r >= 0)
		r = alarm_start(&timer);
	if (r < 0)
		return r;
	from = cpu_now();
	do {
		r = ioctl(s->vcpu, KVM_RUN, 0) < 0 ? -errno : 0;
	} while (r == -EAGAIN || (r == -EINTR && too_early(from, wall_from)));
	*ret_ns = cpu_now() - from;
	timer_delete(timer);
	if (r < 0 && r != -EINTR)
		return r;
	if (r == 0 && s->run->exit_reason != KVM_EXIT_IO)
		return -EIO;
	r = kvm_ioctl(s->vcpu, KVM_GET_REGS, &regs);
	if (r < 0)
		return r;
	*ret_done = ITERATIONS - (uint32_t)regs.rcx;
	return 0;
}

bool kvm_speed_emulated(uint64_t done, uint64_t ns, uint64_t native_ns)
{
	/* Time for as many iterations here; at least one, so that standing still is slow. */
	uint64_t expected = native_ns * (done ? done : 1) / ITERATIONS;

	return ns > SLOW_NS && ns / RATIO_MAX > expected;
}

/*
 * Until once it is fast: in the first run a virtual machine's memory is mapped by faults,
 * and a host that is itself emulated, or busy, may stumble in any. Interpreted, all are slow.
 */
static int measure(int kvm, uint64_t native, uint64_t *ret_done, uint64_t *ret_ns)
{
	struct speed s = {.vm = -1, .vcpu = -1};
	int r = guest_make(&s, kvm);

	for (int i = 0; r >= 0 && i < ATTEMPTS; i++) {
		r = guest_run(&s, ret_done, ret_ns);
		if (r >= 0 && !kvm_speed_emulated(*ret_done, *ret_ns, native))
			break;
	}
	guest_free(&s);
	return r;
}

int kvm_speed_probe(int kvm, struct error *err)
{
	uint64_t native, done, ns;
	double mips;
	int r = kvm_kick_prepare(err);

	if (r < 0)
		return r;
	native = native_ns();
	r = measure(kvm, native, &done, &ns);
	if (r < 0)
		return error_system(err, r, "KVM does not run a guest of three instructions");
	if (!kvm_speed_emulated(done, ns, native))
		return 0;
	mips = (double)done * 2 * 1000 / (double)ns;
	return error_set(err, -ENOTSUP,
			 "KVM on this host only emulates instructions (about %.1f million a "
			 "second): stock kernels cannot run. Use a host whose processor has VT-x "
			 "or AMD-V and lets KVM use it; for guests made for tests, set "
			 "allow_emulation", mips);
}
