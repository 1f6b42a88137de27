/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm.pb-c.h"
#include "test_kvm_guest.h"

/* Saving in one machine and going on in another; clocks; hostile state. */

static void saved(struct guest *g, struct buffer *state)
{
	int r = g->ops->save(g->engine, state, &g->err);

	if (r < 0)
		fprintf(stderr, "save: %s\n", g->err.text);
	CU_ASSERT_EQUAL_FATAL(r, 0);
}

static int loaded(struct guest *g, const struct buffer *state)
{
	int r;

	memset(&g->err, 0, sizeof(g->err));
	r = g->ops->load(g->engine, state->data, state->len, &g->err);
	if (r < 0)
		fprintf(stderr, "load: %s\n", g->err.text);
	return r;
}

/* A second machine with the first one's memory and state; the first is gone after it. */
static void moved(struct guest *from, struct guest *to)
{
	struct buffer state = {0};
	unsigned cpus = from->config.cpus;

	CU_ASSERT_EQUAL_FATAL(from->ops->clock_freeze(from->engine, &from->err), 0);
	saved(from, &state);
	CU_ASSERT_EQUAL_FATAL(guest_make(to, cpus, from->config.memory), 0);
	memcpy(ram_base(to->ram), ram_base(from->ram), ram_size(from->ram));
	guest_free(from);
	CU_ASSERT_EQUAL_FATAL(loaded(to, &state), 0);
	buffer_done(&state);
	CU_ASSERT_EQUAL_FATAL(to->ops->clock_release(to->engine, 1000000, &to->err), 0);
}

/* Runs vCPU 0 for about NS, or until it exits. A signal may come too early: it is repeated. */
static void run_for(struct guest *g, long ns, struct vcpu_exit *exit)
{
	struct itimerspec in = {.it_value.tv_nsec = ns, .it_interval.tv_nsec = ns};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = KVM_KICK_SIGNAL};
	timer_t timer;

	timer_create(CLOCK_MONOTONIC, &event, &timer);
	timer_settime(timer, 0, &in, NULL);
	g->ops->vcpu_run(guest_cpu(g, 0), exit);
	timer_delete(timer);
}

/*
 * The guest works out x = x * 5 + n, n from 30000 down to 1, storing x at every step, and
 * is moved again and again, each time from an arbitrary instruction.
 */
