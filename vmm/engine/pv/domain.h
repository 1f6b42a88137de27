/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_DOMAIN_H
#define VMM_ENGINE_PV_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/abi.h"
#include "proto/error.h"

/*
 * Where guest code runs: domains, each a host process with nothing in its address space but
 * guest RAM and a page of ours, and contexts, threads of control in one. Nothing here knows
 * page tables, hypercalls or which domain is a kernel's: shadow.h and the engine do.
 *
 * Threads: "the vCPU's thread" is the one that calls pv_context_run(). All functions on a
 * domain and its contexts are for that thread, one at a time, unless they say "any thread".
 * pv_domain_map(), _unmap() and _track() may be called by any thread (the migration's), also
 * while contexts of the domain run; the caller sees to it that no two of them, or one of them
 * and pv_domain_scan(), are under way at once.
 * Whatever a domain does, no call here waits longer for it than PV_STARVED_MS: a busy host may
 * keep a context from running for seconds, and that is not the guest's fault.
 */
struct pv_host;
struct pv_domain;
struct pv_context;

#define PV_VA_BEGIN SEGUE_PV_USER_BEGIN /* guest addresses a domain can map: from here */
#define PV_VA_END   SEGUE_PV_VA_END     /* to here; what is ours lies far above */
#define PV_BOUND_MS 1000    /* of processor time, after which a context must have stopped */
#define PV_STARVED_MS 10000 /* of any, whether it got a processor or not */

/* ---- host ---- */

/*
 * Whether this kernel and processor can do it at all; 0, or a negative errno with one line
 * saying what is missing. Leaves nothing behind. Before the sandbox.
 */
int pv_host_probe(struct error *err);

/*
 * Forks what all domains come from. Before the sandbox closes, on a thread that lives as long
 * as the host: when that thread ends, however it does, so does every domain. RAM_FD stays the
 * caller's; it must not be backed by hugetlbfs, as its pages are mapped one by one.
 * Installs a handler that does nothing for SIGUSR2 and makes one thread.
 */
int pv_host_create(int ram_fd, uint64_t ram_size, struct pv_host **ret_host, struct error *err);
/* All domains destroyed before. Returns when every process of the host has ended. */
void pv_host_destroy(struct pv_host *host); /* NULL is fine */

/* Whether pv_domain_track() and pv_domain_scan() work on this kernel. Any thread. */
bool pv_host_tracking_available(const struct pv_host *host);

/* ---- domains ---- */

/*
 * An address space with nothing mapped. May hand out one that pv_domain_destroy() got: all
 * that its former guest left has been removed. -EAGAIN where the host lacks processes,
 * descriptors or memory for another: the guest should be told so, it can go on.
 */
int pv_domain_create(struct pv_host *host, struct pv_domain **ret_domain, struct error *err);
/* The same for a guest's kernel: with the gate. One at a time. */
int pv_domain_create_kernel(struct pv_host *host, struct pv_domain **ret_domain,
			    struct error *err);
/* Its contexts go with it. */
void pv_domain_destroy(struct pv_domain *domain); /* NULL is fine */

/* One change of a domain's mappings. */
enum pv_map_op {
	PV_MAP,      /* RAM from .offset at .va, instead of whatever is mapped there */
	PV_UNMAP,    /* nothing there; also where nothing is. .offset and .prot are not used */
	PV_PROTECT,  /* other rights for what is mapped; all of the range must be. No .offset */
};
struct pv_map {
	enum pv_map_op op;
	int prot;          /* PROT_READ, PROT_WRITE, PROT_EXEC; 0 refuses every access */
	bool populate;     /* PV_MAP: enter the pages at once, the first touch will not fault */
	uint64_t va;       /* page aligned, as all below; bytes */
	uint64_t offset;   /* in the RAM file, bytes */
	uint64_t pages;    /* 4 KiB each, at least 1 */
};

/*
 * Makes N changes in that order; however many, in few exchanges with the domain. Contexts of
 * the domain may be in any kind of stop. Every entry is checked here (-EINVAL: outside of
 * PV_VA_BEGIN..PV_VA_END or of RAM). A failure leaves the changes before it made and says in
 * *RET_DONE (may be NULL) how many. -ENOMEM: the domain has as many mappings as the host
 * allows one process (vm.max_map_count); neighbours with equal rights whose offsets follow
 * each other count once. -EIO: the domain's process is gone; all its contexts are lost.
 */
int pv_domain_map(struct pv_domain *domain, const struct pv_map *maps, size_t n,
		  size_t *ret_done, struct error *err);
int pv_domain_unmap(struct pv_domain *domain, uint64_t begin, uint64_t end, struct error *err);

/* ---- dirty tracking (where pv_host_tracking_available()) ---- */

/*
 * On: from here on the domain's first write to each page mapped writable, now or later, is
 * noted by the kernel at about a microsecond, and nothing else changes for guest code.
 * Everything counts as not written at that moment. Mappings made or protected while tracking
 * is on are tracked as well, as not written (made by another thread than the vCPU's: as
 * written where they have been touched); the caller has nothing to do about them, but what is
 * unmapped or mapped over takes its notes with it: scan that range before.
 */
int pv_domain_track(struct pv_domain *domain, bool on, struct error *err);

/*
 * Calls WRITTEN for each run of pages of BEGIN..END that was written since tracking began or
 * the last scan, in order of address, and notes them as not written again, at once for each
 * page: no write is missed. Any thread, also while contexts run, but one scan a domain at a
 * time and none while the domain's mappings change or it is destroyed.
 */
