/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PLAN_MODEL_H
#define MIGRATE_PLAN_MODEL_H

#include <stdbool.h>

/*
 * The model behind plan.h: how many pages a guest dirties in a time, how long pages take,
 * and what comes of going on. Pure; times in ns, rates a ns, pages as real numbers.
 */
struct plan_model {
	double rate;        /* pages a ns of guest time, at first */
	double set;         /* working set, pages */
	double page_ns;     /* a page of a round takes */
	double overhead_ns; /* a round takes besides its pages */
	double fixed_ns;    /* the blackout takes besides its pages */
	double pause_ns;    /* between the last harvest of a running guest and its standstill */
	double slow;        /* share of the time the guest is throttled: 0 to 0.99 */
};

/* DIRTY pages found after the guest has run SPAN ns (throttled time not counted). */
struct plan_watch {
	double dirty;
	double span;
};

/*
 * Sets rate and set to what the N watches show, the newest first; the set is TOTAL pages
 * where saturation does not show.
 */
void plan_model_fit(struct plan_model *model, const struct plan_watch *watch, unsigned n,
		    double total);

double plan_model_dirty(const struct plan_model *model, double ns);
double plan_model_round(const struct plan_model *model, double dirty);
/* The blackout, when the guest is paused with DIRTY pages known. */
double plan_model_blackout(const struct plan_model *model, double dirty);
/* Is another round over DIRTY pages worth its time, a blackout of AIM ns wanted? */
bool plan_model_worth(const struct plan_model *model, double dirty, double aim);

/* What comes of rounds as long as they are worth it, from DIRTY pages on. */
struct plan_course {
	double ns;       /* until the guest runs at the destination */
	double blackout; /* of these */
	unsigned rounds; /* the last one included */
};
struct plan_course plan_model_run(const struct plan_model *model, double dirty, double aim);

/* The least throttle, percent above FROM, that reaches AIM from DIRTY pages; 100 if none. */
unsigned plan_model_throttle(const struct plan_model *model, double dirty, double aim,
			     unsigned from);

#endif