static void test_moves(void)
{
	struct guest a, b;
	struct vcpu_exit exit;
	uint64_t want = 1, got = 0;
	unsigned moves = 0;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 1, 4 * MIB), 0);
	GUEST_CODE(&a, 0xb8, IMM32(1),            /* mov $1, %eax */
		   0xb9, IMM32(30000),            /* mov $30000, %ecx */
		   0xbb, IMM32(0x200000),         /* mov $0x200000, %ebx */
		   0x48, 0x8d, 0x04, 0x80,        /* 1: lea (%rax,%rax,4), %rax */
		   0x48, 0x01, 0xc8,              /* add %rcx, %rax */
		   0x48, 0x89, 0x03,              /* mov %rax, (%rbx) */
		   0xff, 0xc9,                    /* dec %ecx */
		   0x75, 0xf2,                    /* jnz 1b */
		   0xe6, 0x99);                   /* out %al, $0x99 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	for (;;) {
		run_for(&a, 3000000, &exit);
		if (exit.kind != VCPU_EXIT_KICKED)
			break;
		CU_ASSERT_TRUE(a.ops->vcpu_settle(guest_cpu(&a, 0)));
		moved(&a, &b);
		a = b;
		moves++;
	}
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	for (uint64_t n = 30000; n; n--)
		want = want * 5 + n;
	ram_read(a.ram, 0x200000, &got, 8);
	printf("(%u moves) ", moves);
	CU_ASSERT_EQUAL(got, want);
	guest_free(&a);
}

/* Moved between a port's answer and the next instruction. */
static void test_move_in_access(void)
{
	struct guest a, b;
	struct vcpu_exit exit;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 1, 4 * MIB), 0);
	GUEST_CODE(&a, 0x66, 0xba, 0x00, 0x06, /* mov $0x600, %dx */
		   0xec,                       /* in %dx, %al */
		   0xee);                      /* out %al, %dx */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	guest_run(&a, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_FALSE(exit.write);
	exit.data[0] = 0xa7;
	CU_ASSERT_TRUE(a.ops->vcpu_settle(guest_cpu(&a, 0)));
	moved(&a, &b);
	guest_run(&b, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_TRUE(exit.write);
	CU_ASSERT_EQUAL(exit.data[0], 0xa7);
	guest_free(&b);
}

/* Gives every part of the state a value that no fresh machine has. */
static void distinct(struct guest *g)
{
	struct kvm_engine *e = kvm_engine_of(g->engine);
	struct kvm_irqchip chip = {0};
	struct kvm_pit_state2 pit = {0};

	for (unsigned i = 0; i < e->n_cpus; i++) {
		int fd = e->cpus[i].fd;
		struct kvm_regs regs;
		struct kvm_sregs sregs;
		struct kvm_debugregs debug;
		struct kvm_xsave xsave;
		struct kvm_lapic_state lapic;
		struct kvm_vcpu_events events;
		struct kvm_mp_state mp = {.mp_state = i ? KVM_MP_STATE_HALTED
							: KVM_MP_STATE_RUNNABLE};
		uint64_t *r = (uint64_t *)&regs;

		kvm_ioctl(fd, KVM_SET_MP_STATE, &mp);
		kvm_ioctl(fd, KVM_GET_REGS, &regs);
		for (unsigned j = 0; j < 17; j++)
			r[j] = 0x1111111111ull * (j + 1) + i;
		regs.rflags = 0x246;
		CU_ASSERT_EQUAL(kvm_ioctl(fd, KVM_SET_REGS, &regs), 0);
		kvm_ioctl(fd, KVM_GET_SREGS, &sregs);
		sregs.cr2 = 0x7777000 + i;
		sregs.cr8 = 3;
		sregs.idt = (struct kvm_dtable){.base = 0x123000, .limit = 0xfff};
		sregs.fs.base = 0x7f0000001000;
		sregs.gs.base = 0xffff888000000000;
		CU_ASSERT_EQUAL(kvm_ioctl(fd, KVM_SET_SREGS, &sregs), 0);
		kvm_ioctl(fd, KVM_GET_DEBUGREGS, &debug);
		debug.db[1] = 0x4000 + i;
		debug.dr7 = 0x404;
		CU_ASSERT_EQUAL(kvm_ioctl(fd, KVM_SET_DEBUGREGS, &debug), 0);
		kvm_ioctl(fd, KVM_GET_XSAVE, &xsave);
		xsave.region[0] = 0x37f;               /* FCW */
		xsave.region[6] = 0x1f80;              /* MXCSR */
		xsave.region[40] = 0xabcdef00 + i;     /* XMM0 */
		xsave.region[128] |= 3;                /* XSTATE_BV: x87, SSE */
		CU_ASSERT_EQUAL(kvm_ioctl(fd, KVM_SET_XSAVE, &xsave), 0);
		kvm_ioctl(fd, KVM_GET_LAPIC, &lapic);
		le32_put(lapic.regs + 0xf0, 0x1ff);
		le32_put(lapic.regs + 0x370, 0x10000 | 0xfe);
		le32_put(lapic.regs + 0x220, 1u << 7);
		CU_ASSERT_EQUAL(kvm_ioctl(fd, KVM_SET_LAPIC, &lapic), 0);
		kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, &events);
		events.nmi.masked = 1;
		events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
		CU_ASSERT_EQUAL(kvm_ioctl(fd, KVM_SET_VCPU_EVENTS, &events), 0);
		CU_ASSERT_EQUAL(kvm_msr_write(e, i, 0xc0000082, 0xffffffff81000000 + i), 0);
		CU_ASSERT_EQUAL(kvm_msr_write(e, i, 0xc0000102, 0xffff880000000000 + i), 0);
		CU_ASSERT_EQUAL(kvm_msr_write(e, i, 0x277, 0x0007040600070406), 0);
		CU_ASSERT_EQUAL(kvm_msr_write(e, i, 0x4b564d01, 0x200001 + 64 * i), 0);
		CU_ASSERT_EQUAL(kvm_msr_write(e, i, 0x3b, 0), 0);
	}
	chip.chip_id = KVM_IRQCHIP_IOAPIC;
	kvm_ioctl(e->vm, KVM_GET_IRQCHIP, &chip);
	chip.chip.ioapic.redirtbl[4].bits = 0x0100000000010031;
	chip.chip.ioapic.id = 3;
	CU_ASSERT_EQUAL(kvm_ioctl(e->vm, KVM_SET_IRQCHIP, &chip), 0);
	chip.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	kvm_ioctl(e->vm, KVM_GET_IRQCHIP, &chip);
	chip.chip.pic.imr = 0xef;
	chip.chip.pic.irq_base = 0x28;
	CU_ASSERT_EQUAL(kvm_ioctl(e->vm, KVM_SET_IRQCHIP, &chip), 0);
	kvm_ioctl(e->vm, KVM_GET_PIT2, &pit);
	pit.channels[2].count = 0x4321;
	pit.channels[2].mode = 3;
	CU_ASSERT_EQUAL(kvm_ioctl(e->vm, KVM_SET_PIT2, &pit), 0);
}

