/* SPDX-License-Identifier: Apache-2.0 */
#include "test_kvm_guest.h"

/* Creating, booting, running, stopping; accesses, interrupts, notifications, reset. */

static void test_pio(void)
{
	struct guest g;
	struct vcpu_exit exit;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xb0, 0x5a,       /* mov $0x5a, %al */
		   0xe6, 0x42,           /* out %al, $0x42 */
		   0x66, 0xba, 0x00, 0x06, /* mov $0x600, %dx */
		   0xed,                 /* in %dx, %eax */
		   0x66, 0xba, 0x02, 0x06, /* mov $0x602, %dx */
		   0x66, 0xef);          /* out %ax, %dx */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rsi, LAYOUT_BOOT_PARAMS);
	/* 0x42 is the PIT's, which KVM itself answers. */
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(exit.address, 0x600);
	CU_ASSERT_EQUAL(exit.len, 4);
	CU_ASSERT_EQUAL(exit.count, 1);
	CU_ASSERT_FALSE(exit.write);
	memcpy(exit.data, "\x78\x56\x34\x12", 4);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(exit.address, 0x602);
	CU_ASSERT_EQUAL(exit.len, 2);
	CU_ASSERT_TRUE(exit.write);
	CU_ASSERT_EQUAL(le16_get(exit.data), 0x5678);
	guest_free(&g);
}

static void test_mmio(void)
{
	struct guest g;
	struct vcpu_exit exit;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xbb, IMM32(LAYOUT_PCI_WINDOW), /* mov $window, %ebx */
		   0x8b, 0x43, 0x10,                   /* mov 0x10(%rbx), %eax */
		   0x83, 0xc0, 0x01,                   /* add $1, %eax */
		   0x88, 0x43, 0x20);                  /* mov %al, 0x20(%rbx) */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_MMIO);
	CU_ASSERT_EQUAL(exit.address, LAYOUT_PCI_WINDOW + 0x10);
	CU_ASSERT_EQUAL(exit.len, 4);
	CU_ASSERT_FALSE(exit.write);
	memcpy(exit.data, "\x40\0\0\0", 4);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_MMIO);
	CU_ASSERT_EQUAL(exit.address, LAYOUT_PCI_WINDOW + 0x20);
	CU_ASSERT_EQUAL(exit.len, 1);
	CU_ASSERT_TRUE(exit.write);
	CU_ASSERT_EQUAL(exit.data[0], 0x41);
	guest_free(&g);
}

/* The answer must be in the register after settling, without another instruction run. */
static void test_settle(void)
{
	struct guest g;
	struct vcpu_exit exit;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0x66, 0xba, 0x00, 0x06, /* mov $0x600, %dx */
		   0xec,                       /* in %dx, %al */
		   0xb3, 0x77,                 /* mov $0x77, %bl */
		   0xee);                      /* out %al, %dx */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_PIO);
	exit.data[0] = 0x99;
	CU_ASSERT_TRUE(g.ops->vcpu_settle(guest_cpu(&g, 0)));
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rax & 0xff, 0x99);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rip, CODE + 5);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rbx, 0);
	/* Settling twice does nothing more. */
	CU_ASSERT_TRUE(g.ops->vcpu_settle(guest_cpu(&g, 0)));
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rip, CODE + 5);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(exit.data[0], 0x99);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rbx, 0x77);
	guest_free(&g);
}

/* A load across two pages of device memory is two accesses; settling hands out the second. */
static void test_settle_split(void)
{
	struct guest g;
	struct vcpu_exit exit;
	struct vcpu *cpu;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xbb, IMM32(LAYOUT_PCI_WINDOW + 0xffc), /* mov $.., %ebx */
		   0x48, 0x8b, 0x03,                           /* mov (%rbx), %rax */
		   0xee);                                      /* out %al, %dx */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	cpu = guest_cpu(&g, 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_MMIO);
	CU_ASSERT_EQUAL(exit.address, LAYOUT_PCI_WINDOW + 0xffc);
	CU_ASSERT_EQUAL(exit.len, 4);
	memcpy(exit.data, "\x11\x22\x33\x44", 4);
	CU_ASSERT_FALSE(g.ops->vcpu_settle(cpu));
	CU_ASSERT_FALSE(g.ops->vcpu_settle(cpu));
	g.ops->vcpu_run(cpu, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_MMIO);
	CU_ASSERT_EQUAL(exit.address, LAYOUT_PCI_WINDOW + 0x1000);
	CU_ASSERT_EQUAL(exit.len, 4);
	memcpy(exit.data, "\x55\x66\x77\x88", 4);
	CU_ASSERT_TRUE(g.ops->vcpu_settle(cpu));
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rax, 0x8877665544332211ull);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rip, CODE + 8);
	guest_free(&g);
}

