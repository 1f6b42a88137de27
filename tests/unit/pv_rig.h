/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_PV_RIG_H
#define TESTS_UNIT_PV_RIG_H

#include <CUnit/Basic.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/engine/pv/domain.h"

/*
 * A host with some RAM and domains with the pieces of pv_code.S, a stack and some memory, for
 * tests of vmm/engine/pv/domain.h.
 */
#define RIG_RAM   (64ull << 20)
#define RIG_CODE  0x400000ull  /* va; from offset 0 */
#define RIG_DATA  0x800000ull  /* va; from offset RIG_DATA_OFFSET, RIG_PAGES, writable */
#define RIG_PAGES 16u
#define RIG_DATA_OFFSET  0x100000ull
#define RIG_FREE_OFFSET  0x200000ull /* not mapped anywhere */
#define RIG_FREE  0x10000000ull /* va; nothing there */

/* clang-format off */
extern const uint8_t pv_code_begin[], pv_code_end[];
#define PIECE(name) extern const uint8_t name[]
PIECE(code_calls); PIECE(code_touch); PIECE(code_touch_some); PIECE(code_read);
PIECE(code_write); PIECE(code_fetch); PIECE(code_return); PIECE(code_spin);
PIECE(code_count); PIECE(code_divide); PIECE(code_divide_at); PIECE(code_bp);
PIECE(code_bp_behind); PIECE(code_ud); PIECE(code_gp); PIECE(code_noncanonical);
PIECE(code_step); PIECE(code_step_behind); PIECE(code_align); PIECE(code_x87);
PIECE(code_sse); PIECE(code_xmm); PIECE(code_xmm_trap); PIECE(code_xmm_trap_at);
PIECE(code_registers); PIECE(code_int80); PIECE(code_int80_at); PIECE(code_x32);
PIECE(code_sysenter); PIECE(code_vsyscall); PIECE(code_compat);
#undef PIECE
/* clang-format on */

struct rig {
	int fd;
	uint8_t *ram;
	struct pv_host *host;
	struct error err;
};

static inline uint64_t rig_at(const uint8_t *piece)
{
	return RIG_CODE + (uint64_t)(piece - pv_code_begin);
}

static inline int rig_make(struct rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	rig->fd = memfd_create("test-pv", MFD_CLOEXEC);
	if (rig->fd < 0 || ftruncate(rig->fd, RIG_RAM) < 0)
		return -1;
	rig->ram = mmap(NULL, RIG_RAM, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fd, 0);
	if (rig->ram == MAP_FAILED)
		return -1;
	memcpy(rig->ram, pv_code_begin, (size_t)(pv_code_end - pv_code_begin));
	return pv_host_create(rig->fd, RIG_RAM, &rig->host, &rig->err);
}

static inline void rig_end(struct rig *rig)
{
	pv_host_destroy(rig->host);
	munmap(rig->ram, RIG_RAM);
	close(rig->fd);
}

static inline int rig_map(struct rig *rig, struct pv_domain *domain, uint64_t va,
			  uint64_t offset, uint64_t pages, int prot)
{
	const struct pv_map map = {
	    .op = PV_MAP, .prot = prot, .va = va, .offset = offset, .pages = pages};

	return pv_domain_map(domain, &map, 1, NULL, &rig->err);
}

static inline struct pv_domain *rig_domain(struct rig *rig)
{
	struct pv_domain *domain = NULL;

	CU_ASSERT_EQUAL_FATAL(pv_domain_create(rig->host, &domain, &rig->err), 0);
	CU_ASSERT_EQUAL_FATAL(rig_map(rig, domain, RIG_CODE, 0,
				      (uint64_t)(pv_code_end - pv_code_begin) / 4096,
				      PROT_READ | PROT_EXEC), 0);
	CU_ASSERT_EQUAL_FATAL(rig_map(rig, domain, RIG_DATA, RIG_DATA_OFFSET, RIG_PAGES,
				      PROT_READ | PROT_WRITE), 0);
	return domain;
}

static inline struct segue_pv_regs rig_regs(const uint8_t *piece, uint64_t rdi)
{
	return (struct segue_pv_regs){
	    .rip = rig_at(piece),
	    .rdi = rdi,
	    .rsp = RIG_DATA + RIG_PAGES * 4096 - 64,
	    .rflags = 2,
	};
}

static inline void rig_start(struct rig *rig, struct pv_context *context, const uint8_t *piece,
			     uint64_t rdi)
{
	const struct segue_pv_regs regs = rig_regs(piece, rdi);

	CU_ASSERT_EQUAL_FATAL(pv_context_set(context, &regs, NULL, 0, &rig->err), 0);
}

static inline struct pv_context *rig_context(struct rig *rig, struct pv_domain *domain,
					     const uint8_t *piece, uint64_t rdi)
{
	struct pv_context *context = NULL;

	CU_ASSERT_EQUAL_FATAL(pv_context_create(domain, &context, &rig->err), 0);
	rig_start(rig, context, piece, rdi);
	return context;
}

static inline struct pv_stop rig_run(struct pv_context *context)
{
	struct pv_stop stop;

	memset(&stop, 0xee, sizeof(stop));
	pv_context_run(context, &stop);
	return stop;
}

/*
 * How a process of this host ends that runs PIECE by itself: emulated processors, as those of
 * the lab, lack some exceptions, and their far return fails in ways of its own.
 */
static inline int rig_native(const struct rig *rig, const uint8_t *piece)
{
	const struct segue_pv_regs regs = rig_regs(piece, RIG_DATA);
	int status = 0;
	pid_t child = fork();

	if (!child) {
		mmap((void *)RIG_CODE, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED,
		     rig->fd, 0);
		mmap((void *)RIG_DATA, RIG_PAGES * 4096, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_FIXED, rig->fd, RIG_DATA_OFFSET);
		alarm(5);
		__asm__ volatile("mov %0, %%rsp\n\tjmp *%1"
				 :
				 : "r"(regs.rsp), "r"(regs.rip), "D"(regs.rdi)
				 : "memory");
		__builtin_unreachable();
	}
	waitpid(child, &status, 0);
	return status;
}

static inline bool rig_native_signal(const struct rig *rig, const uint8_t *piece, int signal)
{
	int status = rig_native(rig, piece);

	return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

/* The context still works: makes three system calls and gets their results. */
static inline void rig_check(struct rig *rig, struct pv_context *context)
{
	struct pv_stop stop;

	rig_start(rig, context, code_calls, 0);
	for (uint64_t i = 1; i < 4; i++) {
		stop = rig_run(context);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, i);
		CU_ASSERT_EQUAL(stop.arguments[0], i == 1 ? 0 : 1000 + i - 1);
		pv_context_return(context, (int64_t)(1000 + i));
	}
}

/* Exit code of a test program: 77, skipped, where domains cannot be had. */
static inline int rig_main(CU_pSuite (*add)(void))
{
	struct error err = {0};
	unsigned failures;

	if (pv_host_probe(&err) < 0) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	if (CU_initialize_registry() != CUE_SUCCESS || !add())
		return 1;
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}

#endif
