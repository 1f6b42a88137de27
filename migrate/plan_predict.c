/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "migrate/plan_view.h"

static void guess_model(const struct plan_guess *guess, struct plan_model *model)
{
	double bandwidth = plan_bandwidth(&guess->limits, guess->bandwidth);
	struct plan_watch watch[2];
	unsigned n = 0;

	if (guess->link && (double)guess->link < bandwidth)
		bandwidth = (double)guess->link;

	/* The newest counts most: the shorter span is nearer to what late rounds will see. */
	for (unsigned i = 0; i < 2; i++) {
		if (guess->interval_ns[i] == 0)
			continue;
		watch[n++] = (struct plan_watch){
			.dirty = (double)guess->dirty[i],
			.span = (double)guess->interval_ns[i],
		};
	}
	*model = (struct plan_model){ .page_ns = PLAN_RAW_BYTES * 1e9 / bandwidth,
				      .overhead_ns = PLAN_OVERHEAD_NS };
	plan_model_costs(model, &guess->costs);
	if (n)
		plan_model_fit(model, watch, n, (double)guess->pages_total);
}

static void predict_verdict(const struct plan_guess *guess, struct plan_view *view,
			    struct plan_output *output)
{
	output->verdict = PLAN_SWITCH;
	if (view->course.blackout <= view->aim)
		return;
	if (guess->limits.unconverged == PLAN_UNCONVERGED_THROTTLE) {
		output->throttle = plan_model_throttle(&view->model, view->dirty, view->aim, 0);
		if (output->throttle > PLAN_THROTTLE_MAX)
			output->throttle = PLAN_THROTTLE_MAX;
		output->verdict = PLAN_THROTTLE;
		view->model.slow = output->throttle / 100.0;
		plan_view_course(view);
	} else if (view->course.blackout > view->accept) {
		output->verdict = PLAN_GIVE_UP;
	}
}

static void say_more(struct plan_output *output, const char *words)
{
	size_t used = strlen(output->words);

	snprintf(output->words + used, sizeof(output->words) - used, "%s", words);
}

static void predict_say_link(const struct plan_guess *guess, struct plan_output *output)
{
	char words[64];

	if (guess->bandwidth || guess->limits.bandwidth_cap)
		return;
	if (!guess->link) {
		say_more(output, " (bandwidth unknown, 1 GB/s assumed)");
	} else if (guess->link >= PLAN_BANDWIDTH) {
		say_more(output, " (the link carries more than the 1 GB/s taken for a monitor)");
	} else {
		snprintf(words, sizeof(words), " (the link carries %.1f MiB/s)",
			 (double)guess->link / (1 << 20));
		say_more(output, words);
	}
}

static void predict_say(const struct plan_guess *guess, const struct plan_view *view,
			struct plan_output *output)
{
	plan_say_course(view, output);
	if (view->course.ns > view->left)
		snprintf(output->words, sizeof(output->words),
			 "would take %.2f s, the time limit is %.2f s", view->course.ns / 1e9,
			 view->left / 1e9);
	if (!output->converges) /* what is written again and again often goes in a few bytes */
		say_more(output, ", were pages sent whole");
	predict_say_link(guess, output);
}

void plan_predict(const struct plan_guess *guess, struct plan_output *output)
{
	double used = (double)(guess->pages_used ? guess->pages_used : guess->pages_total);
	struct plan_view view = { 0 };
	double first;

	*output = (struct plan_output){ 0 };
	plan_view_limits(&view, &guess->limits, 0);
	guess_model(guess, &view.model);
	/* The first round is sent whatever it gains. */
	first = plan_model_round(&view.model, used);
	view.dirty = plan_model_dirty(&view.model, first);
	plan_view_course(&view);
	predict_verdict(guess, &view, output);
	view.course.ns += first;
	output->converges = view.course.blackout <= view.accept && view.course.ns <= view.left;
	if (view.course.ns > view.left && output->verdict != PLAN_THROTTLE)
		output->verdict = PLAN_GIVE_UP;
	output->rounds_left = view.course.rounds + 1;
	output->blackout_us = plan_us(view.course.blackout);
	output->total_us = plan_us(view.course.ns);
	output->dirty_rate = plan_whole(view.model.rate * 1e9);
	predict_say(guess, &view, output);
}