struct spinner {
	struct guest *g;
	unsigned index;
	atomic_bool stop;
	atomic_uint kicks;
	struct vcpu_exit last;
};

static void *spin(void *context)
{
	struct spinner *s = context;

	while (!atomic_load(&s->stop)) {
		s->g->ops->vcpu_run(guest_cpu(s->g, s->index), &s->last);
		if (s->last.kind != VCPU_EXIT_KICKED)
			break;
		atomic_fetch_add(&s->kicks, 1);
	}
	return NULL;
}

static void test_kick(void)
{
	struct guest g;
	struct spinner s = {.g = &g};
	pthread_t thread;
	uint64_t worst = 0;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xeb, 0xfe); /* jmp . */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	pthread_create(&thread, NULL, spin, &s);
	for (unsigned i = 0; i < 200; i++) {
		unsigned was = atomic_load(&s.kicks);
		uint64_t from = now_ns();

		g.ops->vcpu_kick(guest_cpu(&g, 0));
		while (atomic_load(&s.kicks) == was && now_ns() - from < 2000000000u)
			sched_yield();
		if (now_ns() - from > worst)
			worst = now_ns() - from;
	}
	atomic_store(&s.stop, true);
	g.ops->vcpu_kick(guest_cpu(&g, 0));
	pthread_join(thread, NULL);
	CU_ASSERT_TRUE(atomic_load(&s.kicks) >= 200);
	CU_ASSERT_EQUAL(s.last.kind, VCPU_EXIT_KICKED);
	CU_ASSERT_TRUE(worst < 1000000000u);
	guest_free(&g);
}

/* A kick before the vCPU ever ran stops it too, and one that comes while it settles. */
static void test_kick_early(void)
{
	struct guest g;
	struct vcpu_exit exit;
	struct vcpu *cpu;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xeb, 0xfe); /* jmp . */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	cpu = guest_cpu(&g, 0);
	g.ops->vcpu_kick(cpu);
	g.ops->vcpu_run(cpu, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_KICKED);
	g.ops->vcpu_kick(cpu);
	CU_ASSERT_TRUE(g.ops->vcpu_settle(cpu));
	g.ops->vcpu_run(cpu, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_KICKED);
	guest_free(&g);
}

/* No GDT entry, no IDT: an undefined instruction becomes a triple fault. */
static void test_triple_fault(void)
{
	struct guest g;
	struct vcpu_exit exit;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0x0f, 0x0b); /* ud2 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_SHUTDOWN);
	/* And a boot after it starts over. */
	GUEST_CODE(&g, 0xe6, 0x99); /* out %al, $0x99 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(exit.address, 0x99);
	guest_free(&g);
}

static void test_notify(void)
{
	struct guest g;
	struct vcpu_exit exit;
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	uint64_t count = 0;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xbb, IMM32(LAYOUT_PCI_WINDOW), /* mov $window, %ebx */
		   0x89, 0x03,                         /* mov %eax, (%rbx) */
		   0x66, 0x89, 0x03,                   /* mov %ax, (%rbx) */
		   0xe6, 0x99,                         /* out %al, $0x99 */
		   0x89, 0x03);                        /* mov %eax, (%rbx) */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	CU_ASSERT_EQUAL(g.ops->notify_add(g.engine, LAYOUT_PCI_WINDOW, 0, NOTIFY_ANY, event),
			0);
	CU_ASSERT_EQUAL(g.ops->notify_add(g.engine, LAYOUT_PCI_WINDOW, 0, NOTIFY_ANY, event),
			-EEXIST);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL_FATAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(read(event, &count, sizeof(count)), 8);
	CU_ASSERT_EQUAL(count, 2);
	CU_ASSERT_EQUAL(g.ops->notify_remove(g.engine, LAYOUT_PCI_WINDOW, 0, NOTIFY_ANY, event),
			0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_MMIO);
	CU_ASSERT_EQUAL(exit.address, LAYOUT_PCI_WINDOW);
	guest_free(&g);
	close(event);
}

