// SPDX-License-Identifier: Apache-2.0
/*
 * pv-micro run NAME...
 *	measure, a line each: "pv-bench: NAME VALUE"
 * pv-micro time NAME PROGRAM ARG...
 *	how many ms PROGRAM takes
 * pv-micro clock NAME
 *	the monotonic clock, ns
 * pv-micro write MIB WORDS
 *	a load: write WORDS words of every page, for ever; tell how many pages so far, and when
 * pv-micro beat US
 *	a load: a letter every US microseconds
 * pv-micro exit
 *	what "fork-exec" starts
 */
#include "pv_micro.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG_ENOUGH 250000000ull /* ns */
#define SAY         "pv-bench: "

static const struct micro *const all[] = {micro_cpu, micro_memory, micro_kernel, micro_tasks};

uint64_t micro_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void micro_need(bool good, const char *what)
{
	if (good)
		return;
	printf(SAY "FAIL %s: %s\n", what, strerror(errno));
	exit(1);
}

void *micro_map(uint64_t size, bool huge)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	micro_need(p != MAP_FAILED, "mmap");
	/* A kernel without huge pages has no such advice to take. */
	madvise(p, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

static const struct micro *find(const char *name)
{
	for (size_t list = 0; list < sizeof(all) / sizeof(all[0]); list++)
		for (const struct micro *m = all[list]; m->name; m++)
			if (!strcmp(m->name, name))
				return m;
	return NULL;
}

/* How many operations take long enough, found by doing ever more; that warms up, too. */
static double measure(const struct micro *m)
{
	uint64_t n = 1, ns;

	while ((ns = m->run(n)) < LONG_ENOUGH) {
		uint64_t more = ns ? n * LONG_ENOUGH * 5 / 4 / ns : n * 100;

		n = more > n * 100 ? n * 100 : more < n * 2 ? n * 2 : more;
	}
	switch (m->unit) {
	case PER_OP_NS:
		return (double)ns / (double)n;
	case PER_OP_US:
		return (double)ns / (double)n / 1e3;
	case BYTES_PER_NS:
		break;
	}
	return (double)(n * m->bytes) / (double)ns;
}

static void run(const char *name)
{
	const struct micro *m = find(name);

	micro_need(m != NULL, name);
	if (m->prepare)
		m->prepare();
	printf(SAY "%s %.6g\n", name, measure(m));
	fflush(stdout);
	if (m->finish)
		m->finish();
}

static void time_program(const char *name, char **argv)
{
	uint64_t begin = micro_now();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	micro_need(waitpid(pid, &status, 0) == pid, argv[0]);
	if (status) {
		printf(SAY "FAIL %s: status %x\n", argv[0], (unsigned int)status);
		exit(1);
	}
	printf(SAY "%s %.6g\n", name, (double)(micro_now() - begin) / 1e6);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "exit"))
		return 0;
	if (!strcmp(what, "run"))
		for (int i = 2; i < argc; i++)
			run(argv[i]);
	else if (!strcmp(what, "time") && argc > 3)
		time_program(argv[2], argv + 3);
	else if (!strcmp(what, "clock") && argc > 2)
		printf(SAY "%s %llu\n", argv[2], (unsigned long long)micro_now());
	else if (!strcmp(what, "write") && argc > 3)
		load_write(strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
	else if (!strcmp(what, "beat") && argc > 2)
		load_beat(strtoull(argv[2], NULL, 0));
	else
		return 2;
	return 0;
}
