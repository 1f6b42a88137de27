/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio.h"

#include <linux/virtio_ids.h>

/*
 * A load that checks itself, for moves; the same signs of life as tests/guest/stress.c's.
 *
 *   users=N user_mib=N    programs that write and check that much each; the third of every
 *                         three is a thread of the second, with memory of its own
 *   dirty_mib=N           kernel memory written and checked, alternately through the direct
 *                         map and through the kernel root
 *   verify=N              look at the kernel's before every Nth pass; 0: never
 *   beat_us=N             heartbeats; with each, the next program has its turn
 *   idle=1                blocks between heartbeats instead of working
 *   flush=1               has the machine forget what it derived, here and there, all the time
 *   churn=1               makes and ends contexts and roots all the time
 *   io=1                  has the entropy device write, and checks that nothing else does
 *   fill_mib=N            that much memory full of random words, never touched again
 *
 * "probe: ready", then heartbeats, the letters a to z in turn, a V whenever the kernel's memory
 * was found intact. FAIL tells what was not.
 */
#define USERS    64u
#define SYS_DONE 1
#define KVA      0x4000000000ull
#define BATCH    64u
#define CHURN    8u
#define UVA      0x200000000ull
#define IO_PAGES 64u

extern const char u_work[], u_sse[];

struct worker {
	struct program p;
	uint32_t action; /* what ENTER_USER is to do first */
	uint64_t pass;
};

static struct {
	struct worker workers[USERS];
	uint64_t users, turn;
	uint64_t base, pages, verify, pass, next, checked;
	struct program churn[CHURN];
	uint64_t churned;
	struct virtio entropy;
	bool io, idle;
	uint64_t io_base, io_next, io_sums[IO_PAGES];
} w;

/* ---- the kernel's memory ---- */

static uint64_t stamp(uint64_t pass, uint64_t index)
{
	return pass << 32 | index << 12;
}

/* No two pages that follow each other in RAM do so here. */
static uint64_t scattered(uint64_t index)
{
	return index * 4099 % w.pages * PAGE;
}

/* Where page INDEX is to be had: by odd numbers of WAY as RAM, by even ones as mapped. */
static volatile uint64_t *place(uint64_t index, uint64_t way)
{
	uint64_t va =
	    way & 1 ? SEGUE_PV_DIRECT + w.base + index * PAGE : KVA + scattered(index);

	return (volatile uint64_t *)(va + index % 512 * 8);
}

static void kernel_begin(void)
{
	w.pass++;
	w.next = 0;
	w.checked = w.pass > 1 && w.verify && w.pass % w.verify == 0 ? 0 : w.pages;
}

static void kernel_work(void)
{
	for (unsigned i = 0; i < BATCH && w.checked < w.pages; i++, w.checked++) {
		uint64_t want = stamp(w.pass - 1, w.checked);
		volatile uint64_t *p = place(w.checked, w.pass);

		if (*p != want)
			heart_fail("page", (uint64_t)p, *p, want);
		if (w.checked + 1 == w.pages)
			heart_word('V');
	}
	if (w.checked < w.pages)
		return;
	for (unsigned i = 0; i < BATCH && w.next < w.pages; i++, w.next++)
		*place(w.next, w.pass) = stamp(w.pass, w.next);
	if (w.next == w.pages)
		kernel_begin();
}

static void kernel_start(void)
{
	uint64_t root = root_new();

	w.pages = cmdline_number("dirty_mib", 4) << 8;
	w.verify = cmdline_number("verify", 1);
	w.base = pages_new(w.pages);
	for (uint64_t i = 0; i < w.pages; i++)
		map(root, KVA + scattered(i), w.base + i * PAGE, K_RW);
	hv(SEGUE_PV_SET_KERNEL_ROOT, root, 0, 0);
	kernel_begin();
}

/* ---- programs ---- */

static void worker_start(unsigned i)
{
	struct worker *worker = &w.workers[i];
	uint64_t pages = cmdline_number("user_mib", 1) << 8;

	if (i % 3 == 2) {
		worker->p = w.workers[i - 1].p;
		worker->p.id = context_new(worker->p.root);
	} else if (!program_new(&worker->p, u_work)) {
		worker->p.id = ~0ull;
	}
	if (worker->p.id == ~0ull)
		heart_fail("no context", i, 0, 0);
	map_range(worker->p.root, UVA + ((uint64_t)i << 28), pages_new(pages), pages, U_RW);
	worker->action = SEGUE_PV_LOAD;
}

static void worker_load(unsigned i)
{
	user_load(u_work);
	user->regs.rdi = UVA + ((uint64_t)i << 28);
	user->regs.rsi = cmdline_number("user_mib", 1) << 8;
	user->regs.r15 = i;
}

static void worker_call(struct worker *worker)
{
	if (user->number != SYS_DONE)
		heart_fail("user page", user->arguments[0], user->arguments[1],
			   user->arguments[2]);
	if (user->arguments[0] != ++worker->pass)
		heart_fail("user pass", worker->p.id, user->arguments[0], worker->pass);
	worker->action = SEGUE_PV_RETURN;
}

/* Until an event. What was to be done first may not have been by then: next time. */
static void worker_run(unsigned i)
{
	struct worker *worker = &w.workers[i];

	for (;;) {
		int64_t reason;

		if (worker->action == SEGUE_PV_LOAD)
			worker_load(i);
		user->action = worker->action;
		user->value = worker->pass;
		reason = enter(worker->p.id);
		worker->action = user->action;
		if (reason == SEGUE_PV_EVENT)
			return;
		if (reason != SEGUE_PV_SYSCALL)
			heart_fail("user trap", user->trap.address, (uint64_t)reason,
				   user->trap.vector);
		worker_call(worker);
	}
}