/* For whoever has to find out why a round trip failed. */
static void differences(const struct buffer *a, const struct buffer *b)
{
	Segue__KvmState *x = segue__kvm_state__unpack(NULL, a->len, a->data);
	Segue__KvmState *y = segue__kvm_state__unpack(NULL, b->len, b->data);

	for (size_t i = 0; i < x->n_vcpus; i++) {
		Segue__KvmVcpu *v = x->vcpus[i], *w = y->vcpus[i];

		for (size_t j = 0; j < v->n_msr_index && j < w->n_msr_index; j++) {
			if (v->msr_value[j] != w->msr_value[j])
				fprintf(stderr, "vCPU %zu MSR %x: %llx, then %llx\n", i,
					v->msr_index[j], (unsigned long long)v->msr_value[j],
					(unsigned long long)w->msr_value[j]);
		}
		for (size_t j = 0; j < v->lapic.len; j += 4) {
			if (memcmp(v->lapic.data + j, w->lapic.data + j, 4))
				fprintf(stderr, "vCPU %zu LAPIC %zx: %x, then %x\n", i, j,
					le32_get(v->lapic.data + j), le32_get(w->lapic.data + j));
		}
		for (size_t j = 0; j < v->xsave.len; j++) {
			if (v->xsave.data[j] != w->xsave.data[j])
				fprintf(stderr, "vCPU %zu XSAVE %zu: %x, then %x\n", i, j,
					v->xsave.data[j], w->xsave.data[j]);
		}
		for (size_t j = 0; j < 8; j++) {
			if (v->segments[j]->rights != w->segments[j]->rights)
				fprintf(stderr, "vCPU %zu segment %zu: %x, then %x\n", i, j,
					v->segments[j]->rights, w->segments[j]->rights);
		}
		for (size_t j = 0; j < v->n_control; j++) {
			if (v->control[j] != w->control[j])
				fprintf(stderr, "vCPU %zu control %zu: %llx, then %llx\n", i, j,
					(unsigned long long)v->control[j],
					(unsigned long long)w->control[j]);
		}
		fprintf(stderr, "vCPU %zu: MP %u %u, PDPTRs %zu %zu, TSC %llx %llx\n", i, v->mp_state,
			w->mp_state, v->n_pdptrs, w->n_pdptrs, (unsigned long long)v->tsc,
			(unsigned long long)w->tsc);
	}
	segue__kvm_state__free_unpacked(x, NULL);
	segue__kvm_state__free_unpacked(y, NULL);
}

