/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "vmm/engine/pv/domain_internal.h"
#include "vmm/engine/pv/sigframe.h"

/*
 * Guest code can write all of a frame at any time it runs: a frame's place is checked, what
 * is in it is only ever its guest's registers.
 */
_Static_assert(PV_COMPOSED + sizeof(struct pv_sigframe) + 128 <= PV_XSTATE, "composed frame");

#define USER_END      0x7ffffffff000ull
#define FCW_INITIAL   0x37fu
#define MXCSR_INITIAL 0x1f80u

/* ---- places ---- */

static bool inside(const struct pv_context *context, uint64_t va, uint64_t len)
{
	uint64_t at = va - pv_context_area(context);

	return at <= PV_AREA_SIZE && len <= PV_AREA_SIZE - at && va % 8 == 0;
}

bool pv_frame_inside(const struct pv_context *context, uint64_t va)
{
	return inside(context, va, sizeof(struct pv_sigframe));
}

static uint8_t *hva(const struct pv_context *context, uint64_t va)
{
	return context->area + (va - pv_context_area(context));
}

static struct pv_sigframe_registers *registers(const struct pv_context *context)
{
	struct pv_sigframe *frame = (struct pv_sigframe *)(void *)hva(context, context->frame);

	return &frame->registers;
}

/* ---- frames of the kernel ---- */

void pv_frame_take(struct pv_context *context, uint64_t va)
{
	context->frame = va;
	context->composed = false;
	context->xstate = registers(context)->fpstate;
}

void pv_frame_settle(struct pv_context *context)
{
	struct pv_sigframe_registers *r = registers(context);

	if (!context->call_open)
		return;
	/* The kernel set it up to be made again: back over the two bytes of the instruction. */
	if (r->ip + 2 == context->call.instruction_pointer)
		r->ip = context->call.instruction_pointer;
	r->ax = context->has_value ? (uint64_t)context->value
				   : (uint64_t)(uint32_t)context->call.nr;
}

/* What the kernel says of the fault, where it goes with the signal; else it is an older one. */
static uint32_t vector_of(int signal, uint64_t number)
{
	switch (signal) {
	case SIGSEGV:
		return number == SEGUE_PV_VECTOR_PF ? SEGUE_PV_VECTOR_PF : SEGUE_PV_VECTOR_GP;
	case SIGBUS:
		return number == SEGUE_PV_VECTOR_PF || number == SEGUE_PV_VECTOR_AC
			   ? (uint32_t)number
			   : SEGUE_PV_VECTOR_GP;
	case SIGILL:
		return SEGUE_PV_VECTOR_UD;
	case SIGTRAP:
		return number == SEGUE_PV_VECTOR_BP ? SEGUE_PV_VECTOR_BP : SEGUE_PV_VECTOR_DB;
	case SIGFPE: /* #XM is with #MF */
		return number == SEGUE_PV_VECTOR_DE ? SEGUE_PV_VECTOR_DE : SEGUE_PV_VECTOR_MF;
	default: /* nothing that the shim says */
		return SEGUE_PV_VECTOR_GP;
	}
}

void pv_frame_stop(const struct pv_context *context, struct pv_stop *stop)
{
	const struct pv_sigframe_registers *r = registers(context);
	const uint32_t bits =
	    SEGUE_PV_PF_PRESENT | SEGUE_PV_PF_WRITE | SEGUE_PV_PF_USER | SEGUE_PV_PF_FETCH;

	stop->rip = r->ip;
	stop->trap.vector = vector_of(context->signal, r->trapno);
	if (stop->trap.vector != SEGUE_PV_VECTOR_PF)
		return;
	stop->trap.error = (uint32_t)r->err & bits;
	stop->trap.address = r->cr2;
}

/* ---- registers out ---- */

static void get_registers(const struct pv_context *context, struct segue_pv_regs *regs)
{
	const struct pv_sigframe_registers *r = registers(context);

	*regs = (struct segue_pv_regs){
	    .rax = r->ax,
	    .rbx = r->bx,
	    .rcx = r->cx,
	    .rdx = r->dx,
	    .rsi = r->si,
	    .rdi = r->di,
	    .rbp = r->bp,
	    .rsp = r->sp,
	    .r8 = r->r8,
	    .r9 = r->r9,
	    .r10 = r->r10,
	    .r11 = r->r11,
	    .r12 = r->r12,
	    .r13 = r->r13,
	    .r14 = r->r14,
	    .r15 = r->r15,
	    .rip = r->ip,
	    .rflags = r->flags,
	    .fs_base = context->fs_base,
	    .gs_base = context->gs_base,
	};
}

