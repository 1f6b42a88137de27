/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "migrate/plan_model.h"

/* On the wire, of a page as it is: with its share of table and header. */
#define RAW_PAGE_BYTES 4112.0
#define BANDWIDTH_GUESS 1000000000u

/* What is taken where nothing has been measured; two processes of one recent machine. */
#define PAUSE_US    300u
#define HARVEST_US  200u
#define STATE_US    400u
#define COMMIT_US   600u
#define RESUME_US   300u
#define OVERHEAD_NS 1e6

#define HOPELESS_ROUNDS 2u  /* predictions in a row before a move is given up */
#define STUCK_ROUNDS    3u  /* without progress, before what is had is the best to be had */
#define TRY_ROUNDS      8u  /* the same when the operator said to keep trying */
#define ROUNDS_ENOUGH   40u /* below the aim no more than that many */
#define THROTTLE_MAX    99u

void plan_init(struct plan *plan)
{
	*plan = (struct plan){
		.best = UINT64_MAX,
		.page_bytes = RAW_PAGE_BYTES,
		.overhead_ns = OVERHEAD_NS,
	};
}

static double or_default(uint64_t us, unsigned guess)
{
	return 1e3 * (us ? (double)us : (double)guess);
}

static void model_costs(struct plan_model *model, const struct plan_costs *costs)
{
	double pause = or_default(costs->pause_us, PAUSE_US);
	double harvest = or_default(costs->harvest_us, HARVEST_US);

	model->pause_ns = pause;
	model->fixed_ns = pause + harvest + or_default(costs->state_us, STATE_US) +
			  or_default(costs->commit_us, COMMIT_US) +
			  or_default(costs->resume_us, RESUME_US);
}

/* Bytes a second a round may use. */
static double usable_bandwidth(const struct plan_limits *limits, uint64_t measured)
{
	uint64_t bandwidth = measured ? measured : BANDWIDTH_GUESS;

	if (limits->bandwidth_cap && limits->bandwidth_cap < bandwidth)
		bandwidth = limits->bandwidth_cap;
	return (double)bandwidth;
}

static double aim_ns(const struct plan_limits *limits)
{
	return or_default(limits->downtime_us, PLAN_DOWNTIME_US);
}

static double accept_ns(const struct plan_limits *limits)
{
	return or_default(limits->downtime_us, PLAN_PATIENCE_US);
}

/* ---- what rounds teach ---- */

/*
 * Round 1 is no example: it is the whole memory, holes and never-used pages and all. From
 * the later ones come a page's price (large rounds) and a round's overhead (small ones).
 */
static void learn_costs(struct plan *plan, const struct plan_round *last)
{
	double pages = (double)last->pages;
	double page_ns;

	if (plan->rounds == 0 || last->pages == 0)
		return;
	plan->page_bytes += (fmax((double)last->bytes / pages, 1) - plan->page_bytes) / 2;
	if (last->pages < 512 || last->duration_ns < 2000000)
		return;
	page_ns = fmax((double)last->duration_ns - plan->overhead_ns, 0) / pages;
	plan->page_ns = plan->page_ns > 0 ? (plan->page_ns + page_ns) / 2 : page_ns;
}

static void learn_overhead(struct plan *plan, const struct plan_round *last, double page_ns)
{
	double expected = (double)last->pages * page_ns;
	double rest = (double)last->interval_ns - expected;

	if (plan->rounds == 0 || expected > 5e6)
		return;
	plan->overhead_ns += (fmin(fmax(rest, 20e3), 100e6) - plan->overhead_ns) / 2;
}

static void learn_dirty(struct plan *plan, const struct plan_inputs *inputs)
{
	size_t keep = PLAN_HISTORY - 1;

	memmove(plan->history + 1, plan->history, keep * sizeof(plan->history[0]));
	memmove(plan->throttle + 1, plan->throttle, keep * sizeof(plan->throttle[0]));
	plan->history[0] = inputs->last;
	plan->throttle[0] = inputs->throttle > THROTTLE_MAX ? THROTTLE_MAX : inputs->throttle;
	if (plan->rounds && (double)inputs->last.dirty > 0.95 * (double)plan->best)
		plan->stuck++;
	else
		plan->stuck = 0;
	if (inputs->last.dirty < plan->best)
		plan->best = inputs->last.dirty;
	plan->rounds++;
}