static void test_interrupts(void)
{
	struct guest g;
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
	struct kvm_lapic_state lapic;
	struct kvm_engine *e;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	e = kvm_engine_of(g.engine);
	/* Software-enabled, so that it takes messages: SDM volume 3, 11.9, SVR bit 8. */
	kvm_ioctl(e->cpus[0].fd, KVM_GET_LAPIC, &lapic);
	le32_put(lapic.regs + 0xf0, 0x1ff);
	kvm_ioctl(e->cpus[0].fd, KVM_SET_LAPIC, &lapic);
	CU_ASSERT_EQUAL(g.ops->signal_msi(g.engine, LAYOUT_LAPIC, 0x45), 0);
	kvm_ioctl(e->cpus[0].fd, KVM_GET_LAPIC, &lapic);
	CU_ASSERT_EQUAL(le32_get(lapic.regs + 0x220) >> 5 & 1, 1); /* IRR, vector 0x45 */

	/* The line's level is seen at a masked pin of the IOAPIC. */
	CU_ASSERT_EQUAL(g.ops->set_irq(g.engine, 20, true), 0);
	kvm_ioctl(e->vm, KVM_GET_IRQCHIP, &chip);
	CU_ASSERT_EQUAL(chip.chip.ioapic.irr >> 20 & 1, 1);
	CU_ASSERT_EQUAL(g.ops->set_irq(g.engine, 20, false), 0);
	guest_free(&g);
}

/* What the guest has changed is as at power-on again, on every vCPU. */
static void test_reset(void)
{
	struct guest g;
	struct vcpu_exit exit;
	struct kvm_engine *e;
	struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};
	struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};
	struct kvm_lapic_state lapic, fresh;
	struct kvm_sregs sregs;
	uint64_t value;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 2, 16 * MIB), 0);
	e = kvm_engine_of(g.engine);
	kvm_ioctl(e->cpus[1].fd, KVM_GET_LAPIC, &fresh);
	GUEST_CODE(&g, 0xb8, IMM32(0x12345), /* mov $0x12345, %eax */
		   0x89, 0xc3,               /* mov %eax, %ebx */
		   0xe6, 0x99);              /* out %al, $0x99 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);

	/* As a kernel that has run for a while would have left things. */
	CU_ASSERT_EQUAL(kvm_msr_write(e, 0, 0x4b564d01, 0x200001), 0); /* kvmclock */
	CU_ASSERT_EQUAL(kvm_msr_write(e, 1, 0x4b564d03, 0x201001), 0); /* steal time */
	CU_ASSERT_EQUAL(kvm_msr_write(e, 1, 0xc0000082, 0xffff1234), 0); /* LSTAR */
	sregs = guest_sregs(&g, 0);
	sregs.cr2 = 0x5555;
	kvm_ioctl(e->cpus[0].fd, KVM_SET_SREGS, &sregs);
	kvm_ioctl(e->cpus[1].fd, KVM_SET_MP_STATE, &mp);
	kvm_ioctl(e->cpus[1].fd, KVM_GET_LAPIC, &lapic);
	le32_put(lapic.regs + 0xf0, 0x1ff);
	le32_put(lapic.regs + 0x80, 0x20);
	kvm_ioctl(e->cpus[1].fd, KVM_SET_LAPIC, &lapic);
	kvm_ioctl(e->vm, KVM_GET_IRQCHIP, &chip);
	chip.chip.ioapic.redirtbl[4].bits = 0x31;
	kvm_ioctl(e->vm, KVM_SET_IRQCHIP, &chip);

	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rbx, 0);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rip, CODE);
	CU_ASSERT_EQUAL(guest_regs(&g, 1).rip, 0xfff0);
	CU_ASSERT_EQUAL(guest_sregs(&g, 0).cr2, 0);
	CU_ASSERT_EQUAL(guest_sregs(&g, 1).efer, 0);
	CU_ASSERT_EQUAL(kvm_msr_read(e, 0, 0x4b564d01, &value), 0);
	CU_ASSERT_EQUAL(value, 0);
	CU_ASSERT_EQUAL(kvm_msr_read(e, 1, 0x4b564d03, &value), 0);
	CU_ASSERT_EQUAL(value, 0);
	CU_ASSERT_EQUAL(kvm_msr_read(e, 1, 0xc0000082, &value), 0);
	CU_ASSERT_EQUAL(value, 0);
	kvm_ioctl(e->cpus[1].fd, KVM_GET_LAPIC, &lapic);
	CU_ASSERT_EQUAL(memcmp(&lapic, &fresh, sizeof(lapic)), 0);
	kvm_ioctl(e->cpus[1].fd, KVM_GET_MP_STATE, &mp);
	CU_ASSERT_EQUAL(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
	kvm_ioctl(e->vm, KVM_GET_IRQCHIP, &chip);
	CU_ASSERT_EQUAL(chip.chip.ioapic.redirtbl[4].bits, 1 << 16);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(guest_regs(&g, 0).rbx, 0x12345);
	guest_free(&g);
}

