/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_DOMAIN_INTERNAL_H
#define VMM_ENGINE_PV_DOMAIN_INTERNAL_H

#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "vmm/engine/pv/domain.h"
#include "vmm/engine/pv/shim.h"

/* Numbers given out lowest first, given back and given out again. */
struct pv_slots {
	uint32_t *free; /* a stack */
	uint32_t n_free, room;
	uint32_t fresh; /* from here on none was ever given out */
	uint32_t max;
};
int pv_slots_take(struct pv_slots *slots, uint32_t *ret_slot); /* -EAGAIN: none left */
void pv_slots_give(struct pv_slots *slots, uint32_t slot);
void pv_slots_done(struct pv_slots *slots);

#define PV_DOMAINS_MAX 4096u
#define PV_AREAS_MAX   32768u
#define PV_SPARES_MAX  16u /* domains kept for the next to be created */
#define PV_NO_SLOT     (~0u)

/* What the kernel puts in signal frames here. */
struct pv_xstate {
	size_t size;        /* of an XSAVE image in standard form */
	uint64_t features;  /* its state components */
	uint32_t mxcsr_mask;
};
int pv_xstate_find(struct pv_xstate *xstate, struct error *err);
/* Whether the processor would load it. */
bool pv_xstate_valid(const struct pv_xstate *xstate, const void *image, size_t len);

struct pv_watched {
	struct pv_domain *domain;
	struct pv_context *context; /* NULL: the domain's template */
	uint32_t generation;
};

struct pv_host {
	/* set at creation */
	int socket;      /* the zygote's other end */
	pid_t zygote;
	int areas_fd;
	uint8_t *areas;  /* all orders, then all frame areas */
	uint64_t ram_size;
	struct pv_xstate xstate;
	bool tracking;

	/* the vCPU's thread */
	struct pv_slots orders, frames;
	struct pv_domain *spares;
	unsigned n_spares;
	bool binding;      /* the kernel does not wake where we want: domain_place.c */
	cpu_set_t allowed;
	int bound_cpu;     /* -1: not at the moment */
	uint64_t bound_ns;

	uint64_t serial;   /* of the last domain made */

	/* under .lock */
	pthread_mutex_t lock;
	struct pv_context *gatekeeper; /* the kernel's thread, where it has a gate */
	struct pv_domain *domains; /* all, spares too */
	struct pv_watched *watched;
	struct pv_slots watch_slots;
	uint32_t watch_room;
	bool ending;

	atomic_int runner; /* thread that ran a context last */
	int epoll, timer, wake;
	pthread_t watcher;
	atomic_bool timer_armed;
};

enum pv_state {
	PV_RUNNING,
	PV_IN_SYSCALL, /* .id is of the system call's notification */
	PV_PARKED,     /* .id is of the shim's stop, its registers are in a frame */
};

struct pv_context {
	struct pv_domain *domain;
	struct pv_context *next;
	int pidfd;
	pid_t pid;
	uint32_t index;   /* of its area in the domain */
	uint32_t slot;    /* of its area in the file */
	uint32_t watch;
	uint8_t *area;

	/* the vCPU's thread */
	bool spare;
	enum pv_state state;
	uint64_t id;
	struct seccomp_data call; /* the last system call */
	bool call_open;   /* it waits for its value, parked or not */
	bool has_value;
	uint64_t lent_id; /* .id when it was lent */
	bool again;       /* it has notified anew since it was let go on */
	int64_t value;
	bool has_registers;
	int cpu;
	int signal;       /* that parked it */
	uint64_t frame;   /* va of the frame that it goes on with, in its area; 0: none yet */
	uint64_t xstate;  /* va of the floating-point state of that; 0: initial */
	uint64_t fs_base, gs_base;
	bool composed;    /* the frame is ours, and the bases go with it */

	/* any thread */
	atomic_bool kicked, running, dead;
	atomic_bool signalled; /* by SIGUSR2, and has not stopped for it yet */
	atomic_uint_fast64_t kicked_ms;

	/* the watcher: the kick it has looked at before, and the processor time used by then */
	uint64_t seen_kick_ms, seen_used_ms;
};

/* For the watcher: which thread waits (0: none), and for whom. */
struct pv_wait {
	atomic_int thread;
	_Atomic(struct pv_context *) context; /* NULL: template or mapper */
};

struct pv_domain {
	struct pv_host *host;
	struct pv_domain *next_all;   /* host's lock */
	struct pv_domain *next_spare;
	struct pv_context *contexts;  /* the list changes under the host's lock */
	unsigned n_spares; /* of .contexts: parked, for the next to be created */
	struct pv_slots indices;
	pid_t template, mapper;
	int mapper_cpu;
	int template_pidfd;
	int listener;        /* of template and contexts */
	int mapper_listener;
	int pagemap, userfaultfd;
	bool userfaultfd_ready, tracked;
	uint32_t orders_slot, watch;
	uint64_t serial;         /* no other domain of the host ever has it */
	struct pv_gate *gate;    /* of a kernel's; else NULL */
	bool gate_open;          /* contexts are lent */
	uint32_t gate_slot;      /* of the file, as a context's .slot */
	uint64_t *gate_given;    /* serials of the domains whose listener a slot's descriptor is */
	/* Filling in orders, and the exchange that has them carried out: the vCPU's thread may
	 * make a context while the migration's changes mappings. */
	pthread_mutex_t mapper_lock;
	struct pv_order *orders;
	uint64_t template_id, mapper_id; /* notifications that wait for the next order */

