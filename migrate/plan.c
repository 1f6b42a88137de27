/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/plan.h"

#include <math.h>

#include "migrate/plan_view.h"

#define HOPELESS_ROUNDS 2u  /* predictions in a row before a move is given up */
/*
 * The second round is the first of pages that were sent before, and has them remembered; not
 * until the third is it seen what they cost as differences.
 */
#define PRICED_ROUNDS 3u
#define STUCK_ROUNDS    3u  /* without progress, before what is had is the best to be had */
#define TRY_ROUNDS      8u  /* the same when the operator said to keep trying */
#define ROUNDS_ENOUGH   40u /* below the aim no more than that many */

void plan_view_course(struct plan_view *view)
{
	view->course = plan_model_run(&view->model, view->dirty, view->aim);
}

void plan_view_limits(struct plan_view *view, const struct plan_limits *limits,
		      uint64_t elapsed_us)
{
	double limit = 1e3 * ((double)limits->time_limit_us - (double)elapsed_us);

	view->elapsed_us = elapsed_us;
	view->unconverged = limits->unconverged;
	view->aim =
		1e3 * (double)(limits->downtime_us ? limits->downtime_us : PLAN_DOWNTIME_US);
	view->accept =
		1e3 * (double)(limits->downtime_us ? limits->downtime_us : PLAN_PATIENCE_US);
	view->left = limits->time_limit_us ? limit : HUGE_VAL;
}

static void view_make(struct plan *plan, const struct plan_inputs *inputs,
		      struct plan_view *view)
{
	*view = (struct plan_view){ .dirty = (double)inputs->last.dirty };
	plan_view_limits(view, &inputs->limits, inputs->elapsed_us);
	plan_learn(plan, inputs, &view->model);
	view->now = plan_model_blackout(&view->model, view->dirty);
	plan_view_course(view);
}

/* At a standstill: this is what can be had. Not on a peak: near the best seen. */
static bool at_floor(const struct plan *plan, const struct plan_view *view, unsigned rounds)
{
	if (!plan_model_worth(&view->model, view->dirty, view->aim) && plan->rounds >= 2)
		return view->dirty <= 1.25 * (double)plan->best || plan->stuck >= rounds;
	return plan->stuck >= rounds;
}

/* The blackout wanted can be had now: is there a better one to be had cheaply? */
static enum plan_verdict decide_below(const struct plan *plan, const struct plan_view *view)
{
	double round = plan_model_round(&view->model, view->dirty);

	if (plan->stuck > 0 || plan->rounds >= ROUNDS_ENOUGH || round > view->left ||
	    !plan_model_worth(&view->model, view->dirty, view->aim))
		return PLAN_SWITCH;
	return PLAN_CONTINUE;
}

static enum plan_verdict decide_give_up(struct plan *plan, const struct plan_view *view)
{
	if (view->course.blackout <= view->accept) {
		plan->hopeless = 0;
		if (view->now <= view->accept && at_floor(plan, view, STUCK_ROUNDS))
			return PLAN_SWITCH;
	} else if (plan->rounds >= PRICED_ROUNDS) {
		plan->hopeless++;
	}
	if (plan->hopeless >= HOPELESS_ROUNDS)
		return PLAN_GIVE_UP;
	if (plan->stuck >= TRY_ROUNDS) /* the model says it would, the guest says otherwise */
		return view->now <= view->accept ? PLAN_SWITCH : PLAN_GIVE_UP;
	return PLAN_CONTINUE;
}

static enum plan_verdict decide_keep_trying(const struct plan *plan,
					    const struct plan_view *view)
{
	if (view->now <= view->accept && at_floor(plan, view, TRY_ROUNDS) &&
	    plan->stuck >= TRY_ROUNDS)
		return PLAN_SWITCH;
	return PLAN_CONTINUE;
}

/*
 * Throttling is raised to what the model says will do, and further where the guest did not
 * follow the model.
 */
static enum plan_verdict decide_throttle(struct plan *plan, struct plan_view *view,
					 unsigned *ret_percent)
{
	unsigned now = plan->throttle[0];
	unsigned percent;

	if ((view->course.blackout <= view->aim && plan->stuck < STUCK_ROUNDS) ||
	    plan->rounds < PRICED_ROUNDS)
		return PLAN_CONTINUE;
	if (now >= PLAN_THROTTLE_MAX)
		return at_floor(plan, view, STUCK_ROUNDS) ? decide_give_up(plan, view)
							  : PLAN_CONTINUE;
	percent = plan_model_throttle(&view->model, view->dirty, view->aim, now);
	if (percent < now + 10)
		percent = now + 10;
	if (percent > PLAN_THROTTLE_MAX)
		percent = PLAN_THROTTLE_MAX;
	plan->stuck = 0;
	*ret_percent = percent;
	view->model.slow = percent / 100.0;
	plan_view_course(view);
	return PLAN_THROTTLE;
}

static enum plan_verdict decide(struct plan *plan, struct plan_view *view,
				unsigned *ret_percent)
{
	if (view->left <= 0)
		return view->now <= view->accept ? PLAN_SWITCH : PLAN_GIVE_UP;
	if (view->now <= view->aim)
		return decide_below(plan, view);
	switch (view->unconverged) {
	case PLAN_UNCONVERGED_KEEP_TRYING:
		return decide_keep_trying(plan, view);
	case PLAN_UNCONVERGED_THROTTLE:
		return decide_throttle(plan, view, ret_percent);
	case PLAN_UNCONVERGED_GIVE_UP:
	default:
		return decide_give_up(plan, view);
	}
}

void plan_step(struct plan *plan, const struct plan_inputs *inputs, struct plan_output *output)
{
	struct plan_view view;

	*output = (struct plan_output){ 0 };
	view_make(plan, inputs, &view);
	output->throttle = plan->throttle[0];
	output->verdict = decide(plan, &view, &output->throttle);
	plan_report(&view, output);
}
