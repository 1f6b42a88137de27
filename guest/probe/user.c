/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#define CONTEXTS 16384u

static uint64_t contexts[CONTEXTS / 64]; /* a bit an id: in use */

uint64_t user_at(const char *code)
{
	return USER_CODE + (uint64_t)(code - user_begin);
}

uint64_t user_root(uint64_t *ret_data)
{
	uint64_t root = root_new(), data = page_new();

	map_range(root, USER_CODE, gpa_of(user_begin), (uint64_t)(user_end - user_begin) / PAGE,
		  U_RX);
	map(root, USER_DATA, data, U_RW);
	map(root, USER_STACK, page_new(), U_RW);
	if (ret_data)
		*ret_data = data;
	return root;
}

static uint64_t free_id(void)
{
	for (unsigned i = 0; i < CONTEXTS / 64; i++)
		if (~contexts[i])
			return i * 64 + (unsigned)__builtin_ctzll(~contexts[i]);
	return ~0ull;
}

uint64_t context_new(uint64_t root)
{
	uint64_t id = free_id();

	if (id == ~0ull || hv(SEGUE_PV_CONTEXT_CREATE, root, id, 0) < 0)
		return ~0ull;
	contexts[id / 64] |= 1ull << id % 64;
	return id;
}

void context_end(uint64_t id)
{
	contexts[id / 64] &= ~(1ull << id % 64);
	hv(SEGUE_PV_CONTEXT_DESTROY, id, 0, 0);
}

void user_reset(void)
{
	for (unsigned id = 0; id < CONTEXTS; id++)
		if (contexts[id / 64] >> id % 64 & 1)
			context_end(id);
}

void user_load(const char *code)
{
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 0;
	user->regs = (struct segue_pv_regs){
	    .rip = user_at(code),
	    .rsp = USER_STACK + PAGE - 64,
	    .rdi = USER_DATA,
	    .rflags = 0x202,
	};
}

bool program_new(struct program *p, const char *code)
{
	p->root = user_root(&p->data);
	p->id = context_new(p->root);
	if (p->id == ~0ull)
		return false;
	user_load(code);
	return true;
}

/* Both ways do the same: now the one, now the other. */
int64_t enter(uint64_t id)
{
	static uint64_t seed = 7;

	return random_next(&seed) & 3 ? hv_gate(id) : hv(SEGUE_PV_ENTER_USER, id, 0, 0);
}

int64_t enter_return(uint64_t id, uint64_t value)
{
	user->action = SEGUE_PV_RETURN;
	user->value = value;
	return enter(id);
}
