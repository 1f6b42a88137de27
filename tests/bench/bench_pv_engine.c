/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "tests/unit/pv_guest.h"

/*
 * What a paravirtual guest's steps cost through the whole engine: a hypercall, a program's
 * system call there and back, the first touch of a page, another program's turn.
 */
#define CALLS 100000u
#define PAGES 2048u /* of RAM; mapped over and over */
#define WRITE (SEGUE_PV_PTE_P | SEGUE_PV_PTE_U | SEGUE_PV_PTE_A | SEGUE_PV_PTE_W | SEGUE_PV_PTE_D)

extern const uint8_t pv_program[], pv_program_calls[], pv_program_touches[];

static struct guest g;

static void say(const char *what, uint64_t since, unsigned n)
{
	printf("%-48s %8.2f us\n", what, (double)(pv_monotonic() - since) / n / 1000);
}

static uint64_t program(unsigned id, const uint8_t *entry)
{
	struct segue_pv_user *user = &guest_page(&g)->user;
	uint64_t root = guest_root(&g);

	guest_program(&g, root, GUEST_FREE, &user->regs);
	user->regs.rip += (uint64_t)(entry - pv_program);
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 0;
	guest_op(&g, SEGUE_PV_CONTEXT_CREATE, root, id, 0, 0);
	return root;
}

static void calls(void)
{
	uint64_t action = DIRECT(GUEST_PAGE) + offsetof(struct segue_pv_vcpu, user.action);
	uint64_t since;

	since = pv_monotonic();
	guest_op(&g, OP_REPEAT, SEGUE_PV_VERSION_GET, 0, CALLS, action);
	say("hypercall", since, CALLS);
	program(1, pv_program_calls);
	guest_op(&g, SEGUE_PV_ENTER_USER, 1, 0, 0, 0);
	since = pv_monotonic();
	guest_op(&g, OP_REPEAT, SEGUE_PV_ENTER_USER, 1, CALLS, action);
	say("system call of a program, its kernel and back", since, CALLS);
}

/* Eight to a fault at best, where what is around is mapped with it. */
static void touches(void)
{
	uint64_t root = program(2, pv_program_touches);
	uint64_t since;

	for (unsigned i = 0; i < PAGES; i++)
		guest_map(&g, root, GUEST_DATA_VA + i * SEGUE_PV_PAGE,
			  GUEST_FREE + i * SEGUE_PV_PAGE, WRITE);
	since = pv_monotonic();
	guest_op(&g, SEGUE_PV_ENTER_USER, 2, 0, 0, 0);
	say("first touch of a page that the tables have", since, PAGES);
	guest_op(&g, SEGUE_PV_FLUSH, root, 0, ~0ull, 0);
	guest_page(&g)->user.regs.rbx = GUEST_DATA_VA;
	guest_page(&g)->user.action = SEGUE_PV_LOAD;
	since = pv_monotonic();
	guest_op(&g, SEGUE_PV_ENTER_USER, 2, 0, 0, 0);
	say("the same after a flush", since, PAGES);
}

static void spaces(void)
{
	enum { N = 60 };
	uint64_t since = pv_monotonic(), roots[N];

	for (unsigned i = 0; i < N; i++) {
		roots[i] = program(100 + i, pv_program_calls);
		guest_op(&g, SEGUE_PV_ENTER_USER, 100 + i, 0, 0, 0);
	}
	say("a program's start, its first system call", since, N);
	since = pv_monotonic();
	for (unsigned i = 0; i < N; i++)
		guest_op(&g, SEGUE_PV_DROP_ROOT, roots[i], 0, 0, 0);
	say("its end", since, N);
	since = pv_monotonic();
	for (unsigned i = 0; i < N; i++) {
		uint64_t root = program(300 + i, pv_program_calls);

		guest_op(&g, SEGUE_PV_ENTER_USER, 300 + i, 0, 0, 0);
		guest_op(&g, SEGUE_PV_DROP_ROOT, root, 0, 0, 0);
	}
	say("start to end, one after the other", since, N);
}

int main(void)
{
	struct error err = {0};

	if (engine_pv.probe(NULL, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	guest_create(&g);
	guest_boot(&g);
	guest_go(&g);
	calls();
	touches();
	spaces();
	guest_destroy(&g);
	return 0;
}
