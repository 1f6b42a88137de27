/* SPDX-License-Identifier: Apache-2.0 */
#include "escape.h"

/*
 * Kernel mode makes the host's system calls from the host's own instructions: the Kth SYSCALL
 * it finds above VA_END, with numbers from N on. It may be the end of this guest, and of
 * nothing else; so the number is told before each, and who watches begins anew behind it.
 *
 * "probe: site ADDRESS", "probe: call N" ..., "probe: all calls made" or "probe: no such site".
 */
#define STEP (1ull << 36)
#define SPAN (32 * PAGE)
#define LOOP (1 * MS)

static uint64_t call_number, call_args[6];

static uint64_t find_in(uint64_t va, uint64_t *left)
{
	for (uint64_t page = va; page < va + SPAN && try_read(page, NULL) < 0; page += PAGE)
		for (uint64_t i = 0; i + 1 < PAGE; i++)
			if (*(volatile uint8_t *)(page + i) == 0x0f &&
			    *(volatile uint8_t *)(page + i + 1) == 0x05 && (*left)-- == 0)
				return page + i;
	return 0;
}

static uint64_t find_site(uint64_t index)
{
	uint64_t site = 0;

	for (uint64_t va = SEGUE_PV_VA_END; va < 1ull << 47 && !site; va += STEP)
		site = find_in(va, &index);
	return site;
}

static void go(uint64_t site)
{
	register uint64_t r10 __asm__("r10") = call_args[3];
	register uint64_t r8 __asm__("r8") = call_args[4];
	register uint64_t r9 __asm__("r9") = call_args[5];

	__asm__ volatile("jmp *%0"
			 :
			 : "r"(site), "a"(call_number), "D"(call_args[0]), "S"(call_args[1]),
			   "d"(call_args[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "memory");
}

/* It loops there: back to where it was tried. */
static void enough(struct segue_pv_frame *frame)
{
	pending_clear(TIMER);
	if (frame->regs.rip >= SEGUE_PV_VA_END)
		try_give_up(frame);
}

void astray(uint64_t index, uint64_t number)
{
	static char text[256];
	uint64_t site = find_site(index);

	if (!site) {
		print("probe: no such site\n");
		return;
	}
	print("probe: site ");
	print_hex(site);
	print("\n");
	event_hook = enough;
	escape_strings(text);
	for (call_number = number; call_number <= HOST_CALLS; call_number++) {
		print("probe: call ");
		print_decimal(call_number);
		print("\n");
		escape_arguments(call_number, (unsigned)(call_number % ESCAPE_WAYS),
				 (uint64_t)text, call_args);
		set_timer(clock_ns() + LOOP);
		events_unmask();
		try(go, site, NULL);
		events_mask();
		set_timer(~0ull);
		pending_clear(TIMER);
	}
	print("probe: all calls made\n");
}