/* What a machine saves after a load is byte for byte what it was given. */
static void test_round_trip(void)
{
	struct guest a, b;
	struct buffer first = {0}, second = {0}, fresh = {0};

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 3, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	distinct(&a);
	CU_ASSERT_EQUAL(a.ops->clock_freeze(a.engine, &a.err), 0);
	saved(&a, &first);
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 3, 4 * MIB), 0);
	CU_ASSERT_EQUAL(b.ops->clock_freeze(b.engine, &b.err), 0);
	saved(&b, &fresh);
	CU_ASSERT_EQUAL_FATAL(loaded(&b, &first), 0);
	saved(&b, &second);
	printf("(%zu bytes) ", first.len);
	if (first.len != second.len || memcmp(first.data, second.data, first.len))
		differences(&first, &second);
	CU_ASSERT_EQUAL_FATAL(first.len, second.len);
	CU_ASSERT_EQUAL(memcmp(first.data, second.data, first.len), 0);
	CU_ASSERT_TRUE(fresh.len != first.len || memcmp(fresh.data, first.data, first.len));

	struct kvm_regs regs = guest_regs(&b, 2);
	CU_ASSERT_EQUAL(regs.r15, 0x1111111111ull * 16 + 2);
	CU_ASSERT_EQUAL(guest_sregs(&b, 1).cr2, 0x7777001);
	CU_ASSERT_EQUAL(guest_sregs(&b, 1).gs.base, 0xffff888000000000);
	struct kvm_mp_state mp;
	kvm_ioctl(kvm_engine_of(b.engine)->cpus[2].fd, KVM_GET_MP_STATE, &mp);
	CU_ASSERT_EQUAL(mp.mp_state, KVM_MP_STATE_HALTED);
	buffer_done(&first);
	buffer_done(&second);
	buffer_done(&fresh);
	guest_free(&a);
	guest_free(&b);
}

/* Loading must not touch guest memory, though KVM would write its wall clock there. */
static void test_wall_clock(void)
{
	struct guest a, b;
	struct buffer state = {0};
	uint8_t fill[4096], now[4096];

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 1, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	memset(fill, 0x5c, sizeof(fill));
	CU_ASSERT_EQUAL(kvm_msr_write(kvm_engine_of(a.engine), 0, 0x4b564d00, 0x300100), 0);
	CU_ASSERT_EQUAL(ram_read(a.ram, 0x300100, now, 12), 0);
	CU_ASSERT_TRUE(le32_get(now + 4) != 0); /* KVM did write the time */
	saved(&a, &state);
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 1, 4 * MIB), 0);
	ram_write(b.ram, 0x300000, fill, sizeof(fill));
	CU_ASSERT_EQUAL(loaded(&b, &state), 0);
	ram_read(b.ram, 0x300000, now, sizeof(now));
	CU_ASSERT_EQUAL(memcmp(now, fill, sizeof(now)), 0);
	buffer_done(&state);
	guest_free(&a);
	guest_free(&b);
}

static uint64_t tsc(struct guest *g, unsigned i)
{
	uint64_t value = 0;

	kvm_msr_read(kvm_engine_of(g->engine), i, 0x10, &value);
	return value;
}

static uint64_t kvmclock(struct guest *g)
{
	struct kvm_clock_data data = {0};

	kvm_ioctl(kvm_engine_of(g->engine)->vm, KVM_GET_CLOCK, &data);
	return data.clock;
}

static uint64_t offset(struct guest *g, unsigned i)
{
	uint64_t value = 0;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&value,
	};

	kvm_ioctl(kvm_engine_of(g->engine)->cpus[i].fd, KVM_GET_DEVICE_ATTR, &attr);
	return value;
}

/* Builds of KVM that only interpret let guests read the host's TSC, whatever is set. */
static bool tsc_settable(struct guest *g)
{
	uint64_t was = tsc(g, 0);

	/* Far off: KVM takes less than a second for an attempt to synchronise. */
	uint64_t far = kvm_engine_of(g->engine)->tsc_khz * 100000;

	kvm_msr_write(kvm_engine_of(g->engine), 0, 0x10, was + far);
	return tsc(g, 0) > was + far / 2;
}

static bool between(uint64_t value, uint64_t low, uint64_t high)
{
	return value >= low && value <= high;
}

/*
 * Frozen for 50 ms and let go as if ELAPSED: clocks have moved by ELAPSED, and by what the
 * test itself needed.
 */