/* INIT and SIPI through the APIC's own registers wake the second vCPU, which reports. */
static void test_second_cpu(void)
{
	struct guest g;
	struct spinner s = {.g = &g, .index = 1};
	struct vcpu_exit exit;
	pthread_t thread;
	/* Real mode at 0x8000: mov $0x77, %al; out %al, $0x98 */
	static const uint8_t ap[] = {0xb0, 0x77, 0xe6, 0x98};

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 2, 16 * MIB), 0);
	ram_write(g.ram, 0x8000, ap, sizeof(ap));
	GUEST_CODE(&g, 0xbb, IMM32(LAYOUT_LAPIC),                /* mov $lapic, %ebx */
		   0xc7, 0x83, IMM32(0xf0), IMM32(0x1ff),        /* movl $0x1ff, 0xf0(%rbx) */
		   0xc7, 0x83, IMM32(0x310), IMM32(1 << 24),     /* movl $1 << 24, 0x310(%rbx) */
		   0xc7, 0x83, IMM32(0x300), IMM32(0x4500),      /* INIT */
		   0xc7, 0x83, IMM32(0x300), IMM32(0x4608),      /* SIPI, page 8 */
		   0xe6, 0x99);                                  /* out %al, $0x99 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	pthread_create(&thread, NULL, spin, &s);
	usleep(20000);
	/* It waits, and can be kicked while it does. */
	g.ops->vcpu_kick(guest_cpu(&g, 1));
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(exit.address, 0x99);
	pthread_join(thread, NULL);
	CU_ASSERT_TRUE(atomic_load(&s.kicks) >= 1);
	CU_ASSERT_EQUAL(s.last.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(s.last.address, 0x98);
	CU_ASSERT_EQUAL(s.last.data[0], 0x77);
	guest_free(&g);
}