static void initial_xstate(uint8_t *image)
{
	const uint16_t control = FCW_INITIAL;
	const uint32_t mxcsr = MXCSR_INITIAL;

	memcpy(image, &control, sizeof(control));
	memcpy(image + PV_XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
}

/* What the processor would load again, whatever guest code made of the frame. */
static void get_xstate(const struct pv_context *context, uint8_t *image)
{
	const struct pv_xstate *xstate = &context->domain->host->xstate;
	uint64_t features;
	uint32_t mxcsr;

	memset(image, 0, xstate->size);
	if (context->xstate && inside(context, context->xstate, xstate->size))
		memcpy(image, hva(context, context->xstate), xstate->size);
	else
		initial_xstate(image);
	/* Without the kernel's words, reserved ones, and bits that nothing here has. */
	memset(image + PV_XSAVE_WORDS, 0, PV_XSAVE_HEADER - PV_XSAVE_WORDS);
	memcpy(&features, image + PV_XSAVE_HEADER, 8);
	features &= xstate->features;
	memset(image + PV_XSAVE_HEADER, 0, PV_XSAVE_EXTENDED - PV_XSAVE_HEADER);
	memcpy(image + PV_XSAVE_HEADER, &features, 8);
	memcpy(&mxcsr, image + PV_XSAVE_MXCSR, 4);
	mxcsr &= xstate->mxcsr_mask;
	memcpy(image + PV_XSAVE_MXCSR, &mxcsr, 4);
}

int pv_context_get(struct pv_context *context, struct segue_pv_regs *regs, void *xsave,
		   size_t *len, struct error *err)
{
	size_t size = context->domain->host->xstate.size;

	if (!context->has_registers || (xsave && *len < size))
		return error_set(err, -EINVAL, "pv: no registers, or no room for them");
	if (pv_context_park(context, PV_STARVED_MS) < 0)
		return error_set(err, -EIO, "pv: a guest's process has ended");
	pv_frame_settle(context);
	get_registers(context, regs);
	if (xsave)
		get_xstate(context, xsave);
	if (len)
		*len = size;
	return 0;
}

/* ---- registers in ---- */

/* What the kernel looks for behind the legacy part and behind the whole. */
static void put_xstate(struct pv_context *context, const void *image)
{
	const struct pv_xstate *xstate = &context->domain->host->xstate;
	const uint32_t magic2 = PV_SIGFRAME_MAGIC2;
	struct pv_sigframe_words words = {
	    .magic1 = PV_SIGFRAME_MAGIC1,
	    .extended_size = (uint32_t)(xstate->size + sizeof(magic2)),
	    .features = xstate->features,
	    .xstate_size = (uint32_t)xstate->size,
	};
	uint8_t *to = context->area + PV_XSTATE;

	memcpy(to, image, xstate->size);
	memcpy(to + PV_XSAVE_WORDS, &words, sizeof(words));
	memcpy(to + xstate->size, &magic2, sizeof(magic2));
	context->xstate = pv_context_area(context) + PV_XSTATE;
}

static void put_registers(struct pv_sigframe *frame, const struct segue_pv_regs *regs)
{
	frame->registers = (struct pv_sigframe_registers){
	    .ax = regs->rax,
	    .bx = regs->rbx,
	    .cx = regs->rcx,
	    .dx = regs->rdx,
	    .si = regs->rsi,
	    .di = regs->rdi,
	    .bp = regs->rbp,
	    .sp = regs->rsp,
	    .r8 = regs->r8,
	    .r9 = regs->r9,
	    .r10 = regs->r10,
	    .r11 = regs->r11,
	    .r12 = regs->r12,
	    .r13 = regs->r13,
	    .r14 = regs->r14,
	    .r15 = regs->r15,
	    .ip = regs->rip,
	    .flags = regs->rflags,
	    .cs = PV_SIGFRAME_USER_CS,
	    .ss = PV_SIGFRAME_USER_SS,
	};
}

/* No signal blocked, and where signals go: whatever guest code had made of that. */
static void compose(struct pv_context *context, const struct segue_pv_regs *regs)
{
	struct pv_sigframe *frame = (struct pv_sigframe *)(void *)(context->area + PV_COMPOSED);
	uint64_t *bases = (uint64_t *)(void *)(context->area + PV_COMPOSED) - 2;

	*frame = (struct pv_sigframe){
	    .flags = PV_SIGFRAME_FLAGS,
	    .stack = pv_context_area(context) + PV_AREA_STACK,
	    .stack_size = PV_AREA_SIZE - PV_AREA_STACK,
	};
	put_registers(frame, regs);
	frame->registers.fpstate = context->xstate;
	bases[0] = context->fs_base = regs->fs_base;
	bases[1] = context->gs_base = regs->gs_base;
	context->frame = pv_context_area(context) + PV_COMPOSED;
	context->composed = true;
	context->call_open = context->has_value = false;
	context->has_registers = true;
}

int pv_context_set(struct pv_context *context, const struct segue_pv_regs *regs,
		   const void *xsave, size_t len, struct error *err)
{
	if (regs->fs_base >= USER_END || regs->gs_base >= USER_END ||
	    (xsave && !pv_xstate_valid(&context->domain->host->xstate, xsave, len)))
		return error_set(err, -EINVAL, "pv: registers that no program can have");
	if (pv_context_park(context, PV_STARVED_MS) < 0)
		return error_set(err, -EIO, "pv: a guest's process has ended");
	if (xsave)
		put_xstate(context, xsave);
	compose(context, regs);
	return 0;
}
