/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/engine/pv/domain.h"

/* What domains cost, in microseconds, each the best of a few runs. */

#define RAM  (256ull << 20)
#define CODE 0x400000ull
#define DATA 0x10000000ull
#define RUNS 5

/* 1: MOV EAX, 39; SYSCALL; JMP 1b */
static const uint8_t calls[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7};
/* 1: MOV [RDI], AL; ADD RDI, 4096; JMP 1b */
static const uint8_t touch[] = {0x88, 0x07, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0xeb, 0xf5};
/* 1: MOV [RDI], AL */
static const uint8_t trap[] = {0x88, 0x07};

static struct pv_host *host;
static uint8_t *ram;

static void must(int r, const struct error *err)
{
	if (r < 0) {
		fprintf(stderr, "%s\n", err->text);
		exit(1);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void map(struct pv_domain *domain, uint64_t va, uint64_t offset, uint64_t pages,
		int prot, bool populate)
{
	struct pv_map m = {.op = PV_MAP,
			   .prot = prot,
			   .populate = populate,
			   .va = va,
			   .offset = offset,
			   .pages = pages};
	struct error err = {0};

	must(pv_domain_map(domain, &m, 1, NULL, &err), &err);
}

static void start(struct pv_context *context, const uint8_t *code, size_t len)
{
	struct segue_pv_regs regs = {.rip = CODE, .rdi = DATA, .rflags = 2};
	struct error err = {0};

	memcpy(ram, code, len);
	must(pv_context_set(context, &regs, NULL, 0, &err), &err);
}

static struct pv_domain *make(struct pv_context **ret_context)
{
	struct pv_domain *domain;
	struct error err = {0};

	must(pv_domain_create(host, &domain, &err), &err);
	map(domain, CODE, 0, 1, PROT_READ | PROT_EXEC, false);
	must(pv_context_create(domain, ret_context, &err), &err);
	return domain;
}

/* ---- the measurements: microseconds each ---- */

static double bench_call(struct pv_domain *domain, struct pv_context *context)
{
	const int n = 20000;
	struct pv_stop stop;
	double t;

	(void)domain;
	start(context, calls, sizeof(calls));
	t = now();
	for (int i = 0; i < n; i++) {
		pv_context_run(context, &stop);
		pv_context_return(context, i);
	}
	return (now() - t) / n;
}

static double bench_trap(struct pv_domain *domain, struct pv_context *context)
{
	const int n = 10000;
	struct pv_stop stop;
	double t;

	(void)domain;
	start(context, trap, sizeof(trap));
	t = now();
	for (int i = 0; i < n; i++)
		pv_context_run(context, &stop);
	return (now() - t) / n;
}

static double fault(struct pv_domain *domain, struct pv_context *context, uint64_t around)
{
	const uint64_t n = 8192;
	struct pv_stop stop;
	double t;

	start(context, touch, sizeof(touch));
	t = now();
	for (uint64_t i = 0; i < n; i += around) {
		pv_context_run(context, &stop);
		if (stop.kind != PV_STOP_TRAP)
			exit(1);
		/* Every other page, so that they do not become one mapping. */
		map(domain, DATA + i * 4096, (256 + i * 2) * 4096, around,
		    PROT_READ | PROT_WRITE, true);
	}
	t = (now() - t) / (double)n;
	pv_domain_unmap(domain, DATA, DATA + n * 4096, NULL);
	return t;
}

static double bench_fault(struct pv_domain *domain, struct pv_context *context)
{
	return fault(domain, context, 1);
}

static double bench_fault_around(struct pv_domain *domain, struct pv_context *context)
{
	return fault(domain, context, 16);
}

static double bench_get(struct pv_domain *domain, struct pv_context *context)
{
	const int n = 5000;
	struct segue_pv_regs regs;
	struct pv_stop stop;
	double t;

	(void)domain;
	start(context, calls, sizeof(calls));
	t = now();
	for (int i = 0; i < n; i++) {
		pv_context_run(context, &stop);
		pv_context_get(context, &regs, NULL, NULL, NULL);
	}
	return (now() - t) / n;
}

static double bench_set(struct pv_domain *domain, struct pv_context *context)
{
	const int n = 5000;
	struct pv_stop stop;
	double t;

	(void)domain;
	t = now();
	for (int i = 0; i < n; i++) {
		start(context, calls, sizeof(calls));
		pv_context_run(context, &stop);
	}
	return (now() - t) / n;
}

static double bench_order(struct pv_domain *domain, struct pv_context *context)
{
	const int n = 10000;
	double t = now();

	(void)context;
	for (int i = 0; i < n; i++)
		pv_domain_unmap(domain, DATA, DATA + 4096, NULL);
	return (now() - t) / n;
}

static double bench_batch(struct pv_domain *domain, struct pv_context *context)
{
	enum { N = 2048 };
	static struct pv_map maps[N];
	double t;

	(void)context;
	for (uint64_t i = 0; i < N; i++)
		maps[i] = (struct pv_map){.op = PV_MAP,
					  .prot = PROT_READ,
					  .va = DATA + i * 4096,
					  .offset = i * 8192,
					  .pages = 1};
	t = now();
	pv_domain_map(domain, maps, N, NULL, NULL);
	t = (now() - t) / N;
	pv_domain_unmap(domain, DATA, DATA + N * 4096, NULL);
	return t;
}

static double bench_again(struct pv_domain *domain, struct pv_context *context)
{
	const int n = 200;
	struct pv_domain *other;
	struct pv_context *c;
	struct pv_stop stop;
	double t = now();

	(void)domain;
	(void)context;
	for (int i = 0; i < n; i++) {
		other = make(&c);
		start(c, calls, sizeof(calls));
		pv_context_run(c, &stop);
		pv_domain_destroy(other);
	}
	return (now() - t) / n;
}

static double bench_new(struct pv_domain *domain, struct pv_context *context)
{
	enum { N = 100 };
	struct pv_domain *others[N];
	struct pv_context *c;
	struct pv_stop stop;
	double t = now();

	(void)domain;
	(void)context;
	for (int i = 0; i < N; i++) {
		others[i] = make(&c);
		start(c, calls, sizeof(calls));
		pv_context_run(c, &stop);
	}
	t = (now() - t) / N;
	for (int i = 0; i < N; i++)
		pv_domain_destroy(others[i]);
	return t;
}

static const struct {
	const char *name;
	double (*run)(struct pv_domain *domain, struct pv_context *context);
} benches[] = {
    {"system call, there and back", bench_call},
    {"page fault, there and back", bench_trap},
    {"one order to the mapper", bench_order},
    {"a mapping, of 2048 in a batch", bench_batch},
    {"fault, one page mapped, again", bench_fault},
    {"the same by the page, 16 at a time", bench_fault_around},
    {"system call and its registers", bench_get},
    {"new registers and a system call", bench_set},
    {"a domain used before, first call", bench_again},
    {"a new domain, first call", bench_new},
};

int main(void)
{
	int fd = memfd_create("bench-pv", MFD_CLOEXEC);
	struct error err = {0};
	struct pv_context *context;
	struct pv_domain *domain;

	if (pv_host_probe(&err) < 0) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	if (fd < 0 || ftruncate(fd, RAM) < 0)
		return 1;
	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memset(ram, 1, RAM); /* not its first touch is measured */
	must(pv_host_create(fd, RAM, &host, &err), &err);
	domain = make(&context);
	for (size_t i = 0; i < sizeof(benches) / sizeof(benches[0]); i++) {
		double best = 1e9, t;

		for (int run = 0; run < RUNS; run++) {
			t = benches[i].run(domain, context);
			best = t < best ? t : best;
		}
		printf("%-36s %8.2f us\n", benches[i].name, best);
	}
	pv_domain_destroy(domain);
	pv_host_destroy(host);
	return 0;
}