	/* any thread */
	struct pv_wait wait;        /* on the contexts' listener */
	struct pv_wait mapper_wait;
	atomic_bool dead;
};

/* ---- zygote ---- */

int pv_zygote_start(struct pv_host *host, int ram_fd, struct error *err);
void pv_zygote_end(struct pv_host *host); /* with all that comes from it */
/* RET_FDS: 4, -1 where there is none. */
int pv_zygote_ask(struct pv_host *host, uint64_t orders, bool kernel, int *ret_fds,
		  struct error *err);

/* ---- domains ---- */

void pv_domain_kill(struct pv_domain *domain); /* its processes; it stays to be destroyed */
void pv_domain_end(struct pv_domain *domain);
void pv_spares_drop(struct pv_host *host);

/* ---- watcher: notices ends, and contexts that do not stop ---- */

int pv_watch_start(struct pv_host *host, struct error *err);
void pv_watch_end(struct pv_host *host);
/* CONTEXT NULL: the domain's template. */
int pv_watch_add(struct pv_host *host, int pidfd, struct pv_domain *domain,
		 struct pv_context *context, uint32_t *ret_slot);
void pv_watch_remove(struct pv_host *host, int pidfd, uint32_t slot);
void pv_watch_kicked(struct pv_host *host); /* look after a while; any thread */
uint64_t pv_now_ms(void);
/* Whether the process has ended, at END (of pv_now_ms()) at the latest. */
bool pv_await_end(int pidfd, uint64_t end);

/* ---- processors ---- */

/* Lets seccomp wake the other side on the same processor, or makes up for it. */
void pv_place_tune(struct pv_host *host, int fd);
/* Before the vCPU's thread waits for PID, which AT says where it was put last (-1). */
void pv_place(struct pv_host *host, pid_t pid, int *at);

/* ---- listeners ---- */

pid_t pv_this_thread(void); /* also lets it be interrupted by the watcher */

/* The next notification to the contexts' listener, or (MAPPER) the mapper's; waits without
 * bound, but for the end of CONTEXT (may be NULL) or of the domain: -EIO. */
int pv_listener_receive(struct pv_domain *domain, struct pv_context *context,
			struct seccomp_notif *ret_notif);
int pv_listener_receive_mapper(struct pv_domain *domain, struct seccomp_notif *ret_notif);
/* The same, at most MS; -ETIMEDOUT. */
int pv_listener_receive_within(int fd, int ms, struct seccomp_notif *ret_notif);
int pv_listener_answer(int fd, uint64_t id, int64_t value); /* -ENOENT: nobody waits */
int pv_listener_continue(int fd, uint64_t id);
/* A pidfd of who sent it. */
int pv_listener_pidfd(int fd, const struct seccomp_notif *notif, int *ret_pidfd);
/* Whether it is the shim's own call, from its place. */
bool pv_notif_is(const struct seccomp_notif *notif, int number, const unsigned char *place);

/* ---- mapper ---- */

/* Has the first N of domain->orders carried out, mapper lock held; RET_LEFT: how many were not. */
int pv_mapper_exchange(struct pv_domain *domain, uint32_t n, uint32_t *ret_left);
/* One system call. */
int pv_mapper_call(struct pv_domain *domain, long number, uint64_t a, uint64_t b, uint64_t c,
		   uint64_t d, uint64_t e, uint64_t f);
/* ---- tracking ---- */

bool pv_track_probe(void);
/*
 * New mappings of a tracked domain. QUIET: none of its contexts can have run since they are
 * there. Else what has been touched already counts as written.
 */
int pv_track_new(struct pv_domain *domain, uint64_t va, uint64_t len, bool quiet,
		 struct error *err);

/* ---- contexts ---- */

uint64_t pv_context_area(const struct pv_context *context); /* va */
void pv_context_kill(struct pv_context *context);
/* Frees it once it has been killed. REUSE: nobody has its area mapped any more. */
void pv_context_end(struct pv_context *context, bool reuse);
/* Files a notification of CONTEXT's. -EIO: it made up a frame, and was killed. */
int pv_context_file(struct pv_context *context, const struct seccomp_notif *notif);
/* The domain's context with that pid, or NULL. */
struct pv_context *pv_context_find(struct pv_domain *domain, uint32_t pid);
/* Has it interrupted, unless that is under way; any thread. -EIO: it has ended. */
int pv_context_signal(struct pv_context *context);
/* Gets it to the shim's stop if it is in a system call; bounded. */
int pv_context_park(struct pv_context *context, int ms);

/* ---- the gate ---- */

/* KERNEL is new, nothing runs there yet. Closed, the gate makes hypercalls. */
int pv_gate_make(struct pv_domain *kernel);

/* ---- frames ---- */

/* Whether a frame at VA lies in the context's area. */
bool pv_frame_inside(const struct pv_context *context, uint64_t va);
/* Takes over the frame that the kernel wrote at VA. */
void pv_frame_take(struct pv_context *context, uint64_t va);
/* Puts the open system call's outcome into the frame. */
void pv_frame_settle(struct pv_context *context);
void pv_frame_stop(const struct pv_context *context, struct pv_stop *stop);

#endif
