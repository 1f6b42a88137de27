/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_PV_H
#define VMM_ENGINE_PV_PV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/abi.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/cpumodel.h"
#include "vmm/engine/pv/clock.h"
#include "vmm/engine/pv/domain.h"
#include "vmm/engine/pv/shadow.h"
#include "vmm/engine/pv/xsave.h"

/*
 * The inside of the paravirtual engine: a guest's kernel and programs as guest/abi.h has them,
 * made of domains (domain.h) and shadow page tables (shadow.h).
 *
 * Threads. The vCPU's thread runs guest code, and everything that concerns domains, roots and
 * contexts is its own; saving, loading and booting happen on the main thread while it is
 * parked. Devices' threads raise lines, the migration's thread harvests written pages.
 *
 * Locks, outermost first: shadow_lock, timer.lock, run.lock; notify_lock alone.
 */
#define PV_LINES         64u
#define PV_NEVER         (~0ull) /* a deadline */
#define PV_NO_ROOT       (~0ull)
#define PV_NOTIFIES      64u
#define PV_CONTEXTS_MAX  16384u
#define PV_CONTEXT_IDS   (1u << 22)
#define PV_BUCKETS       1024u
#define PV_PROMISE_WORDS 64u
#define PV_AHEAD         2u    /* addresses a context is expected to use at once */
#define PV_PRINT_MAX     1024u /* bytes handed out at once */
#define PV_DIRECT_MAPS   16384u /* that the direct map is cut into at most, while tracked */
#define PV_WORDS_MAX     256u  /* of END's text */

struct pv_engine;
struct pv_user;

/* An address space of user mode: a root that contexts have been made for. */
struct pv_space {
	struct pv_space *next;      /* of the same bucket */
	struct pv_space *older, *newer; /* of those with a domain, by last use */
	uint64_t root;
	struct pv_user *users;
	struct pv_domain *domain;   /* NULL: none at the moment, it is made when needed */
	struct pv_shadow *shadow;   /* as long as the domain */
};

/* How a user context was left. */
enum pv_user_at {
	PV_USER_FRESH,   /* has no registers yet */
	PV_USER_CALL,    /* made a system call; .rax is what it will find in RAX */
	PV_USER_STOPPED, /* anywhere else */
	PV_USER_LOST,    /* its registers are gone */
};

/* A user context. Its registers are here, in the host's context, or both. */
struct pv_user {
	struct pv_user *next;       /* of the same bucket */
	struct pv_user *sibling;    /* of the same space */
	struct pv_space *space;
	uint32_t id;
	enum pv_user_at at;
	bool here;                  /* .regs and .xsave are valid */
	bool there;                 /* those of .context are valid */
	struct pv_context *context; /* NULL: none at the moment */
	struct pv_ahead {
		uint64_t va;
		uint32_t error;     /* SEGUE_PV_PF_* of an access that is to be expected */
	} ahead[PV_AHEAD];
	unsigned n_ahead;
	struct segue_pv_regs regs;
	uint8_t *xsave;             /* e->xsave_size bytes, or NULL: not needed yet */
};

/* Where kernel mode is, and so what vcpu_run() does. */
enum pv_at {
	PV_AT_KERNEL,  /* runs */
	PV_AT_USER,    /* in ENTER_USER of context USER */
	PV_AT_BLOCK,   /* in BLOCK */
	PV_AT_IO,      /* in an access that has been handed out */
	PV_AT_PRINT,   /* in PRINT */
	PV_AT_NOWHERE, /* not booted */
	/* Ended; vcpu_run() says so whenever it is called. */
	PV_AT_OFF,
	PV_AT_REBOOT,
	PV_AT_PANICKED,
	PV_AT_FAILED,
	PV_AT_COUNT
};

/* Kernel mode. */
struct pv_kernel {
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_shadow *shadow;
	enum pv_at at;
	bool ahead;                 /* made for a load, and has run nothing */
	bool in_call;               /* the host's context stands in a hypercall */
	struct pv_user *user;       /* PV_AT_USER */
	unsigned repeats;           /* the same fault again and again: see fault.c */
	uint64_t fault_va, fault_rip;
	uint8_t data[8];            /* PV_AT_IO */
	unsigned len;
	uint64_t address;
	bool ports, write;
	uint8_t text[PV_PRINT_MAX]; /* PV_AT_PRINT */
	unsigned chunk;             /* bytes in .text */
	uint64_t text_gpa, text_len; /* what is left */
	char words[PV_WORDS_MAX];   /* PV_AT_PANICKED, PV_AT_FAILED */
};

