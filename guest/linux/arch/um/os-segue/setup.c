// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's first C code, and what generic code asks of an architecture at its start.
 */
#include <linux/cpu.h>
#include <linux/init.h>
#include <linux/initrd.h>
#include <linux/minmax.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/start_kernel.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <asm/page.h>
#include <asm/processor.h>
#include <asm/setup.h>
#include "segue.h"

struct segue_pv_boot *segue_boot;
struct segue_pv_vcpu *segue_vcpu;
struct segue_irq_flags *segue_irq_flags;

struct cpuinfo_um boot_cpu_data = {
	.ipi_pipe = { -1, -1 },
	.cache_alignment = L1_CACHE_BYTES,
};

static char command_line[COMMAND_LINE_SIZE] __initdata;

void segue_start(struct segue_pv_boot *boot);

static void __init end_early(const char *text)
{
	segue_print(text, strlen(text));
	segue_call3(SEGUE_PV_END, SEGUE_PV_PANIC, __pa(text), strlen(text));
}

/* From entry.S, on the first task's stack, events masked. */
void __init segue_start(struct segue_pv_boot *boot)
{
	static const char bad_boot[] = "Not started by a machine this kernel knows\n";

	uml_physmem = SEGUE_PV_DIRECT;
	segue_boot = boot;
	if (boot->magic != SEGUE_PV_BOOT_MAGIC || boot->version != SEGUE_PV_VERSION)
		end_early(bad_boot);
	segue_vcpu = __va(boot->vcpu);
	segue_irq_flags = __va(boot->vcpu);
	segue_call2(SEGUE_PV_SET_ENTRIES, (unsigned long)segue_event_entry,
		    (unsigned long)segue_trap_entry);
	start_kernel();
}

static void __init find_initrd(void)
{
#ifdef CONFIG_BLK_DEV_INITRD
	if (!segue_boot->initrd_len)
		return;
	initrd_start = (unsigned long)__va(segue_boot->initrd);
	initrd_end = initrd_start + segue_boot->initrd_len;
#endif
}

/* The processor's random numbers, once: the next host's may not have the instruction. */
static void __init seed_random(void)
{
	u32 a = 1, b, c = 0, d;
	u64 seed[8];
	int n;
	u8 good;

	asm("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	if (!(c & (1u << 30))) /* RDRAND */
		return;
	for (n = 0; n < ARRAY_SIZE(seed); n++) {
		asm volatile("rdrand %0; setc %1" : "=r"(seed[n]), "=qm"(good));
		if (!good)
			return;
	}
	add_bootloader_randomness(seed, sizeof(seed));
	memzero_explicit(seed, sizeof(seed));
}

ssize_t os_getrandom(void *buf, size_t len, unsigned int flags);
ssize_t os_getrandom(void *buf, size_t len, unsigned int flags)
{
	return -ENOSYS;
}

void __init setup_arch(char **cmdline_p)
{
	size_t length = min_t(u64, segue_boot->cmdline_len, COMMAND_LINE_SIZE - 1);

	segue_console_early();
	segue_end_early();
	memcpy(command_line, __va(segue_boot->cmdline), length);
	strscpy(boot_command_line, command_line, COMMAND_LINE_SIZE);
	*cmdline_p = command_line;
	strscpy(init_utsname()->machine, "x86_64", sizeof(init_utsname()->machine));
	segue_memory_init();
	find_initrd();
	seed_random();
}

void __init arch_cpu_finalize_init(void)
{
}

static int show_cpuinfo(struct seq_file *m, void *v)
{
	seq_puts(m, "processor\t: 0\n");
	seq_puts(m, "vendor_id\t: Segue\n");
	seq_puts(m, "model name\t: Segue paravirtual\n");
	seq_printf(m, "cache_alignment\t: %d\n\n", boot_cpu_data.cache_alignment);
	return 0;
}

static void *first_cpu(struct seq_file *m, loff_t *pos)
{
	return *pos ? NULL : &boot_cpu_data;
}

static void *next_cpu(struct seq_file *m, void *v, loff_t *pos)
{
	++*pos;
	return NULL;
}

static void stop_cpus(struct seq_file *m, void *v)
{
}

const struct seq_operations cpuinfo_op = {
	.start = first_cpu,
	.next = next_cpu,
	.stop = stop_cpus,
	.show = show_cpuinfo,
};
