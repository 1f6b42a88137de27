/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "pv_rig.h"

/* Registers and floating-point state of contexts; which pages were written. */

/* ---- registers ---- */

static struct segue_pv_regs some_registers(void)
{
	struct segue_pv_regs regs = {
	    .rax = 0x0101010101010101,
	    .rbx = 2,
	    .rcx = ~3ull,
	    .rdx = 4,
	    .rsi = 5,
	    .rdi = 6,
	    .rbp = 0xfedcba9876543210,
	    .rsp = RIG_DATA + RIG_PAGES * 4096 - 64,
	    .r8 = 8,
	    .r9 = 9,
	    .r10 = ~10ull,
	    .r11 = 11,
	    .r12 = 12,
	    .r13 = 13,
	    .r14 = ~0ull,
	    .r15 = RIG_DATA,
	    .rip = rig_at(code_registers),
	    .rflags = 0x8d7,
	    .fs_base = 0x7f0000001000,
	    .gs_base = 0x123456789000,
	};

	return regs;
}

/* What code_registers stored, against what it was to have. */
static void check_stored(const uint64_t *words, const struct segue_pv_regs *regs)
{
	const uint64_t wanted[] = {
	    regs->rax, regs->rbx, regs->rcx, regs->rdx,     regs->rsi,     regs->rdi,
	    regs->rbp, regs->rsp, regs->r8,  regs->r9,      regs->r10,     regs->r11,
	    regs->r12, regs->r13, regs->r14, regs->fs_base, regs->gs_base,
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		CU_ASSERT_EQUAL(words[i], wanted[i]);
	/* IF is always on, bit 1 always set. */
	CU_ASSERT_EQUAL(words[17] & ~0x202ull, regs->rflags & ~0x202ull);
}

static void test_registers(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct segue_pv_regs regs = some_registers(), got;
	struct pv_stop stop;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_ud, 0);
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, NULL), 0);
	CU_ASSERT_EQUAL(pv_context_get(context, &got, NULL, NULL, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(&got, &regs, sizeof(got)), 0);
	for (int round = 0; round < 3; round++) {
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, 0x01010101);
		check_stored((uint64_t *)(rig.ram + RIG_DATA_OFFSET), &regs);
		CU_ASSERT_EQUAL(pv_context_get(context, &got, NULL, NULL, NULL), 0);
		CU_ASSERT_EQUAL(got.rip, stop.rip);
		CU_ASSERT_EQUAL(got.rax, 0x01010101); /* the number */
		CU_ASSERT_EQUAL(got.r14, regs.r14);
		CU_ASSERT_EQUAL(got.fs_base, regs.fs_base);
		CU_ASSERT_EQUAL(got.gs_base, regs.gs_base);
		/* Others, out of the system call; the next round sees them. */
		regs.fs_base += 4096;
		regs.gs_base -= 4096;
		regs.rbx++;
		regs.r14 ^= 0x5555;
		CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, NULL), 0);
	}
	/* Bases survive a run that nobody set any in. */
	stop = rig_run(context);
	pv_context_return(context, (int64_t)regs.rax);
	stop = rig_run(context);
	CU_ASSERT_EQUAL(((uint64_t *)(rig.ram + RIG_DATA_OFFSET))[15], regs.fs_base);
	regs.fs_base = 0x800000000000;
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, NULL), -EINVAL);
	regs.fs_base = 0;
	regs.gs_base = ~0ull;
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, NULL), -EINVAL);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* Places where no program can be give a fault there, not the end of anything. */
static void test_bad_places(void)
{
	static const uint64_t places[] = {0, 0xffff800000000000, 0x8000000000000000, ~0ull};
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct segue_pv_regs regs = some_registers(), got;
	struct pv_stop stop;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_ud, 0);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		regs.rip = places[i];
		regs.rsp = places[i];
		CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, NULL), 0);
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
		CU_ASSERT_EQUAL(stop.rip, places[i]);
		CU_ASSERT_EQUAL(pv_context_get(context, &got, NULL, NULL, NULL), 0);
		CU_ASSERT_EQUAL(got.rsp, places[i]);
		CU_ASSERT_EQUAL(got.rbp, regs.rbp);
	}
	rig_check(&rig, context);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* ---- floating point ---- */

static void fill(uint8_t *to, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(seed + i * 17);
}

