/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#define AT(register, offset)                                                                   \
	_Static_assert(offsetof(struct segue_pv_frame, regs.register) == (offset),             \
		       "entry.S has another place for " #register)
AT(rax, 0);
AT(rbx, 8);
AT(rcx, 16);
AT(rdx, 24);
AT(rsi, 32);
AT(rdi, 40);
AT(rbp, 48);
AT(rsp, 56);
AT(r8, 64);
AT(r15, 120);
AT(rip, 128);
AT(rflags, 136);

#define DF 0x400ull
#define TF 0x100ull
#define AC 0x40000ull

extern void event_entry(void), trap_entry(void);
extern bool try_call(void (*function)(uint64_t), uint64_t argument);
extern void try_landing(void);
extern uint64_t try_rsp, entry_rsp;
void trap_handle(struct segue_pv_frame *frame);
void event_handle(struct segue_pv_frame *frame);

volatile trap_hook_fn trap_hook;
volatile event_hook_fn event_hook;
volatile uint64_t events_taken;
static unsigned trying;
static struct segue_pv_frame tried;

static void land(struct segue_pv_frame *frame)
{
	frame->regs.rip = (uint64_t)try_landing;
	frame->regs.rsp = try_rsp;
	frame->regs.rflags &= ~(DF | TF | AC);
}

static void say(const struct segue_pv_frame *frame)
{
	print("probe: unexpected trap ");
	print_decimal(frame->trap.vector);
	print(" error ");
	print_hex(frame->trap.error);
	print(" address ");
	print_hex(frame->trap.address);
	print(" rip ");
	print_hex(frame->regs.rip);
	print(" rsp ");
	print_hex(frame->regs.rsp);
	print("\n");
}

/* Where RDI and RSP of an entry have to be (abi.h, struct segue_pv_frame). */
static void look_at_place(const struct segue_pv_frame *frame)
{
	uint64_t place = (uint64_t)frame;

	if (place % 16)
		fail("a frame is not aligned to 16");
	if (place + sizeof(*frame) > frame->regs.rsp - 128)
		fail("a frame lies in the red zone");
	if (entry_rsp > place)
		fail("RSP of an entry is above its frame");
}

void trap_handle(struct segue_pv_frame *frame)
{
	look_at_place(frame);
	if (trap_hook && trap_hook(frame))
		return;
	if (trying) {
		tried = *frame;
		land(frame);
		return;
	}
	say(frame);
	fail("unexpected trap");
	if (!try_rsp) {
		print_flush();
		hv(SEGUE_PV_END, SEGUE_PV_PANIC, 0, 0);
	}
	land(frame);
}

/* As docs/pv-abi.md has it: who clears MASKED looks at PENDING afterwards. */
static void serve(struct segue_pv_frame *frame)
{
	do {
		vcpu->masked = 1;
		if (!__atomic_load_n(&vcpu->pending, __ATOMIC_SEQ_CST))
			continue;
		events_taken++;
		if (event_hook)
			event_hook(frame);
		else
			pending_clear(TIMER);
		/* CONTINUE goes to the condition: it clears MASKED and looks again. */
	} while (__atomic_store_n(&vcpu->masked, 0, __ATOMIC_SEQ_CST),
		 __atomic_load_n(&vcpu->pending, __ATOMIC_SEQ_CST));
}

void event_handle(struct segue_pv_frame *frame)
{
	look_at_place(frame);
	if (frame->trap.vector || frame->trap.error || frame->trap.address)
		fail("the frame of an event tells of a trap");
	if (!vcpu->masked)
		fail("not masked at the event entry");
	serve(frame);
}

void events_mask(void)
{
	__atomic_store_n(&vcpu->masked, 1, __ATOMIC_SEQ_CST);
}

void events_unmask(void)
{
	static struct segue_pv_frame no_frame;

	__atomic_store_n(&vcpu->masked, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&vcpu->pending, __ATOMIC_SEQ_CST))
		serve(&no_frame);
}

void pending_clear(uint64_t bits)
{
	__atomic_and_fetch(&vcpu->pending, ~bits, __ATOMIC_SEQ_CST);
}

void trap_init(void)
{
	hv(SEGUE_PV_SET_ENTRIES, (uint64_t)event_entry, (uint64_t)trap_entry, 0);
}

void trap_reset(void)
{
	events_mask();
	set_timer(~0ull);
	pending_clear(TIMER);
	trap_hook = NULL;
	event_hook = NULL;
	trying = 0;
	events_taken = 0;
	trap_init();
}

/* ---- trying ---- */

bool try(void (*function)(uint64_t argument), uint64_t argument,
	 struct segue_pv_frame *ret_frame)
{
	bool trapped;

	trying++;
	trapped = try_call(function, argument);
	trying--;
	if (trapped && ret_frame)
		*ret_frame = tried;
	return trapped;
}

void try_give_up(struct segue_pv_frame *frame)
{
	tried = *frame;
	land(frame);
}

static void read_once(uint64_t va)
{
	(void)*(volatile uint64_t *)va;
}

static void write_once(uint64_t va)
{
	*(volatile uint64_t *)va = va;
}

static void jump_once(uint64_t va)
{
	((void (*)(void))va)();
}

static int try_access(void (*access)(uint64_t), uint64_t va, struct segue_pv_frame *ret_frame)
{
	struct segue_pv_frame frame;

	if (!try(access, va, &frame))
		return -1;
	if (ret_frame)
		*ret_frame = frame;
	return (int)frame.trap.vector;
}

int try_read(uint64_t va, struct segue_pv_frame *ret_frame)
{
	return try_access(read_once, va, ret_frame);
}

int try_write(uint64_t va, struct segue_pv_frame *ret_frame)
{
	return try_access(write_once, va, ret_frame);
}

int try_jump(uint64_t va, struct segue_pv_frame *ret_frame)
{
	return try_access(jump_once, va, ret_frame);
}