/* Where the vCPU's thread is, for who wants it to stop. */
enum pv_run_at { PV_IN_MONITOR, PV_IN_KERNEL, PV_IN_USER, PV_IN_BLOCK };

struct pv_run {
	pthread_mutex_t lock;
	pthread_cond_t cond;        /* PV_IN_BLOCK waits for it */
	enum pv_run_at at;
	struct pv_context *context; /* runs guest code, or is about to */
	atomic_bool kicked;         /* written under the lock */
};

struct pv_timer {
	pthread_mutex_t lock; /* also of e->clock */
	uint64_t deadline;    /* guest time */
	uint64_t armed;       /* guest time the timerfd is set for, or PV_NEVER */
	bool quit;
	int fd;
	pthread_t thread;
	bool started;
};

struct pv_notify {
	uint64_t gpa;
	unsigned len;
	int64_t value;
	int fd;
};

/* What contract() hands out points in here. */
struct pv_promise {
	struct cpuid_table host;
	char vendor[13];
	Segue__CpuidWord words[PV_PROMISE_WORDS];
	Segue__CpuidWord *list[PV_PROMISE_WORDS];
	size_t n;
};

struct pv_engine {
	struct engine engine;
	/* Set in create, constant afterwards. */
	struct vcpu vcpu;
	struct ram *ram;
	struct pv_host *host;
	size_t xsave_host;     /* bytes the host's contexts have */
	bool track_uffd;       /* dirty tracking by the host's kernel, else by faults; a start
				* that fails clears it */
	bool track_forced;     /* and by nothing else */
	struct pv_promise promise;

	_Atomic(const struct pv_gate *) gate; /* of the kernel's domain, or an earlier one's */
	_Atomic(struct segue_pv_vcpu *) page; /* of the guest; NULL before the first boot */
	atomic_bool fetch;     /* a save is near: pv_users_fetch() is wanted */

	/* The vCPU's thread, or any while it is parked. */
	bool booted;           /* or loaded: guest time has begun */
	uint64_t xsave_components; /* that the guest and a move see, */
	size_t xsave_size;         /* and their bytes */
	struct pv_kernel kernel;
	uint64_t event_entry, trap_entry;
	uint64_t kernel_root;
	struct pv_space *spaces[PV_BUCKETS];
	struct pv_space *oldest, *newest; /* with a domain */
	unsigned n_domains, domains_max;
	unsigned n_contexts;   /* of the host */
	unsigned fds_max;      /* descriptors that domains and contexts may take */
	struct pv_user *users[PV_BUCKETS];
	unsigned n_users;
	struct pv_user *lent[PV_GATE_PLACES]; /* to kernel mode: gate.c */
	uint8_t *scratch;      /* xsave_host bytes */

	pthread_mutex_t shadow_lock;
	struct pv_shadow_set *shadows;
	enum pv_track track;
	unsigned block_pages;  /* of the direct map, opened to writes together: dirty.c */
	uint64_t *open;        /* a bit a block */
	bool any_open;
	bool all_written;      /* since the last harvest, as far as anybody knows */

	struct pv_run run;
	struct pv_timer timer;
	struct pv_clock clock; /* timer.lock */

	pthread_mutex_t notify_lock;
	struct pv_notify notifies[PV_NOTIFIES];
	unsigned n_notifies;
};

static inline struct pv_engine *pv_engine_of(struct engine *engine)
{
	return (struct pv_engine *)engine;
}

/* probe.c, create.c */
int pv_probe(const Segue__Guest *guest, struct error *err);
int pv_create(const struct engine_config *config, struct engine **ret_engine,
	      struct error *err);
void pv_destroy(struct engine *engine);

/* boot.c */
int pv_boot(struct engine *engine, const struct boot_state *boot, struct error *err);
void pv_halt(struct engine *engine);
/* Throws everything away that boot() and load() make. */
void pv_reset(struct pv_engine *e);
/* Takes GPA as the vCPU's page; -EINVAL where it is none. */
int pv_page_take(struct pv_engine *e, uint64_t gpa);

