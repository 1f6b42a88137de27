/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <time.h>

#include "pv_rig.h"

/* Domains and contexts: stops, mappings, registers, kicks. */

/* ---- system calls ---- */

static void test_calls(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_stop stop;
	struct segue_pv_regs regs;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	for (uint64_t i = 1; i <= 1000; i++) {
		stop = rig_run(context);
		CU_ASSERT_EQUAL_FATAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, i % 256);
		CU_ASSERT_EQUAL(stop.arguments[1], i);
		/* Without a value: the number. */
		CU_ASSERT_EQUAL(stop.arguments[0], i == 1 ? 0 : i == 8 ? 7 : ~(i - 1));
		for (uint64_t j = 2; j < 6; j++)
			CU_ASSERT_EQUAL(stop.arguments[j], 101 + j);
		if (i != 7)
			pv_context_return(context, (int64_t)~i);
	}
	CU_ASSERT_EQUAL(pv_context_get(context, &regs, NULL, NULL, &rig.err), 0);
	CU_ASSERT_EQUAL(regs.rip, stop.rip);
	CU_ASSERT_EQUAL(regs.rax, ~1000ull);
	CU_ASSERT_EQUAL(regs.rbx, 1000);
	CU_ASSERT_EQUAL(regs.rbp, 0x1122334455667788);
	/* Looking did not change anything, and a later value counts. */
	pv_context_return(context, 5);
	stop = rig_run(context);
	CU_ASSERT_EQUAL(stop.arguments[1], 1001);
	CU_ASSERT_EQUAL(stop.arguments[0], 5);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* Values that mean something to the kernel that carries them. */
static void test_values(void)
{
	static const int64_t values[] = {-1,   -4,    -512,      -513,     -514,
					 -516, -4095, INT64_MIN, INT64_MAX};
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_stop stop;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	rig_run(context);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		pv_context_return(context, values[i]);
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, i + 2);
		CU_ASSERT_EQUAL(stop.arguments[0], (uint64_t)values[i]);
	}
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* ---- traps ---- */

static void test_traps(void)
{
	static const struct {
		const uint8_t *piece, *at;
		uint32_t vector;
		int signal; /* not 0: where emulation may lack it, what it is here */
	} cases[] = {
	    {code_divide, code_divide_at, SEGUE_PV_VECTOR_DE, 0},
	    {code_bp, code_bp_behind, SEGUE_PV_VECTOR_BP, 0},
	    {code_ud, code_ud, SEGUE_PV_VECTOR_UD, 0},
	    {code_gp, code_gp, SEGUE_PV_VECTOR_GP, 0},
	    {code_noncanonical, NULL, SEGUE_PV_VECTOR_GP, 0},
	    {code_step, code_step_behind, SEGUE_PV_VECTOR_DB, 0},
	    {code_align, NULL, SEGUE_PV_VECTOR_AC, SIGBUS},
	    {code_x87, NULL, SEGUE_PV_VECTOR_MF, SIGFPE},
	    {code_sse, NULL, SEGUE_PV_VECTOR_MF, SIGFPE},
	};
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_stop stop;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].signal &&
		    !rig_native_signal(&rig, cases[i].piece, cases[i].signal)) {
			printf("(vector %u not here) ", cases[i].vector);
			continue;
		}
		context = rig_context(&rig, domain, cases[i].piece, RIG_DATA);
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
		CU_ASSERT_EQUAL(stop.trap.vector, cases[i].vector);
		CU_ASSERT_EQUAL(stop.trap.error, 0);
		CU_ASSERT_EQUAL(stop.trap.address, 0);
		if (cases[i].at)
			CU_ASSERT_EQUAL(stop.rip, rig_at(cases[i].at));
		pv_context_destroy(context);
	}
	/* And again: the same instruction. */
	context = rig_context(&rig, domain, code_ud, 0);
	for (int i = 0; i < 3; i++) {
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
		CU_ASSERT_EQUAL(stop.rip, rig_at(code_ud));
	}
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* ---- mappings ---- */