static void clock_case(uint64_t elapsed_ns, bool by_msr)
{
	struct guest g;
	struct kvm_engine *e;
	uint64_t tsc_was, clock_was, from, took, ticks;
	bool settable;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 4, 4 * MIB), 0);
	settable = tsc_settable(&g);
	guest_free(&g);
	if (!settable)
		printf("(TSC cannot be set: kvmclock only) ");
	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 4, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	e = kvm_engine_of(g.engine);
	if (by_msr)
		e->has_tsc_offset = false;
	from = now_ns();
	tsc_was = tsc(&g, 0);
	clock_was = kvmclock(&g);
	CU_ASSERT_EQUAL(g.ops->clock_freeze(g.engine, &g.err), 0);
	took = now_ns() - from;
	usleep(50000);
	from = now_ns();
	CU_ASSERT_EQUAL(g.ops->clock_release(g.engine, elapsed_ns, &g.err), 0);
	tsc_was = tsc(&g, 0) - tsc_was;
	clock_was = kvmclock(&g) - clock_was;
	took += now_ns() - from;
	ticks = e->tsc_khz * elapsed_ns / 1000000;
	/* kvmclock's own conversion may be off by a little. */
	CU_ASSERT_TRUE(between(clock_was, elapsed_ns - elapsed_ns / 1000,
			       elapsed_ns + took + elapsed_ns / 1000 + 1000));
	/* Set by MSR, less than a second back is for KVM an attempt to synchronise. */
	if (by_msr && elapsed_ns < 1000000000)
		settable = false;
	CU_ASSERT_TRUE(!settable || between(tsc_was, ticks, ticks + took * e->tsc_khz / 1000000 + 100000));
	for (unsigned i = 1; i < 4 && e->has_tsc_offset; i++)
		CU_ASSERT_EQUAL(offset(&g, i), offset(&g, 0));
	guest_free(&g);
}

static void test_clocks(void)
{
	clock_case(0, false);
	clock_case(20000000, false);
	clock_case(3000000000, false);
	clock_case(0, true);
	clock_case(3000000000, true);
}

/* A vCPU whose TSC the guest has set apart stays apart by just as much. */
static void test_clocks_apart(void)
{
	struct guest a, b;
	struct buffer state = {0};
	struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET};
	uint64_t apart;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 2, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	if (!kvm_engine_of(a.engine)->has_tsc_offset || !tsc_settable(&a)) {
		printf("(TSC cannot be set: left out) ");
		guest_free(&a);
		return;
	}
	apart = offset(&a, 0) + 123456789012;
	attr.addr = (uintptr_t)&apart;
	kvm_ioctl(kvm_engine_of(a.engine)->cpus[1].fd, KVM_SET_DEVICE_ATTR, &attr);
	CU_ASSERT_EQUAL(a.ops->clock_freeze(a.engine, &a.err), 0);
	saved(&a, &state);
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 2, 4 * MIB), 0);
	CU_ASSERT_EQUAL(loaded(&b, &state), 0);
	CU_ASSERT_EQUAL(b.ops->clock_release(b.engine, 1000000, &b.err), 0);
	CU_ASSERT_EQUAL(offset(&b, 1) - offset(&b, 0), 123456789012);
	/* Released once: not again. */
	CU_ASSERT_EQUAL(b.ops->clock_release(b.engine, 0, NULL), -EINVAL);
	buffer_done(&state);
	guest_free(&a);
	guest_free(&b);
}

/* The new machine's clocks go on from the old one's, not from its own power-on. */
static void test_clocks_move(void)
{
	struct guest a, b;
	uint64_t tsc_was, clock_was;
	bool settable;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 2, 4 * MIB), 0);
	settable = tsc_settable(&a);
	guest_free(&a);
	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 2, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	CU_ASSERT_EQUAL(a.ops->clock_freeze(a.engine, &a.err), 0);
	CU_ASSERT_EQUAL(a.ops->clock_release(a.engine, 5000000000000, &a.err), 0);
	tsc_was = tsc(&a, 0);
	clock_was = kvmclock(&a);
	moved(&a, &b);
	CU_ASSERT_TRUE(!settable || between(tsc(&b, 1) - tsc_was, 1000000, 3000000000ull * 4));
	CU_ASSERT_TRUE(between(kvmclock(&b) - clock_was, 900000, 3000000000));
	guest_free(&b);
}