static unsigned watches(const struct plan *plan, struct plan_watch *watch)
{
	unsigned n = plan->rounds < PLAN_HISTORY ? plan->rounds : PLAN_HISTORY;

	for (unsigned i = 0; i < n; i++) {
		double span = fmax((double)plan->history[i].interval_ns, 1);

		watch[i].dirty = (double)plan->history[i].dirty;
		watch[i].span = span * (100 - plan->throttle[i]) / 100;
	}
	return n;
}

static void model_build(struct plan *plan, const struct plan_inputs *inputs,
			struct plan_model *model)
{
	double bandwidth = usable_bandwidth(&inputs->limits, inputs->bandwidth);
	struct plan_watch watch[PLAN_HISTORY];
	unsigned n;

	learn_costs(plan, &inputs->last);
	model->page_ns = plan->page_ns > 0 ? plan->page_ns :
					     plan->page_bytes * 1e9 / bandwidth;
	learn_overhead(plan, &inputs->last, model->page_ns);
	learn_dirty(plan, inputs);
	model_costs(model, &inputs->costs);
	model->overhead_ns = plan->overhead_ns;
	model->slow = plan->throttle[0] / 100.0;
	n = watches(plan, watch);
	plan_model_fit(model, watch, n, fmax((double)inputs->pages_total, watch[0].dirty));
}

/* ---- what to do about it ---- */

/* What a decision is made from. */
struct view {
	const struct plan_inputs *inputs;
	struct plan_model model;
	struct plan_course course; /* going on as now */
	double dirty;              /* pages */
	double aim, accept;        /* ns */
	double now;                /* blackout, if paused now */
	double left;               /* ns until the time limit; HUGE_VAL: none */
};

static void view_course(struct view *view)
{
	view->course = plan_model_run(&view->model, view->dirty, view->aim);
}

static void view_make(struct plan *plan, const struct plan_inputs *inputs, struct view *view)
{
	const struct plan_limits *limits = &inputs->limits;

	*view = (struct view){
		.inputs = inputs,
		.dirty = (double)inputs->last.dirty,
		.aim = aim_ns(limits),
		.accept = accept_ns(limits),
		.left = HUGE_VAL,
	};
	model_build(plan, inputs, &view->model);
	view->now = plan_model_blackout(&view->model, view->dirty);
	if (limits->time_limit_us)
		view->left = 1e3 * ((double)limits->time_limit_us - (double)inputs->elapsed_us);
	view_course(view);
}

/* At a standstill: this is what can be had. Not on a peak: near the best seen. */
static bool at_floor(const struct plan *plan, const struct view *view, unsigned rounds)
{
	if (!plan_model_worth(&view->model, view->dirty, view->aim) && plan->rounds >= 2)
		return view->dirty <= 1.25 * (double)plan->best || plan->stuck >= rounds;
	return plan->stuck >= rounds;
}

/* The blackout wanted can be had now: is there a better one to be had cheaply? */
static enum plan_verdict decide_below(const struct plan *plan, const struct view *view)
{
	double round = plan_model_round(&view->model, view->dirty);

	if (plan->stuck > 0 || plan->rounds >= ROUNDS_ENOUGH || round > view->left ||
	    !plan_model_worth(&view->model, view->dirty, view->aim))
		return PLAN_SWITCH;
	return PLAN_CONTINUE;
}

static enum plan_verdict decide_give_up(struct plan *plan, const struct view *view)
{
	if (view->course.blackout <= view->accept) {
		plan->hopeless = 0;
		if (view->now <= view->accept && at_floor(plan, view, STUCK_ROUNDS))
			return PLAN_SWITCH;
	} else {
		plan->hopeless++;
	}
	if (plan->hopeless >= HOPELESS_ROUNDS)
		return PLAN_GIVE_UP;
	if (plan->stuck >= TRY_ROUNDS) /* the model says it would, the guest says otherwise */
		return view->now <= view->accept ? PLAN_SWITCH : PLAN_GIVE_UP;
	return PLAN_CONTINUE;
}

static enum plan_verdict decide_keep_trying(const struct plan *plan, const struct view *view)
{
	if (view->now <= view->accept && at_floor(plan, view, TRY_ROUNDS) &&
	    plan->stuck >= TRY_ROUNDS)
		return PLAN_SWITCH;
	return PLAN_CONTINUE;
}