/* XMM0 and XMM15 out of an image, changed in it, and back; PIECE stops in between. */
static void check_xmm(const uint8_t *piece, enum pv_stop_kind kind)
{
	static uint8_t image[16384] __attribute__((aligned(64)));
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct segue_pv_regs regs;
	struct pv_stop stop;
	size_t len = sizeof(image);
	uint8_t *data;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	data = rig.ram + RIG_DATA_OFFSET;
	fill(data, 32, 3);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, piece, RIG_DATA);
	stop = rig_run(context);
	CU_ASSERT_EQUAL(stop.kind, kind);
	CU_ASSERT_EQUAL(pv_context_get(context, &regs, image, &len, &rig.err), 0);
	CU_ASSERT_EQUAL(len, pv_host_xsave_size(rig.host));
	CU_ASSERT_EQUAL(memcmp(image + 160, data, 16), 0);
	CU_ASSERT_EQUAL(memcmp(image + 160 + 15 * 16, data + 16, 16), 0);
	fill(image + 160, 16, 100);
	fill(image + 160 + 15 * 16, 16, 200);
	if (kind == PV_STOP_TRAP)
		regs.rip += 2;
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, image, len, &rig.err), 0);
	CU_ASSERT_EQUAL(rig_run(context).number, 78);
	CU_ASSERT_EQUAL(memcmp(data + 32, image + 160, 16), 0);
	CU_ASSERT_EQUAL(memcmp(data + 48, image + 160 + 15 * 16, 16), 0);
	/* Without an image it stays. */
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, &rig.err), 0);
	memset(data + 32, 0, 32);
	CU_ASSERT_EQUAL(rig_run(context).number, 78);
	CU_ASSERT_EQUAL(memcmp(data + 32, image + 160, 16), 0);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

static void test_xmm(void)
{
	check_xmm(code_xmm, PV_STOP_SYSCALL);
	check_xmm(code_xmm_trap, PV_STOP_TRAP);
}

/* Images that a processor would refuse are refused before. */
static void test_bad_images(void)
{
	static uint8_t image[16384] __attribute__((aligned(64))), bad[16384];
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct segue_pv_regs regs;
	size_t len = sizeof(image);

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	rig_run(context);
	CU_ASSERT_EQUAL(pv_context_get(context, &regs, image, &len, NULL), 0);
	for (size_t at = 512; at < 576; at++) {
		memcpy(bad, image, len);
		bad[at] |= at < 520 ? 0 : 1;
		if (at == 519)
			bad[at] |= 0x40;
		CU_ASSERT_EQUAL(pv_context_set(context, &regs, bad, len, NULL),
				at < 519 ? 0 : -EINVAL);
	}
	memcpy(bad, image, len);
	bad[27] = 0x80; /* MXCSR */
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, bad, len, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, image, len - 1, NULL), -EINVAL);
	len--;
	CU_ASSERT_EQUAL(pv_context_get(context, &regs, bad, &len, NULL), -EINVAL);
	rig_check(&rig, context);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* A context that is used a second time has nothing of the first. */
static void test_initial(void)
{
	static uint8_t image[16384] __attribute__((aligned(64)));
	static const uint8_t zero[256];
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct segue_pv_regs regs;
	size_t len = sizeof(image);

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	fill(rig.ram + RIG_DATA_OFFSET, 32, 3);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_xmm, RIG_DATA);
	rig_run(context);
	pv_context_destroy(context);
	context = rig_context(&rig, domain, code_calls, 0);
	CU_ASSERT_EQUAL(rig_run(context).number, 1);
	CU_ASSERT_EQUAL(pv_context_get(context, &regs, image, &len, NULL), 0);
	CU_ASSERT_EQUAL(memcmp(image + 160, zero, 256), 0);
	CU_ASSERT_EQUAL(image[0] | image[1] << 8, 0x37f);
	CU_ASSERT_EQUAL(regs.fs_base, 0);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* ---- tracking ---- */

#define PAGES 512u
static uint8_t seen[PAGES];

static void on_written(void *data, uint64_t va, uint64_t pages)
{
	uint64_t *count = data;

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t page = (va - RIG_FREE) / 4096 + i;

		CU_ASSERT(page < PAGES && !seen[page]);
		if (page < PAGES)
			seen[page] = 1;
	}
	*count += pages;
}

static uint64_t scan(struct rig *rig, struct pv_domain *domain)
{
	uint64_t count = 0;

	memset(seen, 0, sizeof(seen));
	CU_ASSERT_EQUAL(pv_domain_scan(domain, RIG_FREE, RIG_FREE + PAGES * 4096ull, on_written,
				       &count, &rig->err),
			0);
	return count;
}

static void touch(struct rig *rig, struct pv_context *context, uint64_t page, uint64_t pages)
{
	struct segue_pv_regs regs = rig_regs(code_touch_some, RIG_FREE + page * 4096);

	regs.rsi = pages;
	CU_ASSERT_EQUAL(pv_context_set(context, &regs, NULL, 0, &rig->err), 0);
	CU_ASSERT_EQUAL(rig_run(context).kind, PV_STOP_SYSCALL);
}

static void look(struct rig *rig, struct pv_context *context, uint64_t page)
{
	rig_start(rig, context, code_read, RIG_FREE + page * 4096);
	CU_ASSERT_EQUAL(rig_run(context).kind, PV_STOP_SYSCALL);
}

