/* SPDX-License-Identifier: Apache-2.0 */
#include "escape.h"

extern const char u_read[], u_sse[];

#define SYS_DONE 1
#define STEP     (1ull << 36) /* how far apart the search's first looks are */
#define AROUND   0x2000u      /* pages looked at behind a find */

int64_t escape_reason;
uint64_t escape_patience = 1000 * MS;
static struct program witness;

/* ---- arguments ---- */

/* These would do harm with arguments that make sense: they get some that never do. */
static bool dangerous(uint64_t number)
{
	static const uint16_t numbers[] = {
	    62,  129, 200, 234, 297, /* kill and its kin */
	    159, 164, 227, 305,      /* clocks */
	    166, 169, 170, 171, 246, /* umount2, reboot, names, kexec_load */
	    161, 155, 165, 320, 424, /* chroot, pivot_root, mount, kexec, pidfd */
	};

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (numbers[i] == number)
			return true;
	return false;
}

void escape_strings(char *text)
{
	memset(text, 0, 256);
	memcpy(text, ESCAPE_PATH, sizeof(ESCAPE_PATH));
	memcpy(text + 128, ESCAPE_TEXT, sizeof(ESCAPE_TEXT));
}

void escape_arguments(uint64_t number, unsigned way, uint64_t text, uint64_t *args)
{
	const uint64_t ways[ESCAPE_WAYS][6] = {
	    {text, 0x42, 0644, 0, 0, 0}, /* open(path, O_CREAT | O_RDWR, mode) */
	    {number % 8, text + 128, sizeof(ESCAPE_TEXT) - 1, 0, 0, 0}, /* write */
	    {0, 1u << 20, 7, 0x22, ~0ull, 0}, /* mmap(anywhere, all rights, anonymous) */
	};

	for (unsigned i = 0; i < 6; i++)
		args[i] = dangerous(number) ? ~0ull : ways[way][i];
	if (number == 257 && way == 0) /* openat */
		memcpy(args, (const uint64_t[]){(uint64_t)-100, text, 0x42, 0644}, 32);
}

/* ---- running ---- */

static bool again(struct program *p)
{
	context_end(p->id);
	p->id = context_new(p->root);
	return p->id != ~0ull;
}

bool escape_run(struct program *p)
{
	user->action = SEGUE_PV_LOAD;
	user->has_xsave = 0;
	set_timer(clock_ns() + escape_patience);
	escape_reason = enter(p->id);
	set_timer(~0ull);
	pending_clear(TIMER);
	if (escape_reason == SEGUE_PV_TRAP && user->trap.vector == SEGUE_PV_VECTOR_LOST)
		return again(p);
	return is_error(escape_reason) || escape_reason == SEGUE_PV_SYSCALL ||
	       escape_reason == SEGUE_PV_TRAP || escape_reason == SEGUE_PV_EVENT;
}

void escape_witness_new(void)
{
	EXPECT(program_new(&witness, u_sse));
	user->regs.rdi = 0x123456;
	EXPECT_EQ(enter(witness.id), SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->number, SYS_DONE);
}

void escape_witness_check(void)
{
	set_timer(~0ull);
	pending_clear(TIMER);
	EXPECT_EQ(enter_return(witness.id, 0), SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->number, SYS_DONE);
	EXPECT_EQ(user->arguments[0], 0x123456);
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
}

/* ---- looking around ---- */

static bool readable(struct program *p, uint64_t va)
{
	user_load(u_read);
	user->regs.rdi = va;
	if (!escape_run(p)) {
		fail_values("looking at an address ended in", (uint64_t)escape_reason, va);
		return false;
	}
	return escape_reason == SEGUE_PV_SYSCALL;
}

static void look_around(struct found *found, struct program *p, uint64_t va)
{
	for (unsigned i = 0; i < AROUND && found->n < FOUND_MAX && !failed(); i++)
		if (readable(p, va + i * PAGE))
			found->pages[found->n++] = va + i * PAGE;
}

const struct found *escape_find(void)
{
	static struct found found;
	struct program p;

	found.n = 0;
	if (!program_new(&p, u_read)) {
		fail("no context");
		return NULL;
	}
	for (uint64_t va = SEGUE_PV_VA_END; va < 1ull << 47 && !failed(); va += STEP)
		if (readable(&p, va))
			look_around(&found, &p, va);
	/* The ends of a host's address space, where stacks and such usually are. */
	if (!failed())
		look_around(&found, &p, (1ull << 47) - AROUND * PAGE);
	return failed() ? NULL : &found;
}