/*
 * Throttling is raised to what the model says will do, and further where the guest did not
 * follow the model. The second round is the first that can be believed.
 */
static enum plan_verdict decide_throttle(struct plan *plan, struct view *view,
					 unsigned *ret_percent)
{
	unsigned now = plan->throttle[0];
	unsigned percent;

	if ((view->course.blackout <= view->aim && plan->stuck < STUCK_ROUNDS) ||
	    plan->rounds < 2)
		return PLAN_CONTINUE;
	if (now >= THROTTLE_MAX)
		return at_floor(plan, view, STUCK_ROUNDS) ? decide_give_up(plan, view) :
							    PLAN_CONTINUE;
	percent = plan_model_throttle(&view->model, view->dirty, view->aim, now);
	if (percent < now + 10)
		percent = now + 10;
	if (percent > THROTTLE_MAX)
		percent = THROTTLE_MAX;
	plan->stuck = 0;
	*ret_percent = percent;
	view->model.slow = percent / 100.0;
	view_course(view);
	return PLAN_THROTTLE;
}

static enum plan_verdict decide(struct plan *plan, struct view *view, unsigned *ret_percent)
{
	if (view->left <= 0)
		return view->now <= view->accept ? PLAN_SWITCH : PLAN_GIVE_UP;
	if (view->now <= view->aim)
		return decide_below(plan, view);
	switch (view->inputs->limits.unconverged) {
	case PLAN_UNCONVERGED_KEEP_TRYING:
		return decide_keep_trying(plan, view);
	case PLAN_UNCONVERGED_THROTTLE:
		return decide_throttle(plan, view, ret_percent);
	case PLAN_UNCONVERGED_GIVE_UP:
	default:
		return decide_give_up(plan, view);
	}
}

/* ---- saying so ---- */

static double mib(double pages)
{
	return pages * 4096 / (1 << 20);
}

static void say_course(const struct view *view, struct plan_output *output)
{
	double rate = view->model.rate * 1e9;
	const char *verb = output->verdict == PLAN_THROTTLE ? "throttled, " : "";

	if (output->converges)
		snprintf(output->words, sizeof(output->words),
			 "%.0f MiB dirty, %.0f MiB/s being written; %sblackout about %.1f ms "
			 "in %.2f s",
			 mib(view->dirty), mib(rate), verb, view->course.blackout / 1e6,
			 view->course.ns / 1e9);
	else
		snprintf(output->words, sizeof(output->words),
			 "does not converge: %.0f MiB/s written in a working set of %.0f MiB, "
			 "%.0f MiB/s sent; %sblackout would be %.1f ms, %.1f ms allowed",
			 mib(rate), mib(view->model.set), mib(1e9 / view->model.page_ns), verb,
			 view->course.blackout / 1e6, view->accept / 1e6);
}

static void say(const struct view *view, struct plan_output *output)
{
	if (output->verdict == PLAN_SWITCH)
		snprintf(output->words, sizeof(output->words),
			 "switching over with %.0f pages dirty: blackout about %.1f ms",
			 view->dirty, view->now / 1e6);
	else if (output->verdict == PLAN_GIVE_UP && view->left <= 0)
		snprintf(output->words, sizeof(output->words),
			 "time is up; switching over now would take %.1f ms, %.1f ms allowed",
			 view->now / 1e6, view->accept / 1e6);
	else if (output->converges && view->course.ns > view->left)
		snprintf(output->words, sizeof(output->words),
			 "would take %.2f s more, the time limit leaves %.2f s",
			 view->course.ns / 1e9, view->left / 1e9);
	else
		say_course(view, output);
}

/* Predictions may be beyond all bounds; what is not a number counts as that, too. */
static uint64_t to_whole(double v)
{
	if (!(v < 1e15))
		return (uint64_t)1e15;
	return v > 0 ? (uint64_t)v : 0;
}

static uint64_t to_us(double ns)
{
	return to_whole(ns / 1e3);
}