static void check_tracking(struct rig *rig, bool populated)
{
	struct pv_domain *domain = rig_domain(rig);
	struct pv_context *context = rig_context(rig, domain, code_calls, 0);
	struct pv_map map = {.op = PV_MAP,
			     .prot = PROT_READ | PROT_WRITE,
			     .populate = populated,
			     .va = RIG_FREE,
			     .offset = RIG_FREE_OFFSET,
			     .pages = PAGES};

	CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, &rig->err), 0);
	touch(rig, context, 0, 100); /* before: does not count */
	CU_ASSERT_EQUAL_FATAL(pv_domain_track(domain, true, &rig->err), 0);
	CU_ASSERT_EQUAL(scan(rig, domain), 0);
	touch(rig, context, 50, 100); /* touched before, and not */
	look(rig, context, 300);
	CU_ASSERT_EQUAL(scan(rig, domain), 100);
	for (unsigned i = 0; i < PAGES; i++)
		CU_ASSERT_EQUAL(seen[i], i >= 50 && i < 150);
	CU_ASSERT_EQUAL(scan(rig, domain), 0);
	touch(rig, context, 149, 2);
	touch(rig, context, 301, 1);
	touch(rig, context, 301, 1);
	CU_ASSERT_EQUAL(scan(rig, domain), 3);
	CU_ASSERT(seen[149] && seen[150] && seen[301]);
	/* A new mapping, over an old one, and rights that come later. */
	map.offset += PAGES * 4096;
	map.va += 200 * 4096;
	map.pages = 100;
	map.prot = PROT_READ;
	CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, &rig->err), 0);
	look(rig, context, 210);
	CU_ASSERT_EQUAL(scan(rig, domain), 0);
	map.op = PV_PROTECT;
	map.prot = PROT_READ | PROT_WRITE;
	CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, &rig->err), 0);
	touch(rig, context, 199, 3);
	touch(rig, context, 210, 1);
	CU_ASSERT_EQUAL(scan(rig, domain), 4);
	CU_ASSERT(seen[199] && seen[200] && seen[201] && seen[210]);
	/* Off and on. */
	CU_ASSERT_EQUAL(pv_domain_track(domain, false, &rig->err), 0);
	touch(rig, context, 0, PAGES);
	CU_ASSERT_EQUAL(pv_domain_track(domain, true, &rig->err), 0);
	CU_ASSERT_EQUAL(scan(rig, domain), 0);
	touch(rig, context, 511, 1);
	CU_ASSERT_EQUAL(scan(rig, domain), 1);
	pv_domain_destroy(domain);
}

static void test_tracking(void)
{
	struct rig rig;
	struct pv_domain *domain;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	if (!pv_host_tracking_available(rig.host)) {
		printf("(not on this kernel) ");
		rig_end(&rig);
		return;
	}
	check_tracking(&rig, false);
	check_tracking(&rig, true);
	/* With nothing mapped at all, and on from the start. */
	CU_ASSERT_EQUAL_FATAL(pv_domain_create(rig.host, &domain, &rig.err), 0);
	CU_ASSERT_EQUAL(pv_domain_track(domain, true, &rig.err), 0);
	CU_ASSERT_EQUAL(scan(&rig, domain), 0);
	CU_ASSERT_EQUAL(pv_domain_track(domain, false, &rig.err), 0);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* Random mappings and writes: what a scan says is what was written. */
static void test_tracking_random(void)
{
	unsigned seed = (unsigned)getpid();
	static uint8_t wanted[PAGES];
	struct pv_context *context;
	struct pv_domain *domain;
	struct rig rig;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	if (!pv_host_tracking_available(rig.host)) {
		rig_end(&rig);
		return;
	}
	printf("(seed %u) ", seed);
	srandom(seed);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	for (uint64_t i = 0; i < PAGES; i++) /* no two neighbours belong together */
		rig_map(&rig, domain, RIG_FREE + i * 4096,
			RIG_FREE_OFFSET + (i * 37 % PAGES) * 4096, 1, PROT_READ | PROT_WRITE);
	CU_ASSERT_EQUAL(pv_domain_track(domain, true, &rig.err), 0);
	for (int round = 0; round < 30; round++) {
		memset(wanted, 0, sizeof(wanted));
		for (int i = 0; i < 20; i++) {
			uint64_t page = (uint64_t)random() % PAGES;

			if (random() % 4 == 0 && !wanted[page])
				rig_map(&rig, domain, RIG_FREE + page * 4096,
					RIG_FREE_OFFSET + ((uint64_t)random() % PAGES) * 4096,
					1, PROT_READ | PROT_WRITE);
			if (random() % 3 == 0) {
				look(&rig, context, page);
			} else {
				touch(&rig, context, page, 1);
				wanted[page] = 1;
			}
		}
		scan(&rig, domain);
		CU_ASSERT_EQUAL(memcmp(seen, wanted, PAGES), 0);
	}
	pv_domain_destroy(domain);
	rig_end(&rig);
}

static CU_pSuite add(void)
{
	CU_pSuite suite = CU_add_suite("pv-domain-state", NULL, NULL);

	if (!suite || !CU_add_test(suite, "registers", test_registers) ||
	    !CU_add_test(suite, "bad places", test_bad_places) ||
	    !CU_add_test(suite, "xmm", test_xmm) ||
	    !CU_add_test(suite, "bad images", test_bad_images) ||
	    !CU_add_test(suite, "initial state", test_initial) ||
	    !CU_add_test(suite, "tracking", test_tracking) ||
	    !CU_add_test(suite, "tracking, random", test_tracking_random))
		return NULL;
	return suite;
}

int main(void)
{
	return rig_main(add);
}