/* RAM above 4 GiB is where the slots say. */
static void test_high_memory(void)
{
	struct guest g;
	struct vcpu_exit exit;
	uint64_t pdpt = LAYOUT_PAGE_TABLE + 0x1000, entry = LAYOUT_PAGE_TABLE + 0x6000, page;
	uint32_t value = 0;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 3072 * MIB + 4 * MIB), 0);
	/* Linear 4 GiB is guest physical 4 GiB. */
	entry |= 3;
	ram_write(g.ram, pdpt + 4 * 8, &entry, 8);
	page = RAM_HIGH | 0x83;
	ram_write(g.ram, LAYOUT_PAGE_TABLE + 0x6000, &page, 8);
	GUEST_CODE(&g, 0x48, 0xbb, IMM32(0x1000), IMM32(1), /* mov $0x100001000, %rbx */
		   0xc7, 0x03, IMM32(0xcafe),               /* movl $0xcafe, (%rbx) */
		   0xe6, 0x99);                             /* out %al, $0x99 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	guest_run(&g, 0, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(ram_read(g.ram, RAM_HIGH + 0x1000, &value, 4), 0);
	CU_ASSERT_EQUAL(value, 0xcafe);
	memcpy(&value, ram_base(g.ram) + 3072 * MIB + 0x1000, 4);
	CU_ASSERT_EQUAL(value, 0xcafe);
	guest_free(&g);
}

/* Every named model either runs here, or is refused by naming what the host lacks. */
static void test_models(void)
{
	static const char *const models[] = {"host", "x86-64-v2", "x86-64-v3", "x86-64-v4"};
	Segue__Contract contract = SEGUE__CONTRACT__INIT;
	struct vcpu_exit exit;
	struct guest g;

	for (unsigned i = 0; i < 4; i++) {
		int r = guest_make_model(&g, 2, 16 * MIB, models[i]);

		if (r < 0) {
			CU_ASSERT_EQUAL(r, -ENOTSUP);
			CU_ASSERT_PTR_NOT_NULL(strstr(g.err.text, "lacks"));
			CU_ASSERT_PTR_NOT_NULL(strstr(g.err.text, models[i]));
		} else {
			/* CPUID leaf 1 as the guest sees it. */
			GUEST_CODE(&g, 0xb8, IMM32(1), /* mov $1, %eax */
				   0x0f, 0xa2,         /* cpuid */
				   0xe6, 0x99);        /* out %al, $0x99 */
			CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
			guest_run(&g, 0, &exit);
			CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
			CU_ASSERT_EQUAL((uint32_t)guest_regs(&g, 0).rax,
					cpuid_reg(&kvm_engine_of(g.engine)->cpuid, 1, 0, 0));
			CU_ASSERT_EQUAL((guest_regs(&g, 0).rbx >> 16 & 0xff), 2);
			CU_ASSERT_TRUE(guest_regs(&g, 0).rcx >> 31 & 1);
			CU_ASSERT_EQUAL(g.ops->contract(g.engine, &contract), 0);
			CU_ASSERT_EQUAL(g.ops->accept(g.engine, &contract, &g.err), 0);
			CU_ASSERT_STRING_EQUAL(contract.cpu_model, models[i]);
			printf("(%s) ", models[i]);
		}
		guest_free(&g);
	}
}

static void test_create_refuses(void)
{
	struct guest g;

	CU_ASSERT_EQUAL(guest_make(&g, 0, 16 * MIB), -EINVAL);
	guest_free(&g);
	CU_ASSERT_EQUAL(guest_make(&g, KVM_VCPUS_MAX + 1, 16 * MIB), -EINVAL);
	guest_free(&g);
	CU_ASSERT_EQUAL(guest_make_model(&g, 1, 16 * MIB, "pentium"), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(g.err.text, "pentium"));
	guest_free(&g);
	CU_ASSERT_PTR_NULL(engine_find("xen"));
}

int main(void)
{
	char why[128];

	if (guest_skip_reason(why, sizeof(why))) {
		printf("skipped: %s\n", why);
		return 77;
	}
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("kvm", NULL, NULL);
	CU_ADD_TEST(suite, test_pio);
	CU_ADD_TEST(suite, test_mmio);
	CU_ADD_TEST(suite, test_settle);
	CU_ADD_TEST(suite, test_settle_split);
	CU_ADD_TEST(suite, test_kick);
	CU_ADD_TEST(suite, test_kick_early);
	CU_ADD_TEST(suite, test_triple_fault);
	CU_ADD_TEST(suite, test_notify);
	CU_ADD_TEST(suite, test_interrupts);
	CU_ADD_TEST(suite, test_reset);
	CU_ADD_TEST(suite, test_second_cpu);
	CU_ADD_TEST(suite, test_high_memory);
	CU_ADD_TEST(suite, test_models);
	CU_ADD_TEST(suite, test_create_refuses);
	return guest_tests_run();
}