static void report(const struct view *view, struct plan_output *output)
{
	double blackout = view->course.blackout;
	double rest = view->course.ns;

	if (output->verdict == PLAN_SWITCH)
		blackout = rest = view->now;
	output->rounds_left = output->verdict == PLAN_SWITCH ? 1 : view->course.rounds;
	output->blackout_us = to_us(blackout);
	output->total_us = view->inputs->elapsed_us + to_us(rest);
	output->dirty_rate = to_whole(view->model.rate * 1e9);
	output->converges = blackout <= view->accept;
	say(view, output);
	if (rest > view->left && output->verdict != PLAN_SWITCH)
		output->converges = false;
}

void plan_step(struct plan *plan, const struct plan_inputs *inputs, struct plan_output *output)
{
	struct view view;

	*output = (struct plan_output){ 0 };
	view_make(plan, inputs, &view);
	output->throttle = plan->throttle[0];
	output->verdict = decide(plan, &view, &output->throttle);
	report(&view, output);
}

/* ---- before anything is sent ---- */

static void guess_model(const struct plan_guess *guess, struct plan_model *model)
{
	double bandwidth = usable_bandwidth(&guess->limits, guess->bandwidth);
	struct plan_watch watch[2];
	unsigned n = 0;

	/* The newest counts most: the shorter span is nearer to what late rounds will see. */
	for (unsigned i = 0; i < 2; i++) {
		if (guess->interval_ns[i] == 0)
			continue;
		watch[n++] = (struct plan_watch){
			.dirty = (double)guess->dirty[i],
			.span = (double)guess->interval_ns[i],
		};
	}
	*model = (struct plan_model){ .page_ns = RAW_PAGE_BYTES * 1e9 / bandwidth,
				      .overhead_ns = OVERHEAD_NS };
	model_costs(model, &guess->costs);
	if (n)
		plan_model_fit(model, watch, n, (double)guess->pages_total);
}

static void predict_verdict(const struct plan_guess *guess, struct view *view,
			    struct plan_output *output)
{
	output->verdict = PLAN_SWITCH;
	if (view->course.blackout <= view->aim)
		return;
	if (guess->limits.unconverged == PLAN_UNCONVERGED_THROTTLE) {
		output->throttle = plan_model_throttle(&view->model, view->dirty, view->aim, 0);
		if (output->throttle > THROTTLE_MAX)
			output->throttle = THROTTLE_MAX;
		output->verdict = PLAN_THROTTLE;
		view->model.slow = output->throttle / 100.0;
		view_course(view);
	} else if (view->course.blackout > view->accept) {
		output->verdict = PLAN_GIVE_UP;
	}
}

static void predict_say(const struct plan_guess *guess, const struct view *view,
			struct plan_output *output)
{
	size_t used;

	say_course(view, output);
	if (view->course.ns > view->left)
		snprintf(output->words, sizeof(output->words),
			 "would take %.2f s, the time limit is %.2f s", view->course.ns / 1e9,
			 view->left / 1e9);
	used = strlen(output->words);
	if (guess->bandwidth == 0)
		snprintf(output->words + used, sizeof(output->words) - used,
			 " (bandwidth unknown, 1 GB/s assumed)");
}

void plan_predict(const struct plan_guess *guess, struct plan_output *output)
{
	const struct plan_limits *limits = &guess->limits;
	double used = (double)(guess->pages_used ? guess->pages_used : guess->pages_total);
	struct view view = { .aim = aim_ns(limits), .accept = accept_ns(limits) };
	double first;

	*output = (struct plan_output){ 0 };
	guess_model(guess, &view.model);
	view.left = limits->time_limit_us ? 1e3 * (double)limits->time_limit_us : HUGE_VAL;
	/* The first round is sent whatever it gains. */
	first = plan_model_round(&view.model, used);
	view.dirty = plan_model_dirty(&view.model, first);
	view_course(&view);
	predict_verdict(guess, &view, output);
	view.course.ns += first;
	output->converges = view.course.blackout <= view.accept && view.course.ns <= view.left;
	if (view.course.ns > view.left && output->verdict != PLAN_THROTTLE)
		output->verdict = PLAN_GIVE_UP;
	output->rounds_left = view.course.rounds + 1;
	output->blackout_us = to_us(view.course.blackout);
	output->total_us = to_us(view.course.ns);
	output->dirty_rate = to_whole(view.model.rate * 1e9);
	predict_say(guess, &view, output);
}
