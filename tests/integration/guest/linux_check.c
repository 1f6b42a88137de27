// SPDX-License-Identifier: Apache-2.0
/*
 * What programs expect of a Linux, tried inside a guest, one line a case: signals with all
 * registers, memory rights, threads, forks, tracing. For test_pv_linux.py; runs on any Linux.
 */
#include <string.h>
#include <unistd.h>

#include "linux_check.h"

static const struct {
	const char *name;
	bool (*run)(void);
	bool slow;
} cases[] = {
    {"faults", case_faults, false},
    {"rights", case_rights, false},
    {"file-mapping", case_file_mapping, false},
    {"registers", case_registers, false},
    {"signal-stack", case_signal_stack, false},
    {"interrupted-calls", case_interrupted_calls, true},
    {"fork", case_fork, false},
    {"exec", case_exec, false},
    {"threads", case_threads, false},
    {"shared-tables", case_shared_tables, false},
    {"big-memory", case_big_memory, false},
    {"stack", case_stack, false},
    {"trace", case_trace, false},
    {"time", case_time, false},
};

static int run_all(bool slow_too)
{
	int failures = 0;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool good;

		if (cases[i].slow && !slow_too)
			continue;
		fault_catch();
		good = cases[i].run();
		if (slow_too || !good)
			printf("linux-check: %s %s\n", cases[i].name,
			       good ? "passed" : "FAILED");
		failures += !good;
	}
	return failures;
}

/* Without an argument every case once; with --forever the quick ones again and again. */
int main(int argc, char **argv)
{
	int failures;

	if (argc > 1 && !strcmp(argv[1], "--answer"))
		return write(1, "answer", 6) != 6;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned round = 1; argc > 1 && !strcmp(argv[1], "--forever"); round++)
		if (!run_all(false))
			printf("linux-check: round %u\n", round);
	failures = run_all(true);
	printf("linux-check: end, %d failed\n", failures);
	return failures != 0;
}
