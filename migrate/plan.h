/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PLAN_H
#define MIGRATE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * When to stop copying ahead and switch over. Pure: plain numbers in, plain numbers out;
 * no clocks, threads or sockets. One struct plan a move; the caller's.
 *
 * The model. Pages dirtied in a time t are W(1 - exp(-rt/W)): at first r pages a second,
 * in the end the working set W. Both are fitted to what the last rounds saw. A round over
 * D pages takes h + D * bytes a page / bandwidth.
 */
#define PLAN_DOWNTIME_US 5000u /* blackout wanted when nobody said */
/*
 * When nobody said, that is a wish: a guest that cannot get there is switched over at the
 * least blackout to be had, up to this. A blackout the operator named is a condition.
 */
#define PLAN_PATIENCE_US 100000u

enum plan_unconverged { /* the numbers of segue.Unconverged */
	PLAN_UNCONVERGED_GIVE_UP = 0,
	PLAN_UNCONVERGED_KEEP_TRYING = 1,
	PLAN_UNCONVERGED_THROTTLE = 2,
};

/* What the operator asked for; 0 is the default. */
struct plan_limits {
	uint64_t downtime_us;   /* whole blackout allowed; 0: see PLAN_PATIENCE_US */
	uint64_t time_limit_us; /* for the whole move; 0: none */
	uint64_t bandwidth_cap; /* bytes a second; 0: none */
	enum plan_unconverged unconverged;
};

/* What the blackout costs besides its pages, us, where measured; 0: a default is taken. */
struct plan_costs {
	uint64_t pause_us;   /* from asking until no vCPU writes */
	uint64_t harvest_us; /* the last reading of the dirty source */
	uint64_t state_us;   /* save, send, load */
	uint64_t commit_us;  /* FINISH, READY, GRANT, journals */
	uint64_t resume_us;
};

/* A round that has been sent and acknowledged, and the harvest after it. */
struct plan_round {
	uint64_t pages;       /* handled in this round, skipped ones included */
	uint64_t bytes;       /* put on the wire for them */
	uint64_t duration_ns; /* from its first byte to its ROUND_ACK */
	uint64_t dirty;       /* pages found dirty by the harvest after it */
	uint64_t interval_ns; /* between that harvest and the one before */
};

struct plan_inputs {
	struct plan_limits limits;
	struct plan_costs costs;
	uint64_t pages_total;   /* of the guest */
	uint64_t bandwidth;     /* bytes a second, acknowledged; 0: not measured yet */
	uint64_t elapsed_us;    /* since the move began */
	unsigned throttle;      /* percent in force during the round */
	struct plan_round last; /* the round just ended */
};

enum plan_verdict {
	PLAN_CONTINUE, /* send the dirty pages as another round, guest running */
	PLAN_SWITCH,   /* pause and send them as the last */
	PLAN_THROTTLE, /* set the throttle to .throttle, then as CONTINUE */
	PLAN_GIVE_UP,  /* it will not converge or time is up; WORDS says which */
};

struct plan_output {
	enum plan_verdict verdict;
	unsigned throttle;    /* percent to be in force from now on */
	bool converges;       /* will reach the blackout wanted, throttled if that was asked */
	uint64_t blackout_us; /* predicted, if done as the verdict says until the switch */
	uint64_t total_us;    /* of the whole move, from its beginning */
	uint64_t dirty_rate;  /* pages a second */
	unsigned rounds_left; /* predicted, the last one included */
	char words[240];      /* one sentence for a person */
};

#define PLAN_HISTORY 4u

struct plan {
	uint32_t rounds;    /* seen */
	uint32_t stuck;     /* rounds in a row that brought the dirty pages down no further */
	uint32_t hopeless;  /* predictions in a row that it will not converge */
	uint64_t best;      /* fewest dirty pages after a round so far */
	double page_bytes;  /* on the wire, of a dirty page */
	double page_ns;     /* a page of a large round took; 0: none seen */
	double overhead_ns; /* a round took besides its pages */
	struct plan_round history[PLAN_HISTORY]; /* newest first */
	unsigned throttle[PLAN_HISTORY];         /* in force during each */
};

void plan_init(struct plan *plan);

/* After every round's harvest: what now? */
void plan_step(struct plan *plan, const struct plan_inputs *inputs, struct plan_output *output);

/*
 * Before anything is sent (--dry-run): what would come of it? VERDICT is PLAN_SWITCH or
 * PLAN_GIVE_UP, or PLAN_THROTTLE with the percentage it would take.
 */
struct plan_guess {
	struct plan_limits limits;
	struct plan_costs costs;
	uint64_t pages_total;
	uint64_t pages_used; /* not known to be zero or holes; 0: all */
	uint64_t bandwidth;  /* bytes a second; 0: unknown, 1 GB/s is taken and said */
	uint64_t link;       /* bytes a second it was seen to carry, monitors aside; 0: unknown */
	/* Dirty pages over two spans of watching; the second may be 0/0. */
	uint64_t dirty[2];
	uint64_t interval_ns[2];
};
void plan_predict(const struct plan_guess *guess, struct plan_output *output);

#endif