/* A deadline that passed while nothing ran must still come. */
static void test_deadline(void)
{
	struct guest a, b;
	struct kvm_engine *e;
	struct kvm_lapic_state lapic;
	struct vcpu_exit exit;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 1, 4 * MIB), 0);
	/* 1: pause; jmp 1b. */
	GUEST_CODE(&a, 0xf3, 0x90, 0xeb, 0xfc);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	e = kvm_engine_of(a.engine);
	kvm_ioctl(e->cpus[0].fd, KVM_GET_LAPIC, &lapic);
	le32_put(lapic.regs + 0xf0, 0x1ff);
	le32_put(lapic.regs + 0x320, 2u << 17 | 0x61); /* LVT timer: TSC deadline, vector 0x61 */
	kvm_ioctl(e->cpus[0].fd, KVM_SET_LAPIC, &lapic);
	CU_ASSERT_EQUAL(kvm_msr_write(e, 0, 0x6e0, tsc(&a, 0) + e->tsc_khz * 100), 0);
	moved(&a, &b);
	e = kvm_engine_of(b.engine);
	uint64_t armed = 0;
	CU_ASSERT_EQUAL(kvm_msr_read(e, 0, 0x6e0, &armed), 0);
	CU_ASSERT_TRUE(armed != 0);
	usleep(150000);
	/* Interrupts are off in the guest: the vector shows up as requested. */
	for (unsigned i = 0; i < 4; i++)
		run_for(&b, 1000000, &exit);
	kvm_ioctl(e->cpus[0].fd, KVM_GET_LAPIC, &lapic);
	CU_ASSERT_EQUAL(le32_get(lapic.regs + 0x230) >> 1 & 1, 1); /* IRR, vector 0x61 */
	guest_free(&b);
}

/* Repacks STATE after CHANGE has had its way with it; the load must refuse. */
static void refused(const struct buffer *state, void (*change)(Segue__KvmState *), const char *text)
{
	struct guest g;
	struct buffer bad = {0};
	Segue__KvmState *m = segue__kvm_state__unpack(NULL, state->len, state->data);

	CU_ASSERT_PTR_NOT_NULL_FATAL(m);
	change(m);
	buffer_pack(&bad, &m->base);
	segue__kvm_state__free_unpacked(m, NULL);
	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 2, 4 * MIB), 0);
	CU_ASSERT_TRUE(g.ops->load(g.engine, bad.data, bad.len, &g.err) < 0);
	CU_ASSERT_TRUE(g.err.code < 0);
	if (!strstr(g.err.text, text))
		fprintf(stderr, "said: %s\n", g.err.text);
	CU_ASSERT_PTR_NOT_NULL(strstr(g.err.text, text));
	buffer_done(&bad);
	guest_free(&g);
}

static void few_regs(Segue__KvmState *m)
{
	m->vcpus[1]->n_regs--;
}

static void few_segments(Segue__KvmState *m)
{
	segue__kvm_segment__free_unpacked(m->vcpus[0]->segments[7], NULL);
	m->vcpus[0]->n_segments--;
}

static void no_events(Segue__KvmState *m)
{
	segue__kvm_events__free_unpacked(m->vcpus[0]->events, NULL);
	m->vcpus[0]->events = NULL;
}

static void short_lapic(Segue__KvmState *m)
{
	m->vcpus[0]->lapic.len = 100;
}

static void odd_msrs(Segue__KvmState *m)
{
	m->vcpus[0]->n_msr_value--;
}

static void strange_msr(Segue__KvmState *m)
{
	m->vcpus[0]->msr_index[3] = 0xdead0000;
	m->vcpus[0]->msr_value[3] = 0x77;
}

static void short_ioapic(Segue__KvmState *m)
{
	m->ioapic->n_redirection = 5;
}

