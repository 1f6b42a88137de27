/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#define POWER (1ull << SEGUE_PV_LINE_POWER)

static uint64_t period, next, last;
static char beat = 'a';
static bool button; /* pressed */

void heart_start(uint64_t period_ns)
{
	period = period_ns;
	last = clock_ns();
	next = last + period;
	set_timer(next);
}

void heart_word(char word)
{
	const char text[] = {word, 0};

	print(text);
	print_flush();
}

void heart_clear(void)
{
	if (__atomic_load_n(&vcpu->pending, __ATOMIC_SEQ_CST) & POWER)
		button = true;
	pending_clear(TIMER | POWER);
}

bool heart_due(void)
{
	uint64_t now = clock_ns();

	if (button) {
		print("\nprobe: power button\n");
		end_off();
	}
	if (now < last)
		heart_fail("clock", 0, now, last);
	last = now;
	return now >= next;
}

void heart_beat(void)
{
	heart_word(beat);
	beat = beat == 'z' ? 'a' : (char)(beat + 1);
	next = last + period;
	set_timer(next);
}

void heart_wait(void)
{
	set_timer(next);
}

void heart_fail(const char *what, uint64_t at_va, uint64_t got, uint64_t want)
{
	static const char words[] = "the probe found its memory or registers spoilt";

	print("\nFAIL ");
	print(what);
	print(": at ");
	print_hex(at_va);
	print(" got ");
	print_hex(got);
	print(", wanted ");
	print_hex(want);
	print("\n");
	hv(SEGUE_PV_END, SEGUE_PV_PANIC, gpa_of(words), sizeof(words) - 1);
	for (;;)
		barrier();
}
