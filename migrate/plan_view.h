/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PLAN_VIEW_H
#define MIGRATE_PLAN_VIEW_H

#include "migrate/plan.h"
#include "migrate/plan_model.h"

/* Shared by the planner's own files: plan_learn.c, plan.c, plan_predict.c, plan_say.c. */
#define PLAN_RAW_BYTES    4112.0 /* on the wire, of a page as it is, table and header too */
#define PLAN_OVERHEAD_NS  1e6    /* a round's, before one has been seen */
#define PLAN_THROTTLE_MAX 99u    /* percent */
#define PLAN_BANDWIDTH    1000000000u /* bytes a second, where none is known */

/* What a decision is made from. */
struct plan_view {
	uint64_t elapsed_us;
	enum plan_unconverged unconverged;
	struct plan_model model;
	struct plan_course course; /* going on as now */
	double dirty;              /* pages */
	double aim, accept;        /* ns */
	double now;                /* blackout, if paused now */
	double left;               /* ns until the time limit; HUGE_VAL: none */
};

/* plan_learn.c: takes in a round and builds the model from what is known now. */
void plan_learn(struct plan *plan, const struct plan_inputs *inputs, struct plan_model *model);
void plan_model_costs(struct plan_model *model, const struct plan_costs *costs);
/* Bytes a second a round may use. */
double plan_bandwidth(const struct plan_limits *limits, uint64_t measured);

/* Sets the view's limits; and its course, once model and dirty pages are there. */
void plan_view_limits(struct plan_view *view, const struct plan_limits *limits,
		      uint64_t elapsed_us);
void plan_view_course(struct plan_view *view);

/* plan_say.c */
void plan_say_course(const struct plan_view *view, struct plan_output *output);
void plan_report(const struct plan_view *view, struct plan_output *output);
uint64_t plan_whole(double v); /* rounded down; what is out of all bounds becomes 10^15 */
uint64_t plan_us(double ns);

#endif