/* run.c */
struct vcpu *pv_vcpu(struct engine *engine, unsigned index);
void pv_vcpu_run(struct vcpu *vcpu, struct vcpu_exit *ret_exit);
bool pv_vcpu_settle(struct vcpu *vcpu);
/* Kernel mode cannot go on; the text is for people. */
void pv_fail(struct pv_engine *e, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* kernel.c: the kernel domain. */
int pv_kernel_make(struct pv_engine *e, struct error *err);
/* The same for a load that is yet to come. */
int pv_kernel_ahead(struct pv_engine *e, struct error *err);
void pv_kernel_drop(struct pv_engine *e);
void pv_kernel_step(struct pv_engine *e);
/* Ends the hypercall kernel mode stands in. */
void pv_kernel_result(struct pv_engine *e, int64_t result);

/* call.c: hypercalls. They set where kernel mode is; what they end at once has a result. */
void pv_call(struct pv_engine *e, const struct pv_stop *stop);
/* call_io.c */
int64_t pv_call_io_read(struct pv_engine *e, const uint64_t *args);
int64_t pv_call_io_write(struct pv_engine *e, const uint64_t *args);
int64_t pv_call_print(struct pv_engine *e, const uint64_t *args);
int64_t pv_call_end(struct pv_engine *e, const uint64_t *args);
void pv_io_settle(struct pv_engine *e);
/* Fills what is handed out next; false: all of the text has been. */
bool pv_print_next(struct pv_engine *e);

/* frame.c: interrupts kernel mode where it is. TRAP NULL: an event. */
void pv_interrupt(struct pv_engine *e, const struct pv_stop *stop,
		  const struct segue_pv_trap *trap);
/* The word at VA of the kernel's stack. -EFAULT. */
int pv_stack_read(struct pv_engine *e, uint64_t va, uint64_t *ret_word);

/* space.c: roots and contexts. */
struct pv_user *pv_user_find(const struct pv_engine *e, uint64_t id);
int pv_user_create(struct pv_engine *e, uint64_t root, uint32_t id, struct pv_user **ret_user);
void pv_user_destroy(struct pv_engine *e, struct pv_user *user);
struct pv_space *pv_space_find(const struct pv_engine *e, uint64_t root);
void pv_space_drop(struct pv_engine *e, uint64_t root); /* and its contexts */
void pv_spaces_drop(struct pv_engine *e);

/* resident.c: which spaces and contexts the host has at the moment. */
int pv_user_enter(struct pv_engine *e, struct pv_user *user); /* makes it ready to run */
int pv_user_fetch(struct pv_engine *e, struct pv_user *user); /* makes .here true */
void pv_users_fetch(struct pv_engine *e); /* those that do not run, if it is wanted */
void pv_space_evict(struct pv_engine *e, struct pv_space *space);
void pv_space_discard(struct pv_engine *e, struct pv_space *space); /* registers lost */
void pv_user_gone(struct pv_engine *e, struct pv_user *user); /* its host context */
/* Other registers; XSAVE NULL: floating-point state stays as it is. -ENOMEM, -EINVAL. */
int pv_user_load(struct pv_engine *e, struct pv_user *user, const struct segue_pv_regs *regs,
		 const uint8_t *xsave);
/* A context's registers and the guest's part of its floating-point state. */
int pv_registers_set(struct pv_engine *e, struct pv_context *context,
		     const struct segue_pv_regs *regs, const uint8_t *xsave, struct error *err);
int pv_registers_get(struct pv_engine *e, struct pv_context *context,
		     struct segue_pv_regs *regs, uint8_t *xsave);

/* user.c */
int64_t pv_call_enter_user(struct pv_engine *e, const uint64_t *args);
int64_t pv_call_get_user(struct pv_engine *e, const uint64_t *args);
void pv_user_step(struct pv_engine *e);
void pv_user_acted(struct pv_engine *e); /* what it asked for with its entry is done */
/* Kernel mode is at PV_AT_USER, and what it entered may still run: stops it, and tells why. */
void pv_user_collect(struct pv_engine *e);

/* gate.c */
/* USER has just been told of, in a system call: kernel mode may enter it by itself. */
void pv_gate_lend_user(struct pv_engine *e, struct pv_user *user);
/* To be called before anything is done with its context; does nothing if it is not lent. */
void pv_gate_recall_user(struct pv_engine *e, struct pv_user *user);
/* Kernel mode's context has stopped: whether it was inside, and that has been dealt with. */
bool pv_gate_stopped(struct pv_engine *e, const struct pv_stop *stop);
/* Makes registers of kernel mode, not inside, ones that mean the same on every host. -EFAULT. */
int pv_gate_registers(struct pv_engine *e, struct segue_pv_regs *regs);

/* fault.c */
enum pv_fault_verdict { PV_FAULT_DONE, PV_FAULT_GUEST, PV_FAULT_STUCK };
enum pv_fault_verdict pv_fault_resolve(struct pv_engine *e, struct pv_shadow *shadow,
				       const struct pv_stop *stop, uint32_t *ret_error);
/* Maps what a context will use as soon as it runs, if the guest's tables allow it. */
void pv_fault_ahead(struct pv_engine *e, struct pv_user *user);
void pv_expect(struct pv_user *user, uint64_t va, uint32_t error);
/* Drops what SHADOW has from BEGIN to END. */
int pv_flush(struct pv_engine *e, struct pv_shadow *shadow, uint64_t begin, uint64_t end);

/* event.c */
int pv_set_irq(struct engine *engine, unsigned gsi, bool level);
int pv_signal_msi(struct engine *engine, uint64_t address, uint32_t data);
void pv_vcpu_kick(struct vcpu *vcpu);
void pv_raise(struct pv_engine *e, unsigned line);
uint64_t pv_pending(struct pv_engine *e);
bool pv_masked(struct pv_engine *e);
void pv_mask(struct pv_engine *e);
bool pv_kick_taken(struct pv_engine *e);
bool pv_run_begin(struct pv_engine *e, enum pv_run_at at, struct pv_context *context);
void pv_run_end(struct pv_engine *e);
bool pv_block(struct pv_engine *e); /* whether an event is pending now */

/* timer.c */
int pv_timer_start(struct pv_engine *e, struct error *err);
void pv_timer_stop(struct pv_engine *e);
void pv_timer_set(struct pv_engine *e, uint64_t deadline);
void pv_timer_check(struct pv_engine *e);
uint64_t pv_timer_until(struct pv_engine *e); /* CLOCK_MONOTONIC, ns */

/* time.c */
int pv_clock_op_freeze(struct engine *engine, struct error *err);
int pv_clock_op_release(struct engine *engine, uint64_t elapsed_ns, struct error *err);
void pv_clock_write(struct pv_engine *e); /* timer.lock held */
/* Lets guest time go on from where it stands, and ELAPSED_NS later. */
void pv_clock_go(struct pv_engine *e, uint64_t elapsed_ns);

/* notify.c */
int pv_notify_add(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		  int eventfd);
int pv_notify_remove(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
		     int eventfd);
/* A write by the guest: whether it was a doorbell, which has been rung. */
bool pv_notify_write(struct pv_engine *e, uint64_t gpa, unsigned len, uint64_t value);

/* state.c, load.c */
int pv_save(struct engine *engine, struct buffer *state, struct error *err);
int pv_load(struct engine *engine, const uint8_t *state, size_t len, struct error *err);

/* contract.c */
int pv_contract_make(struct pv_engine *e, struct error *err);
int pv_contract(struct engine *engine, Segue__Contract *contract);
int pv_accept(struct engine *engine, const Segue__Contract *contract, struct error *err);

/* dirty.c */
int pv_dirty_prepare(struct pv_engine *e, struct error *err);
int pv_dirty_start(struct engine *engine, struct error *err);
int pv_dirty_harvest(struct engine *engine, uint64_t *words, struct error *err);
int pv_dirty_stop(struct engine *engine);
const char *pv_dirty_words(const struct engine *engine);
/* pv_shadow_flush() that logs no more than it must. The domain stands; shadow lock held. */
bool pv_dirty_flush(struct pv_engine *e, struct pv_shadow *shadow, uint64_t begin, uint64_t end,
		    struct pv_map *ret_map);
/* A domain has been made: it is tracked if the others are. Shadow lock held. */
int pv_dirty_join(struct pv_engine *e, struct pv_domain *domain, struct error *err);
/* The same of the kernel's domain, and its end. */
int pv_dirty_join_kernel(struct pv_engine *e, struct error *err);
void pv_dirty_forget(struct pv_engine *e);
/* Kernel mode faulted in its direct map: whether it may try again. */
bool pv_dirty_fault(struct pv_engine *e, const struct pv_stop *stop);

#endif