/* The device's line may come up at any time, after a move for instance: as drivers do. */
static void clear_lines(void)
{
	heart_clear();
	if (w.io && vcpu->pending & 1ull << w.entropy.line)
		virtio_acknowledge(&w.entropy);
}

/* ---- roots and contexts that come and go ---- */

/* Goes on until the system call after this, whatever comes in between. */
static void churn_enter(struct program *p, uint64_t seed)
{
	int64_t reason;

	while ((reason = enter(p->id)) == SEGUE_PV_EVENT)
		clear_lines();
	if (reason != SEGUE_PV_SYSCALL || user->number != SYS_DONE ||
	    user->arguments[0] != seed)
		heart_fail("context", p->id, user->arguments[0], seed);
}

/* The oldest of eight, which has stood in a system call all the while, makes room. */
static void churn_step(void)
{
	struct program *p = &w.churn[w.churned % CHURN];
	uint64_t seed = w.churned * 7;

	if (w.churned >= CHURN) {
		user->action = SEGUE_PV_RETURN;
		churn_enter(p, seed - CHURN * 7);
		if (w.churned & 1)
			hv(SEGUE_PV_DROP_ROOT, p->root, 0, 0);
		context_end(p->id);
	} else {
		p->root = user_root(&p->data);
	}
	p->id = context_new(p->root);
	if (p->id == ~0ull)
		heart_fail("no context", w.churned, 0, 0);
	user_load(u_sse);
	user->regs.rdi = seed;
	churn_enter(p, seed);
	w.churned++;
}

/* ---- forgetting ---- */

/* Written a moment ago, perhaps, and mapped no more: a dirty log must know it all the same. */
static void flush_step(void)
{
	static uint64_t seed = 3;
	uint64_t x = random_next(&seed), pages = 1ull << (x >> 8 & 7);

	if (w.pages)
		flush(NO_ROOT, KVA + (x >> 16) % w.pages * PAGE, pages);
	if (w.users) {
		uint64_t i = (x >> 40) % w.users;

		flush(w.workers[i].p.root, UVA + (i << 28) + (x >> 50 & 255) * PAGE, pages);
		if (x % 64 == 0)
			hv(SEGUE_PV_FLUSH, w.workers[i].p.root, 0, SEGUE_PV_VA_END);
	}
	if (x % 128 == 1)
		hv(SEGUE_PV_FLUSH, NO_ROOT, 0, SEGUE_PV_VA_END);
}

/* ---- a device that writes ---- */

static uint64_t sum(uint64_t gpa)
{
	const uint64_t *words = at(gpa);
	uint64_t s = 0;

	for (unsigned i = 0; i < PAGE / 8; i++)
		s = s * 31 + words[i];
	return s;
}

/* What the device wrote last time into the page must still be there; the kernel only reads. */
static void io_step(void)
{
	uint64_t slot = w.io_next++ % IO_PAGES, gpa = w.io_base + slot * PAGE;

	if (w.io_next > IO_PAGES && sum(gpa) != w.io_sums[slot])
		heart_fail("entropy", gpa, sum(gpa), w.io_sums[slot]);
	if (virtio_request(&w.entropy, gpa, PAGE, true) != PAGE)
		heart_fail("entropy device", gpa, 0, PAGE);
	w.io_sums[slot] = sum(gpa);
}

static void io_start(void)
{
	if (!virtio_find(VIRTIO_ID_RNG, &w.entropy) || !virtio_start(&w.entropy, 0))
		heart_fail("no entropy device", 0, 0, 0);
	w.io_base = pages_new(IO_PAGES);
	w.io = true;
}

/* ---- all of it ---- */

static void fill(uint64_t mib)
{
	uint64_t seed = 1, *p = at(pages_new(mib << 8));

	for (uint64_t i = 0; i < mib << 17; i++)
		p[i] = random_next(&seed);
}

static void tick(struct segue_pv_frame *frame)
{
	(void)frame;
	clear_lines();
}

/* Kernel mode with events on: its registers are looked at while time goes by. */
static void kernel_steady(void)
{
	static volatile uint64_t stop, rounds;
	uint64_t bad;

	events_unmask();
	rounds = 100;
	bad = steady(&stop, &rounds);
	if (bad)
		heart_fail("kernel register", bad, 0, 0);
	events_mask();
}

static void take_turn(void)
{
	if (w.idle)
		hv(SEGUE_PV_BLOCK, 0, 0, 0);
	else if (w.users)
		worker_run((unsigned)(w.turn++ % w.users));
	clear_lines();
	kernel_steady();
	for (unsigned i = 0; i < 8 && w.pages && !w.idle; i++)
		kernel_work();
	if (cmdline_number("churn", 0))
		churn_step();
	for (unsigned i = 0; i < 4 && cmdline_number("flush", 0); i++)
		flush_step();
	if (w.io)
		io_step();
	if (failed())
		heart_fail("frame", 0, 0, 0);
}

void work(void)
{
	w.users = cmdline_number("users", 3) % (USERS + 1);
	w.idle = cmdline_number("idle", 0);
	fill(cmdline_number("fill_mib", 0));
	kernel_start();
	event_hook = tick;
	if (cmdline_number("io", 0))
		io_start();
	for (unsigned i = 0; i < w.users; i++)
		worker_start(i);
	print("probe: ready\n");
	heart_start(cmdline_number("beat_us", 1000) * 1000);
	for (;;) {
		take_turn();
		if (heart_due())
			heart_beat();
		else
			heart_wait();
	}
}