int pv_domain_scan(struct pv_domain *domain, uint64_t begin, uint64_t end,
		   void (*written)(void *data, uint64_t va, uint64_t pages), void *data,
		   struct error *err);

/* ---- contexts ---- */

/* Has no registers until the first pv_context_set(). Errors as of pv_domain_create(). */
int pv_context_create(struct pv_domain *domain, struct pv_context **ret_context,
		      struct error *err);
void pv_context_destroy(struct pv_context *context); /* NULL is fine */

enum pv_stop_kind {
	PV_STOP_SYSCALL, /* SYSCALL, in 64-bit code: .number, .arguments, .rip behind it */
	PV_STOP_TRAP,    /* .trap, .rip of the instruction (behind it, of BP and DB) */
	PV_STOP_KICKED,  /* where it was, or not even begun */
	PV_STOP_LOST,    /* its process has ended or had to be: destroy it */
};

/* Nothing in here is to be believed: guest code can make up any stop, with any numbers. */
struct pv_stop {
	enum pv_stop_kind kind;
	uint64_t number;
	uint64_t arguments[6];
	uint64_t rip;
	struct segue_pv_trap trap; /* the processor's vector; error masked to abi.h's bits */
};

/*
 * Lets the context go on and waits for its next stop. The first run needs a set() before.
 * After SYSCALL it goes on behind the instruction with the value of pv_context_return(), or,
 * without one, with the number in RAX; after TRAP at the same instruction again. A system
 * call of any other ABI (int 0x80, x32) is TRAP with SEGUE_PV_VECTOR_GP: guests have none.
 */
void pv_context_run(struct pv_context *context, struct pv_stop *ret_stop);

/* RAX of the system call that it stopped in. A later set() overrides it. */
void pv_context_return(struct pv_context *context, int64_t value);

/*
 * All registers as of the stop: after SYSCALL, RIP is behind it and RAX is the value given,
 * or the number. XSAVE (may be NULL) gets the floating-point state in the processor's
 * standard XSAVE form, of pv_host_xsave_size() bytes; *LEN is room before and bytes after.
 * Costs a signal where the stop was SYSCALL. -EIO: lost.
 */
int pv_context_get(struct pv_context *context, struct segue_pv_regs *regs, void *xsave,
		   size_t *len, struct error *err);

/*
 * The next run starts there. XSAVE NULL: floating-point state stays as it is, of a context
 * that has never run the initial one. All values may come from a guest: -EINVAL for segment
 * bases that are no user address or an XSAVE image that the processor would refuse; of
 * RFLAGS only the bits that user code can set are taken. -EIO: lost.
 */
int pv_context_set(struct pv_context *context, const struct segue_pv_regs *regs,
		   const void *xsave, size_t len, struct error *err);

/* ---- the gate: SEGUE_PV_GATE of guest/abi.h, below the domain's contexts ---- */

/*
 * A user context in a system call can be lent to the kernel's context, under the guest's name
 * for it: from then on kernel mode answers it and receives its next call by itself, by way of
 * the vCPU's page at va PAGE. Nothing but pv_gate_*() may be done with a context that is lent.
 * KERNEL must be in a system call itself. False: not this one, or not now.
 * Names that are equal in the lowest bits (PV_GATE_PLACES) take each other's place: the former
 * one must have been recalled.
 */
#define PV_GATE_PLACES 128u
bool pv_gate_lend(struct pv_context *kernel, struct pv_context *context, uint64_t name,
		  uint64_t page);
/* It is the caller's again, in a system call that kernel mode has been told of. KERNEL's
 * context is stopped, and not inside with it. */
void pv_gate_recall(struct pv_domain *kernel, struct pv_context *context, uint32_t place);

struct pv_gate;
/* NULL: a user's domain. Valid as long as the host, whatever becomes of the domain. */
const struct pv_gate *pv_domain_gate(const struct pv_domain *kernel);
/* The place whose context kernel mode has let run, or -1; any thread. With the event pending
 * before this is asked, either it says so or kernel mode sees the event before it waits. */
int pv_gate_inside(const struct pv_gate *gate);
/*
 * KERNEL's context has been stopped inside, AT its registers, with CONTEXT: takes that back as it
 * is. True: it has got its answer and may be running, pv_context_collect() must follow; false:
 * it will with its next run.
 */
bool pv_gate_leave(struct pv_domain *kernel, const struct segue_pv_regs *at,
		   struct pv_context *context, uint32_t place);
void pv_gate_clear(struct pv_domain *kernel); /* kernel mode said nonsense: nobody is inside */
/* Brings a context that may be running to a stop, as pv_context_run() would tell it. */
void pv_context_collect(struct pv_context *context, struct pv_stop *ret_stop);

/* Where kernel mode's RIP is. */
enum pv_gate_place {
	PV_GATE_OUTSIDE,
	PV_GATE_CALLING, /* at its first instructions: as good as at SEGUE_PV_GATE */
	PV_GATE_BEGUN,   /* anywhere else; not inside: as good as there with pv_gate_asked() */
	PV_GATE_CALLED,  /* behind its hypercall, all but returned */
	PV_GATE_DONE,    /* done with reason SYSCALL, all but returned */
};
enum pv_gate_place pv_gate_place(uint64_t rip);
uint64_t pv_gate_asked(const struct pv_gate *gate);

/* Bytes of a context's XSAVE image on this host. */
size_t pv_host_xsave_size(const struct pv_host *host);

/*
 * Any thread, never waits: pv_context_run() returns KICKED soon, also when it is about to
 * begin; a stop of another kind that comes first is told first. Sticky until told. The
 * context must not be destroyed meanwhile.
 */
void pv_context_kick(struct pv_context *context);

#endif
