/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "migrate/plan_view.h"

/* What is taken where nothing has been measured; two processes of one recent machine. */
#define PAUSE_US   300u
#define HARVEST_US 200u
#define STATE_US   400u
#define COMMIT_US  600u
#define RESUME_US  300u

void plan_init(struct plan *plan)
{
	*plan = (struct plan){
		.best = UINT64_MAX,
		.page_bytes = PLAN_RAW_BYTES,
		.overhead_ns = PLAN_OVERHEAD_NS,
	};
}

static double or_default(uint64_t us, unsigned guess)
{
	return 1e3 * (us ? (double)us : (double)guess);
}

void plan_model_costs(struct plan_model *model, const struct plan_costs *costs)
{
	double pause = or_default(costs->pause_us, PAUSE_US);
	double harvest = or_default(costs->harvest_us, HARVEST_US);

	model->pause_ns = pause;
	model->fixed_ns = pause + harvest + or_default(costs->state_us, STATE_US) +
			  or_default(costs->commit_us, COMMIT_US) +
			  or_default(costs->resume_us, RESUME_US);
}

/* Bytes a second a round may use. */
double plan_bandwidth(const struct plan_limits *limits, uint64_t measured)
{
	uint64_t bandwidth = measured ? measured : PLAN_BANDWIDTH;

	if (limits->bandwidth_cap && limits->bandwidth_cap < bandwidth)
		bandwidth = limits->bandwidth_cap;
	return (double)bandwidth;
}

/*
 * A price that has fallen by half is believed at once: that is deltas beginning to be used, in
 * the third round as a rule. What else moves it is averaged.
 */
static double learn_price(double before, double now)
{
	return now < before / 2 ? now : (before + now) / 2;
}

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
	plan->page_bytes =
		learn_price(plan->page_bytes, fmax((double)last->bytes / pages, 1));
	if (last->pages < 512 || last->duration_ns < 2000000)
		return;
	page_ns = fmax((double)last->duration_ns - plan->overhead_ns, 0) / pages;
	plan->page_ns = plan->page_ns > 0 ? learn_price(plan->page_ns, page_ns) : page_ns;
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
	plan->throttle[0] =
		inputs->throttle > PLAN_THROTTLE_MAX ? PLAN_THROTTLE_MAX : inputs->throttle;
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

void plan_learn(struct plan *plan, const struct plan_inputs *inputs, struct plan_model *model)
{
	double bandwidth = plan_bandwidth(&inputs->limits, inputs->bandwidth);
	struct plan_watch watch[PLAN_HISTORY] = { 0 };
	unsigned n;

	learn_costs(plan, &inputs->last);
	model->page_ns = plan->page_ns > 0 ? plan->page_ns : plan->page_bytes * 1e9 / bandwidth;
	learn_overhead(plan, &inputs->last, model->page_ns);
	learn_dirty(plan, inputs);
	plan_model_costs(model, &inputs->costs);
	model->overhead_ns = plan->overhead_ns;
	model->slow = plan->throttle[0] / 100.0;
	n = watches(plan, watch);
	plan_model_fit(model, watch, n, fmax((double)inputs->pages_total, watch[0].dirty));
}
