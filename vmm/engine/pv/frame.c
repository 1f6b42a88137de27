/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>

#include "vmm/engine/pv/pv.h"

/*
 * Interrupting kernel mode: its registers go onto its stack, and it goes on at one of its two
 * entries. A stack that cannot be written, or an entry that cannot be run, is the end.
 */
#define RED_ZONE    128u /* System V ABI for x86-64, 3.2.2: in use below RSP */
#define FLAGS_TF    (1ull << 8)
#define FLAGS_DF    (1ull << 10)
#define FLAGS_NT    (1ull << 14)
#define FLAGS_AC    (1ull << 18)

/* The kernel's VA as guest memory to be written; false: it has none there. */
static bool translate(const struct pv_engine *e, uint64_t va, uint64_t *ret_gpa)
{
	struct pv_leaf leaf;

	if (va >= SEGUE_PV_DIRECT && va - SEGUE_PV_DIRECT < ram_size(e->ram)) {
		*ret_gpa = va - SEGUE_PV_DIRECT;
		return true;
	}
	pv_walk(e->ram, e->kernel_root, va, PV_KERNEL, &leaf);
	if (!leaf.present || !pv_leaf_allows(&leaf, PROT_WRITE))
		return false;
	*ret_gpa = leaf.page * RAM_PAGE + va % RAM_PAGE;
	return true;
}

static int stack_write(struct pv_engine *e, uint64_t va, const void *from, size_t len)
{
	const uint8_t *bytes = from;
	uint64_t gpa;

	while (len) {
		size_t n = RAM_PAGE - va % RAM_PAGE;

		if (n > len)
			n = len;
		if (!translate(e, va, &gpa) || ram_write(e->ram, gpa, bytes, n) < 0)
			return -EFAULT;
		va += n;
		bytes += n;
		len -= n;
	}
	return 0;
}

int pv_stack_read(struct pv_engine *e, uint64_t va, uint64_t *ret_word)
{
	const uint64_t *word;
	uint64_t gpa;

	if (va % sizeof(*word) || !translate(e, va, &gpa))
		return -EFAULT;
	word = ram_at(e->ram, gpa, sizeof(*word));
	if (!word)
		return -EFAULT;
	*ret_word = __atomic_load_n(word, __ATOMIC_RELAXED);
	return 0;
}

static void no_way(struct pv_engine *e, const struct pv_stop *stop,
		   const struct segue_pv_trap *trap, const char *why)
{
	static const struct segue_pv_trap none;

	if (!trap)
		trap = &none;
	pv_fail(e, "its kernel has trap %u (error 0x%x, address 0x%llx) at instruction 0x%llx, "
		"and %s", trap->vector, trap->error, (unsigned long long)trap->address,
		(unsigned long long)(stop ? stop->rip : 0), why);
}

static int enter(struct pv_engine *e, struct segue_pv_frame *frame, uint64_t entry)
{
	struct segue_pv_regs regs = frame->regs;
	uint64_t at = (regs.rsp - RED_ZONE - sizeof(*frame)) & ~15ull;
	int r = stack_write(e, at, frame, sizeof(*frame));

	if (r < 0)
		return r;
	regs.rip = entry;
	regs.rsp = regs.rdi = at;
	regs.rflags &= ~(FLAGS_TF | FLAGS_DF | FLAGS_NT | FLAGS_AC);
	return pv_context_set(e->kernel.context, &regs, NULL, 0, NULL);
}

void pv_interrupt(struct pv_engine *e, const struct pv_stop *stop,
		  const struct segue_pv_trap *trap)
{
	uint64_t entry = trap ? e->trap_entry : e->event_entry;
	struct segue_pv_frame frame = {0};
	int r;

	if (!entry || (stop && stop->rip == entry)) {
		no_way(e, stop, trap, entry ? "it is at the first instruction of its trap entry"
					    : "it has set no trap entry");
		return;
	}
	if (trap)
		frame.trap = *trap;
	r = pv_context_get(e->kernel.context, &frame.regs, NULL, NULL, NULL);
	if (r == 0)
		r = pv_gate_registers(e, &frame.regs);
	if (r == 0)
		r = enter(e, &frame, entry);
	if (r == -EFAULT)
		no_way(e, stop, trap, "its stack cannot be written");
	else if (r == -EINVAL)
		no_way(e, stop, trap, "its entry is no address of its own");
	else if (r < 0)
		no_way(e, stop, trap, "its process has ended");
	else if (!trap)
		pv_mask(e);
	e->kernel.in_call = false;
	e->kernel.repeats = 0;
}