enum access { READ, WRITE, FETCH, ACCESSES };

/* The page fault that an access to VA gives; 0: none. */
static uint32_t access_to(struct rig *rig, struct pv_context *context, enum access access,
			  uint64_t va)
{
	static const uint8_t *const pieces[ACCESSES] = {code_read, code_write, code_fetch};
	struct pv_stop stop;

	rig_start(rig, context, pieces[access], va);
	stop = rig_run(context);
	if (stop.kind == PV_STOP_SYSCALL)
		return 0;
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
	CU_ASSERT_EQUAL(stop.trap.vector, SEGUE_PV_VECTOR_PF);
	CU_ASSERT_EQUAL(stop.trap.address, va);
	CU_ASSERT_EQUAL(stop.rip, access == FETCH ? va : rig_at(pieces[access]));
	CU_ASSERT(stop.trap.error & SEGUE_PV_PF_USER);
	CU_ASSERT_EQUAL(!!(stop.trap.error & SEGUE_PV_PF_WRITE), access == WRITE);
	CU_ASSERT_EQUAL(!!(stop.trap.error & SEGUE_PV_PF_FETCH), access == FETCH);
	return stop.trap.error;
}

static void check_rights(struct rig *rig, struct pv_context *context, uint64_t va, int prot)
{
	CU_ASSERT_EQUAL(!access_to(rig, context, READ, va), prot != PROT_NONE);
	CU_ASSERT_EQUAL(!access_to(rig, context, WRITE, va), !!(prot & PROT_WRITE));
	memcpy(rig->ram + RIG_FREE_OFFSET, code_return, 2); /* what was written over */
	CU_ASSERT_EQUAL(!access_to(rig, context, FETCH, va), !!(prot & PROT_EXEC));
}

static void test_rights(void)
{
	static const int all[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
				  PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC};
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_map map;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	for (size_t i = 0; i < 5; i++) {
		CU_ASSERT_EQUAL(rig_map(&rig, domain, RIG_FREE, RIG_FREE_OFFSET, 1, all[i]), 0);
		check_rights(&rig, context, RIG_FREE, all[i]);
	}
	for (size_t i = 0; i < 5; i++) {
		map = (struct pv_map){
		    .op = PV_PROTECT, .prot = all[i], .va = RIG_FREE, .pages = 1};
		CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, &rig.err), 0);
		check_rights(&rig, context, RIG_FREE, all[i]);
	}
	CU_ASSERT_EQUAL(pv_domain_unmap(domain, RIG_FREE, RIG_FREE + 4096, &rig.err), 0);
	check_rights(&rig, context, RIG_FREE, PROT_NONE);
	CU_ASSERT(!(access_to(&rig, context, READ, RIG_FREE) & SEGUE_PV_PF_PRESENT));
	/* Nothing of a process is left: its stack, libraries, vDSO are not there. */
	CU_ASSERT(access_to(&rig, context, READ, (uintptr_t)&rig) != 0);
	CU_ASSERT(access_to(&rig, context, READ, (uintptr_t)rig_main) != 0);
	CU_ASSERT(access_to(&rig, context, READ, 0x7ffffffff000 - 4096) != 0);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* What the domain sees is what is in RAM, page by page, in an order of our choice. */