static void no_cpuid(Segue__KvmState *m)
{
	for (size_t i = 0; i < m->n_cpuid; i++)
		segue__kvm_cpuid__free_unpacked(m->cpuid[i], NULL);
	m->n_cpuid = 0;
}

static void svm_cpuid(Segue__KvmState *m)
{
	for (size_t i = 0; i < m->n_cpuid; i++) {
		if (m->cpuid[i]->function == 0x80000001)
			m->cpuid[i]->ecx |= 1 << 10 | 1 << 13; /* ibs, wdt */
	}
}

static void other_vendor(Segue__KvmState *m)
{
	for (size_t i = 0; i < m->n_cpuid; i++) {
		if (m->cpuid[i]->function == 0)
			m->cpuid[i]->ebx = 0x20202020;
	}
}

static void slow_tsc(Segue__KvmState *m)
{
	m->tsc_khz = 0;
}

static void bad_cr4(Segue__KvmState *m)
{
	m->vcpus[0]->control[3] = ~0ull;
}

static void bad_xcr0(Segue__KvmState *m)
{
	m->vcpus[0]->xcr0 = ~0ull;
}

static void big_pit(Segue__KvmState *m)
{
	m->pit->channels[0]->count = 0x10001;
}

static void test_hostile(void)
{
	struct guest a;
	struct buffer state = {0};

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 2, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	saved(&a, &state);
	guest_free(&a);

	refused(&state, few_regs, "not whole");
	refused(&state, few_segments, "not whole");
	refused(&state, no_events, "not whole");
	refused(&state, short_lapic, "not whole");
	refused(&state, odd_msrs, "not whole");
	refused(&state, strange_msr, "MSR 0xdead0000");
	refused(&state, short_ioapic, "not whole");
	refused(&state, big_pit, "not whole");
	refused(&state, no_cpuid, "entries of CPUID");
	refused(&state, svm_cpuid, "lacks ibs, wdt");
	refused(&state, other_vendor, "processor is");
	refused(&state, slow_tsc, "out of bounds");
	refused(&state, bad_cr4, "vCPU 0");
	refused(&state, bad_xcr0, "vCPU 0");

	/* Another number of vCPUs; rubbish; every truncation and many flips do no harm. */
	struct guest b;
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 1, 4 * MIB), 0);
	CU_ASSERT_EQUAL(b.ops->load(b.engine, state.data, state.len, NULL), -EPROTO);
	guest_free(&b);
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 2, 4 * MIB), 0);
	CU_ASSERT_EQUAL(b.ops->load(b.engine, (const uint8_t *)"rubbish", 7, NULL), -EPROTO);
	for (size_t len = 0; len < state.len; len += 97)
		CU_ASSERT_TRUE(b.ops->load(b.engine, state.data, len, NULL) < 0);
	srandom(7);
	for (unsigned i = 0; i < 300; i++) {
		size_t at = (size_t)random() % state.len;
		uint8_t was = state.data[at];

		state.data[at] = (uint8_t)random();
		(void)b.ops->load(b.engine, state.data, state.len, NULL);
		state.data[at] = was;
	}
	CU_ASSERT_EQUAL(b.ops->load(b.engine, state.data, state.len, &b.err), 0);
	buffer_done(&state);
	guest_free(&b);
}

