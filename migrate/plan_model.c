/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/plan_model.h"

#include <math.h>

/* Watches whose spans differ by less say nothing about saturation. */
#define SPAN_APART 1.5
/* Growth this near to that of time is noise. */
#define LINEAR 0.9
/* In the shorter span at most this many time constants: more cannot be told from noise. */
#define KNEE_MAX 3.0

/*
 * How often every page of the set is written, a ns: the x with which 1 - exp(-x span) grows
 * from the shorter watch to the longer as the pages did. 0: they grew with the time.
 */
static double fit_turnover(const struct plan_watch *shorter, const struct plan_watch *longer)
{
	double low = 0, high = KNEE_MAX / shorter->span;
	double growth = longer->dirty / shorter->dirty;

	if (growth >= LINEAR * longer->span / shorter->span)
		return 0;
	for (int i = 0; i < 50; i++) {
		double x = (low + high) / 2;

		if (expm1(-x * longer->span) / expm1(-x * shorter->span) > growth)
			low = x;
		else
			high = x;
	}
	return (low + high) / 2;
}

/*
 * Where no saturation shows: the newest watch's rate, evened out with those before it as
 * far as they agree, since convergence near the link's speed hangs on every percent.
 */
static double fit_rate(const struct plan_watch *watch, unsigned n)
{
	double newest = watch[0].dirty / watch[0].span, sum = newest;
	unsigned i;

	for (i = 1; i < n; i++) {
		double rate = watch[i].dirty / watch[i].span;

		if (fabs(rate - newest) > 0.25 * newest)
			break;
		sum += rate;
	}
	return sum / i;
}

/* The newest watch counts; the others only tell how it bends. */
void plan_model_fit(struct plan_model *model, const struct plan_watch *watch, unsigned n,
		    double total)
{
	double x = 0;

	model->rate = fit_rate(watch, n);
	model->set = total;
	for (unsigned i = 1; i < n; i++) {
		bool longer = watch[i].span >= SPAN_APART * watch[0].span;
		bool shorter = watch[i].span * SPAN_APART <= watch[0].span;

		if ((!longer && !shorter) || watch[i].dirty <= 0 || watch[0].dirty <= 0)
			continue;
		x = longer ? fit_turnover(&watch[0], &watch[i])
			   : fit_turnover(&watch[i], &watch[0]);
		break;
	}
	if (x > 0) {
		model->set = fmin(total, watch[0].dirty / -expm1(-x * watch[0].span));
		model->rate = model->set * x;
	}
}

double plan_model_dirty(const struct plan_model *model, double ns)
{
	double written = model->rate * (1 - model->slow) * ns;

	if (model->set <= 0 || written <= 0)
		return 0;
	return model->set * -expm1(-written / model->set);
}

double plan_model_round(const struct plan_model *model, double dirty)
{
	return model->overhead_ns + dirty * model->page_ns;
}

double plan_model_blackout(const struct plan_model *model, double dirty)
{
	double most = fmax(dirty, model->set);
	double last = fmin(most, dirty + plan_model_dirty(model, model->pause_ns));

	return model->fixed_ns + last * model->page_ns;
}

/*
 * Above the aim any real progress is worth a round. Below it, a round must still take a
 * fifth off the blackout, and not take long for what it gains: the guest pays for the time
 * with tracking, the hosts with work, the operator with waiting.
 */
#define GAIN_ABOVE   0.03
#define GAIN_BELOW   0.20
#define GAIN_LEAST   100e3 /* ns */
#define ROUND_A_GAIN 16.0  /* ns of a round a ns of blackout may cost */

bool plan_model_worth(const struct plan_model *model, double dirty, double aim)
{
	double round = plan_model_round(model, dirty);
	double now = plan_model_blackout(model, dirty);
	double gain = now - plan_model_blackout(model, plan_model_dirty(model, round));

	if (now > aim)
		return gain > fmax(GAIN_ABOVE * now, GAIN_LEAST / 2);
	return gain > fmax(GAIN_BELOW * now, GAIN_LEAST) && round < ROUND_A_GAIN * gain;
}

#define ROUNDS_MAX 60u

struct plan_course plan_model_run(const struct plan_model *model, double dirty, double aim)
{
	struct plan_course course = { .rounds = 1 };

	while (course.rounds < ROUNDS_MAX && plan_model_worth(model, dirty, aim)) {
		double round = plan_model_round(model, dirty);

		course.ns += round;
		course.rounds++;
		dirty = plan_model_dirty(model, round);
	}
	course.blackout = plan_model_blackout(model, dirty);
	course.ns += course.blackout;
	return course;
}

unsigned plan_model_throttle(const struct plan_model *model, double dirty, double aim,
			     unsigned from)
{
	struct plan_model throttled = *model;

	for (unsigned percent = from + 1; percent < 100; percent++) {
		throttled.slow = percent / 100.0;
		if (plan_model_run(&throttled, dirty, aim).blackout <= aim)
			return percent;
	}
	return 100;
}