static void test_batch(void)
{
	enum { N = 1000 };
	static struct pv_map maps[N];
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_stop stop;
	struct segue_pv_regs regs;
	size_t done;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	for (uint64_t i = 0; i < N; i++) {
		uint64_t offset = RIG_FREE_OFFSET + (i * 7 % N) * 4096;

		memcpy(rig.ram + offset, &i, sizeof(i));
		maps[i] = (struct pv_map){.op = PV_MAP,
					  .prot = PROT_READ,
					  .populate = i % 2,
					  .va = RIG_FREE + i * 4096,
					  .offset = offset,
					  .pages = 1};
	}
	CU_ASSERT_EQUAL(pv_domain_map(domain, maps, N, &done, &rig.err), 0);
	CU_ASSERT_EQUAL(done, N);
	for (uint64_t i = 0; i < N; i += 37) {
		rig_start(&rig, context, code_read, RIG_FREE + i * 4096);
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, i);
	}
	/* Wrong ones are refused, those before them done. */
	maps[300].offset = RIG_RAM;
	CU_ASSERT_EQUAL(pv_domain_map(domain, maps, N, &done, NULL), -EINVAL);
	CU_ASSERT_EQUAL(done, 300);
	maps[0].va = PV_VA_END;
	CU_ASSERT_EQUAL(pv_domain_map(domain, maps, 1, &done, NULL), -EINVAL);
	CU_ASSERT_EQUAL(done, 0);
	maps[0] = (struct pv_map){.op = PV_PROTECT, .va = 0x40000000, .pages = 1};
	CU_ASSERT_EQUAL(pv_domain_map(domain, maps, 1, &done, NULL), -ENOMEM);
	/* The highest page there is. */
	CU_ASSERT_EQUAL(rig_map(&rig, domain, PV_VA_END - 4096, RIG_RAM - 4096, 1, PROT_READ),
			0);
	rig_start(&rig, context, code_read, PV_VA_END - 8);
	CU_ASSERT_EQUAL(rig_run(context).kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(pv_context_get(context, &regs, NULL, NULL, NULL), 0);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* A page in two domains, and a domain that is used a second time. */
static void test_sharing(void)
{
	struct rig rig;
	struct pv_domain *one, *other;
	struct pv_context *a, *b;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	one = rig_domain(&rig);
	other = rig_domain(&rig);
	a = rig_context(&rig, one, code_calls, 0);
	CU_ASSERT_EQUAL(rig_map(&rig, one, RIG_FREE, RIG_FREE_OFFSET, 1, PROT_WRITE), 0);
	CU_ASSERT_EQUAL(rig_map(&rig, other, RIG_FREE + 8192, RIG_FREE_OFFSET, 1, PROT_READ),
			0);
	b = rig_context(&rig, other, code_calls, 0);
	struct segue_pv_regs regs = rig_regs(code_write, RIG_FREE);

	regs.rax = 123456;
	CU_ASSERT_EQUAL(pv_context_set(a, &regs, NULL, 0, NULL), 0);
	CU_ASSERT_EQUAL(rig_run(a).kind, PV_STOP_SYSCALL);
	rig_start(&rig, b, code_read, RIG_FREE + 8192);
	CU_ASSERT_EQUAL(rig_run(b).number, 123456);
	CU_ASSERT_EQUAL(access_to(&rig, b, READ, RIG_FREE) & SEGUE_PV_PF_PRESENT, 0);
	CU_ASSERT(access_to(&rig, b, WRITE, RIG_FREE + 8192) != 0);
	/* Destroyed and created: nothing is mapped, no register is left. */
	pv_domain_destroy(one);
	CU_ASSERT_EQUAL_FATAL(pv_domain_create(rig.host, &one, &rig.err), 0);
	CU_ASSERT_EQUAL_FATAL(rig_map(&rig, one, RIG_CODE, 0, 1, PROT_READ | PROT_EXEC), 0);
	a = rig_context(&rig, one, code_read, RIG_DATA);
	CU_ASSERT_EQUAL(rig_run(a).kind, PV_STOP_TRAP);
	CU_ASSERT(access_to(&rig, a, READ, RIG_FREE) != 0);
	pv_domain_destroy(one);
	pv_domain_destroy(other);
	rig_end(&rig);
}

/* ---- contexts ---- */

static void test_two_contexts(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *c[20];
	struct pv_stop stop;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	for (size_t i = 0; i < 20; i++)
		c[i] = rig_context(&rig, domain, code_calls, 0);
	for (uint64_t round = 1; round < 50; round++) {
		for (uint64_t i = 0; i < 20; i++) {
			stop = rig_run(c[i]);
			CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
			CU_ASSERT_EQUAL(stop.number, round);
			CU_ASSERT_EQUAL(stop.arguments[0], round == 1 ? 0 : round * 100 + i);
			pv_context_return(c[i], (int64_t)((round + 1) * 100 + i));
		}
	}
	/* Some go, some stay, some come. */
	for (size_t i = 0; i < 20; i += 2)
		pv_context_destroy(c[i]);
	for (size_t i = 1; i < 20; i += 2)
		CU_ASSERT_EQUAL(rig_run(c[i]).number, 50);
	for (size_t i = 0; i < 20; i += 2) {
		c[i] = rig_context(&rig, domain, code_calls, 0);
		CU_ASSERT_EQUAL(rig_run(c[i]).number, 1);
	}
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* ---- kicks ---- */

struct kicker {
	struct pv_context *context;
	long after_us;
	unsigned times;
};

static void *kick(void *data)
{
	const struct kicker *k = data;
	const struct timespec pause = {.tv_nsec = k->after_us * 1000};

	for (unsigned i = 0; i < k->times; i++) {
		nanosleep(&pause, NULL);
		pv_context_kick(k->context);
	}
	return NULL;
}

static void test_kick(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct kicker k = {.after_us = 3000, .times = 1};
	struct segue_pv_regs regs;
	struct pv_stop stop;
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	k.context = rig_context(&rig, domain, code_spin, 0);
	for (int i = 0; i < 20; i++) {
		CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kick, &k), 0);
		stop = rig_run(k.context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_KICKED);
		pthread_join(thread, NULL);
		CU_ASSERT_EQUAL(pv_context_get(k.context, &regs, NULL, NULL, NULL), 0);
		CU_ASSERT(regs.rip >= rig_at(code_spin) && regs.rip < rig_at(code_count));
	}
	CU_ASSERT(regs.rbx > 1000);
	/* Before it begins: told once. */
	rig_start(&rig, k.context, code_calls, 0);
	pv_context_kick(k.context);
	pv_context_kick(k.context);
	CU_ASSERT_EQUAL(rig_run(k.context).kind, PV_STOP_KICKED);
	stop = rig_run(k.context);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(stop.number, 1);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* Kicks at every possible instant: no system call is lost, made twice or given a wrong value.
 */
static void test_kick_storm(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct kicker k = {.after_us = 30, .times = 3000};
	uint64_t next = 1, kicked = 0;
	struct pv_stop stop;
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	k.context = rig_context(&rig, domain, code_calls, 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kick, &k), 0);
	while (next < 30000) {
		stop = rig_run(k.context);
		if (stop.kind == PV_STOP_KICKED) {
			kicked++;
			continue;
		}
		CU_ASSERT_EQUAL_FATAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL_FATAL(stop.arguments[1], next);
		CU_ASSERT_EQUAL(stop.arguments[0], next == 1 ? 0 : ~next);
		next++;
		pv_context_return(k.context, (int64_t)~next);
	}
	pthread_join(thread, NULL);
	CU_ASSERT(kicked > 10);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

static CU_pSuite add(void)
{
	CU_pSuite suite = CU_add_suite("pv-domain", NULL, NULL);

	if (!suite || !CU_add_test(suite, "system calls", test_calls) ||
	    !CU_add_test(suite, "values", test_values) ||
	    !CU_add_test(suite, "traps", test_traps) ||
	    !CU_add_test(suite, "rights", test_rights) ||
	    !CU_add_test(suite, "batches", test_batch) ||
	    !CU_add_test(suite, "sharing", test_sharing) ||
	    !CU_add_test(suite, "contexts", test_two_contexts) ||
	    !CU_add_test(suite, "kick", test_kick) ||
	    !CU_add_test(suite, "kicks at every instant", test_kick_storm))
		return NULL;
	return suite;
}

int main(void)
{
	return rig_main(add);
}
