/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

/*
 * How to end, after the cases that only= asked for:
 * end=off, reboot, panic
 * end=fault          a fault whose entry faults
 * end=noentry        a fault before there are entries
 * end=stack          a fault with a stack pointer that is none
 * end=hang           masked, for ever
 * end=jump to=VA number=N   kernel mode goes astray: to that address, with RAX N
 * end=astray site=K number=N  as astray.c has it
 */
_Noreturn void end_off(void)
{
	print_flush();
	hv(SEGUE_PV_END, SEGUE_PV_OFF, 0, 0);
	print("probe: FAIL still there after END\n");
	for (;;)
		hv(SEGUE_PV_BLOCK, 0, 0, 0);
}

static void end_with(uint64_t kind, const char *text, uint64_t len)
{
	print_flush();
	hv(SEGUE_PV_END, kind, gpa_of(text), len);
	print("probe: FAIL still there after END\n");
}

static void fault_here(void)
{
	uint64_t va = 8;

	__asm__ volatile("movq %0, (%0)" : : "r"(va) : "memory");
}

static void go(uint64_t to, uint64_t number)
{
	__asm__ volatile("jmp *%0" : : "r"(to), "a"(number), "D"(0), "S"(0), "d"(0) : "memory");
}

_Noreturn void end(const char *how)
{
	static const char words[] = "the probe was told to panic";

	print("probe: end\n");
	if (word_is(how, "reboot"))
		end_with(SEGUE_PV_REBOOT, words, 0);
	if (word_is(how, "panic"))
		end_with(SEGUE_PV_PANIC, words, sizeof(words) - 1);
	if (word_is(how, "fault")) {
		hv(SEGUE_PV_SET_ENTRIES, 0x1000, 0x2000, 0);
		fault_here();
	}
	if (word_is(how, "noentry")) {
		hv(SEGUE_PV_SET_ENTRIES, 0, 0, 0);
		fault_here();
	}
	if (word_is(how, "stack"))
		__asm__ volatile("movq $0x1000, %rsp; ud2");
	if (word_is(how, "hang"))
		for (;;)
			barrier();
	if (word_is(how, "jump"))
		go(cmdline_number("to", 0), cmdline_number("number", 0));
	if (word_is(how, "astray"))
		astray(cmdline_number("site", 0), cmdline_number("number", 0));
	end_off();
}
