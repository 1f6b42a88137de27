// SPDX-License-Identifier: Apache-2.0
/* What a guest does while it is moved. */
#include "pv_micro.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TELL_EVERY 20000000ull /* ns */
#define PASS_PAGES 256ul       /* between two looks at the clock */

static uint64_t write_some(uint64_t *memory, uint64_t at, uint64_t pages, uint64_t words)
{
	for (uint64_t i = 0; i < PASS_PAGES; i++) {
		uint64_t *page = memory + at * (PAGE / 8);

		for (uint64_t w = 0; w < words; w++)
			page[w]++;
		at = (at + 1) % pages;
	}
	return at;
}

void load_write(uint64_t mib, uint64_t words)
{
	uint64_t pages = mib * MIB / PAGE, at = 0, written = 0, told = micro_now(), now;
	uint64_t *memory = micro_map(mib * MIB, false);

	micro_need(pages && words && words <= PAGE / 8, "pages and words");
	for (;;) {
		at = write_some(memory, at, pages, words);
		written += PASS_PAGES;
		now = micro_now();
		if (now - told < TELL_EVERY)
			continue;
		printf("pv-bench: written %llu %llu\n", (unsigned long long)written,
		       (unsigned long long)now);
		fflush(stdout);
		told = now;
	}
}

void load_beat(uint64_t us)
{
	struct timespec pause = {.tv_sec = (time_t)(us / 1000000),
				 .tv_nsec = (long)(us % 1000000 * 1000)};

	setpriority(PRIO_PROCESS, 0, -20); /* not to wait for a turn, where it may */
	for (char letter = 'a';; letter = letter == 'z' ? 'a' : (char)(letter + 1)) {
		micro_need(write(STDOUT_FILENO, &letter, 1) == 1, "write");
		nanosleep(&pause, NULL);
	}
}
