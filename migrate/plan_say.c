/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "migrate/plan_view.h"

static double mib(double pages)
{
	return pages * 4096 / (1 << 20);
}

void plan_say_course(const struct plan_view *view, struct plan_output *output)
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

static void say(const struct plan_view *view, struct plan_output *output)
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
		plan_say_course(view, output);
}

/* Predictions may be beyond all bounds; what is not a number counts as that, too. */
uint64_t plan_whole(double v)
{
	if (!(v < 1e15))
		return (uint64_t)1e15;
	return v > 0 ? (uint64_t)v : 0;
}

uint64_t plan_us(double ns)
{
	return plan_whole(ns / 1e3);
}

void plan_report(const struct plan_view *view, struct plan_output *output)
{
	double blackout = view->course.blackout;
	double rest = view->course.ns;

	if (output->verdict == PLAN_SWITCH)
		blackout = rest = view->now;
	output->rounds_left = output->verdict == PLAN_SWITCH ? 1 : view->course.rounds;
	output->blackout_us = plan_us(blackout);
	output->total_us = view->elapsed_us + plan_us(rest);
	output->dirty_rate = plan_whole(view->model.rate * 1e9);
	output->converges = blackout <= view->accept;
	say(view, output);
	if (rest > view->left && output->verdict != PLAN_SWITCH)
		output->converges = false;
}
