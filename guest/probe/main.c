/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

/*
 * Words of the command line:
 *   only=NAME       this case alone, or those whose names begin with it
 *   work=1          the load of the tests that move guests (work.c tells more)
 *   hold=STATE      stays in that state (hold.c)
 *   end=HOW         how to end, without cases unless only= asks for some (end.c)
 *   seed=N wild=N evict=N exhaust=N roots=N   how much, in some cases
 */
void probe_main(const struct segue_pv_boot *given);

extern bool try_call(void (*function)(uint64_t), uint64_t argument);
extern uint64_t try_rsp;

static const struct probe_case *const tables[] = {
    start_cases, kernel_cases, table_cases,  user_cases,   fpu_cases,  fault_cases,
    space_cases, event_cases,  device_cases, escape_cases, shim_cases,
    gate_cases,
};

static const struct probe_case *running;
static enum { GOOD, FAILED, SKIPPED } result;
static unsigned counts[3];

/* ---- what a case says ---- */

static void begin_line(void)
{
	print("probe: ");
	print(running ? running->name : "-");
}

void fail(const char *why)
{
	if (result == FAILED)
		return;
	result = FAILED;
	begin_line();
	print(" FAIL ");
	print(why);
	print("\n");
}

void fail_values(const char *what, uint64_t got, uint64_t want)
{
	if (result == FAILED)
		return;
	result = FAILED;
	begin_line();
	print(" FAIL ");
	print(what);
	print(": got ");
	print_hex(got);
	print(", wanted ");
	print_hex(want);
	print("\n");
}

void skip(const char *why)
{
	result = SKIPPED;
	begin_line();
	print(" skip ");
	print(why);
	print("\n");
}

bool failed(void)
{
	return result != GOOD;
}

void note(const char *what, uint64_t value)
{
	begin_line();
	print(": ");
	print(what);
	print(" ");
	print_decimal(value);
	print("\n");
}

bool is_error(int64_t r)
{
	return r == SEGUE_PV_EPERM || r == SEGUE_PV_ENOMEM || r == SEGUE_PV_EFAULT ||
	       r == SEGUE_PV_EINVAL || r == SEGUE_PV_ENOSYS;
}

/* ---- running them ---- */

static bool wanted(const char *name)
{
	const char *only = cmdline_text("only");

	if (!only)
		return true;
	while (*only && *only != ' ' && *only == *name)
		only++, name++;
	return !*only || *only == ' ';
}

static void call_case(uint64_t c)
{
	((const struct probe_case *)c)->run();
}

static void run(const struct probe_case *c)
{
	running = c;
	result = GOOD;
	memory_reset();
	trap_reset();
	if (try_call(call_case, (uint64_t)c) && result == GOOD)
		fail("ended by a trap");
	trap_reset();
	user_reset();
	memory_reset();
	if (result == GOOD) {
		begin_line();
		print(" ok\n");
	}
	counts[result]++;
	running = NULL;
}

static void run_all(void)
{
	for (unsigned t = 0; t < sizeof(tables) / sizeof(*tables); t++)
		for (const struct probe_case *c = tables[t]; c->name; c++)
			if (wanted(c->name))
				run(c);
	print("probe: done ");
	print_decimal(counts[GOOD]);
	print(" ok, ");
	print_decimal(counts[FAILED]);
	print(" failed, ");
	print_decimal(counts[SKIPPED]);
	print(" skipped\n");
}

void probe_main(const struct segue_pv_boot *given)
{
	boot = given;
	vcpu = at(boot->vcpu);
	memory_init();
	trap_init();
	if (cmdline_number("work", 0))
		work();
	if (cmdline_text("hold"))
		hold(cmdline_text("hold"));
	if (cmdline_text("only") || !cmdline_text("end"))
		run_all();
	if (cmdline_text("end"))
		end(cmdline_text("end"));
	end_off();
}