/* The contract of a machine is accepted by its equal, and refused when it asks for more. */
static void test_contract(void)
{
	struct guest a, b;
	Segue__Contract contract = SEGUE__CONTRACT__INIT;
	Segue__CpuidWord word = SEGUE__CPUID_WORD__INIT;
	struct error err = {0};
	uint64_t khz;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 1, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 1, 4 * MIB), 0);
	CU_ASSERT_EQUAL(a.ops->contract(a.engine, &contract), 0);
	CU_ASSERT_STRING_EQUAL(contract.engine, "kvm");
	CU_ASSERT_TRUE(contract.n_cpuid > 5);
	CU_ASSERT_TRUE(contract.tsc_khz > 100000);
	CU_ASSERT_EQUAL(b.ops->accept(b.engine, &contract, &err), 0);

	/* More features than any processor has. */
	word.function = 7;
	word.reg = 1;
	word.bits = 1u << 26 | 1u << 27;
	Segue__CpuidWord *one[] = {&word};
	Segue__Contract more = contract;
	more.cpuid = one;
	more.n_cpuid = 1;
	more.cpu_model = (char *)"x86-64-v4";
	CU_ASSERT_EQUAL(b.ops->accept(b.engine, &more, &err), -ENOTSUP);
	CU_ASSERT_STRING_EQUAL(err.text, "this host's processor lacks avx512pf, avx512er, which the "
					 "guest's CPU model x86-64-v4 has");
	memset(&err, 0, sizeof(err));
	contract.cpu_vendor = (char *)"NotThatVendor";
	CU_ASSERT_EQUAL(b.ops->accept(b.engine, &contract, &err), -ENOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "NotThatVendor"));
	CU_ASSERT_EQUAL(a.ops->contract(a.engine, &contract), 0);
	contract.xcr0 |= 1ull << 62;
	CU_ASSERT_EQUAL(b.ops->accept(b.engine, &contract, NULL), -ENOTSUP);
	CU_ASSERT_EQUAL(a.ops->contract(a.engine, &contract), 0);
	contract.engine = (char *)"pv";
	CU_ASSERT_EQUAL(b.ops->accept(b.engine, &contract, NULL), -ENOTSUP);

	/* A TSC half a percent off will do without scaling, unless the guest trusts it. */
	struct kvm_engine *e = kvm_engine_of(b.engine);
	bool control = e->has_tsc_control;
	e->has_tsc_control = false;
	khz = e->tsc_khz;
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz + khz / 200, false, NULL), 0);
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz - khz / 200, false, NULL), 0);
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz + khz / 50, false, NULL), -ENOTSUP);
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz - khz / 50, false, NULL), -ENOTSUP);
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz + khz / 200, true, NULL), -ENOTSUP);
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz + khz / 5000, true, NULL), 0);
	e->has_tsc_control = true;
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, khz * 2, true, NULL), 0);
	CU_ASSERT_EQUAL(kvm_tsc_rate_check(e, 0, false, NULL), -EPROTO);
	e->has_tsc_control = control;
	guest_free(&a);
	guest_free(&b);
}

/* How long the state takes: it is part of every blackout. */
static void test_cost(void)
{
	struct guest a, b;
	struct buffer state = {0};
	uint64_t from, save, load;

	CU_ASSERT_EQUAL_FATAL(guest_make(&a, 8, 4 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&a), 0);
	CU_ASSERT_EQUAL_FATAL(guest_make(&b, 8, 4 * MIB), 0);
	CU_ASSERT_EQUAL(a.ops->clock_freeze(a.engine, &a.err), 0);
	from = now_ns();
	saved(&a, &state);
	save = now_ns() - from;
	from = now_ns();
	CU_ASSERT_EQUAL(loaded(&b, &state), 0);
	load = now_ns() - from;
	printf("(8 vCPUs: save %llu us, load %llu us, %zu bytes) ", (unsigned long long)save / 1000,
	       (unsigned long long)load / 1000, state.len);
	CU_ASSERT_TRUE(save < 1000000000 && load < 1000000000);
	buffer_done(&state);
	guest_free(&a);
	guest_free(&b);
}

int main(void)
{
	char why[128];

	if (guest_skip_reason(why, sizeof(why))) {
		printf("skipped: %s\n", why);
		return 77;
	}
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("kvm state", NULL, NULL);
	CU_ADD_TEST(suite, test_moves);
	CU_ADD_TEST(suite, test_move_in_access);
	CU_ADD_TEST(suite, test_round_trip);
	CU_ADD_TEST(suite, test_wall_clock);
	CU_ADD_TEST(suite, test_clocks);
	CU_ADD_TEST(suite, test_clocks_apart);
	CU_ADD_TEST(suite, test_clocks_move);
	CU_ADD_TEST(suite, test_deadline);
	CU_ADD_TEST(suite, test_hostile);
	CU_ADD_TEST(suite, test_contract);
	CU_ADD_TEST(suite, test_cost);
	return guest_tests_run();
}
