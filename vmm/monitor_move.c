/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/monitor_internal.h"

/* A monitor's moves: the migration's thread is started here and its end taken in. */

static void on_progress(void *context)
{
	struct mover *mover = context;
	struct monitor *monitor = mover->log_context;

	uv_async_send(&monitor->moved);
}

static void *send_thread(void *context)
{
	struct monitor *monitor = context;

	pthread_setname_np(pthread_self(), "migrate");
	monitor->out.end = sender_run(monitor->sender, &monitor->out.error);
	atomic_store(&monitor->out.ended, true);
	uv_async_send(&monitor->moved);
	return NULL;
}

static void *receive_thread(void *context)
{
	struct monitor *monitor = context;

	pthread_setname_np(pthread_self(), "migrate");
	monitor->in.end = receiver_run(monitor->receiver, &monitor->in.error);
	atomic_store(&monitor->in.ended, true);
	uv_async_send(&monitor->moved);
	return NULL;
}

static void on_running(void *context)
{
	struct monitor *monitor = context;

	atomic_store(&monitor->arrived, true);
	uv_async_send(&monitor->moved);
}

static int thread_start(struct monitor *monitor, struct monitor_move *move,
			void *(*run)(void *), struct error *err)
{
	int r;

	atomic_store(&move->ended, false);
	move->error = (struct error){0};
	r = pthread_create(&move->thread, NULL, run, monitor);
	if (r)
		return error_system(err, -r, "cannot start the migration's thread");
	move->active = true;
	monitor->has_progress = true;
	return 0;
}

static bool thread_over(struct monitor_move *move)
{
	if (!move->active || !atomic_load(&move->ended))
		return false;
	pthread_join(move->thread, NULL);
	move->active = false;
	return true;
}

/* ---- out ---- */

static const char *outcome_of(const struct monitor *monitor)
{
	if (monitor->out.end == SW_MOVED)
		return "moved";
	if (monitor->dry_run && !monitor->out.error.code)
		return "predicted";
	return monitor->out.error.code == -ECANCELED ? "cancelled" : "failed";
}

static void answer_move(struct monitor *monitor, const char *outcome, const struct error *err)
{
	Segue__MoveReply move = SEGUE__MOVE_REPLY__INIT;
	Segue__Reply reply = SEGUE__REPLY__INIT;

	if (!monitor->move_waiter.client)
		return;
	move.outcome = (char *)(uintptr_t)outcome;
	move.progress = &monitor->progress.progress;
	reply.of_case = SEGUE__REPLY__OF_MOVE;
	reply.move = &move;
	reply.error = err->code;
	reply.text = (char *)(uintptr_t)err->text;
	control_reply(monitor->move_waiter.client, monitor->move_waiter.id, &reply);
	monitor->move_waiter.client = NULL;
}

static void sent(struct monitor *monitor)
{
	struct error none = {0};
	bool moved = monitor->out.end == SW_MOVED;

	monitor->doubt[0] = '\0';
	answer_move(monitor, outcome_of(monitor), moved ? &none : &monitor->out.error);
	if (monitor->recover_waiter.client)
		control_answer(monitor->recover_waiter.client, monitor->recover_waiter.id, &none);
	monitor->recover_waiter.client = NULL;
	sender_destroy(monitor->sender);
	monitor->sender = NULL;
	if (monitor->quitting)
		return;
	if (moved) {
		monitor_state(monitor, SEGUE__RUN_STATE__RUN_STATE_MOVED, "the guest runs elsewhere");
		monitor_quit(monitor);
		return;
	}
	monitor_state(monitor, monitor->mover.held ? SEGUE__RUN_STATE__RUN_STATE_PAUSED
						   : SEGUE__RUN_STATE__RUN_STATE_RUNNING,
		      monitor->out.error.code ? monitor->out.error.text : "the move was not made");
}

/* ---- in ---- */

static void arrived(struct monitor *monitor)
{
	monitor_state(monitor, monitor->mover.held ? SEGUE__RUN_STATE__RUN_STATE_PAUSED
						   : SEGUE__RUN_STATE__RUN_STATE_RUNNING,
		      "the guest has moved here");
	machine_announce(monitor->machine);
}

static void received(struct monitor *monitor)
{
	bool running = monitor->in.end == SW_RUNNING;

	receiver_destroy(monitor->receiver);
	monitor->receiver = NULL;
	monitor->has_progress = monitor->sender != NULL;
	if (running || monitor->quitting)
		return;
	monitor_over(monitor, SEGUE__RUN_STATE__RUN_STATE_STOPPED, monitor->in.error.text);
}

/* ---- while it lasts ---- */

static Segue__RunState state_of(const struct monitor *monitor, enum switchover_state state)
{
	switch (state) {
	case SW_DRAINING:
	case SW_OFFERED:
	case SW_GRANTED:
	case SW_ASKING:
		return SEGUE__RUN_STATE__RUN_STATE_SWITCHING;
	case SW_DOUBT:
		return SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT;
	case SW_CONNECTING:
	case SW_PRECOPY:
		return SEGUE__RUN_STATE__RUN_STATE_MOVING;
	default:
		return monitor->state;
	}
}

static void enter_doubt(struct monitor *monitor)
{
	struct error err = {0};

	sender_doubt(monitor->sender, monitor->doubt, sizeof(monitor->doubt));
	error_set(&err, -EOWNERDEAD, "%s", monitor->doubt);
	monitor_log(monitor, monitor->doubt);
	answer_move(monitor, "in-doubt", &err);
}

static void look_out(struct monitor *monitor)
{
	enum switchover_state now = sender_state(monitor->sender);
	Segue__RunState was = monitor->state;

	sender_look(monitor->sender, &monitor->progress);
	if (!monitor->dry_run)
		monitor->state = state_of(monitor, now);
	if (monitor->state == SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT && was != monitor->state)
		enter_doubt(monitor);
	monitor_event(monitor, "");
}

static void on_moved(uv_async_t *async)
{
	struct monitor *monitor = async->data;

	if (atomic_exchange(&monitor->arrived, false))
		arrived(monitor);
	if (monitor->sender)
		look_out(monitor);
	if (thread_over(&monitor->out))
		sent(monitor);
	if (thread_over(&monitor->in))
		received(monitor);
	if (monitor->quitting)
		monitor_quit(monitor);
}

int monitor_move_init(struct monitor *monitor, struct error *err)
{
	int r = mover_init(&monitor->mover, monitor->machine, monitor->guest->name, on_progress,
			   err);

	if (r)
		return r;
	monitor->mover.log = monitor_log;
	monitor->mover.log_context = monitor;
	monitor->moved.data = monitor;
	return uv_async_init(monitor->loop, &monitor->moved, on_moved);
}

int monitor_receive(struct monitor *monitor, const char *listen, struct error *err)
{
	struct receiver_options options = {
		.listen = listen,
		.trace = monitor_log,
		.trace_context = monitor,
		.running = on_running,
		.running_context = monitor,
	};

	return receiver_create(&options, &monitor->mover.guest, &monitor->journal,
			       &monitor->receiver, err);
}

int monitor_receive_start(struct monitor *monitor, struct error *err)
{
	return thread_start(monitor, &monitor->in, receive_thread, err);
}

static int send_options(struct monitor *monitor, const Segue__MoveRequest *request,
			struct sender_options *options, struct error *err)
{
	*options = (struct sender_options){
		.to = request->to,
		.channels = request->channels,
		.limits = {
			.downtime_us = request->downtime_us,
			.time_limit_us = (uint64_t)request->time_limit_s * 1000000u,
			.bandwidth_cap = request->bandwidth,
			.unconverged = (enum plan_unconverged)request->unconverged,
		},
		.dry_run = request->dry_run,
		.record = *request->record ? request->record : NULL,
		.trace = monitor_log,
		.trace_context = monitor,
	};
	if (request->unconverged > SEGUE__UNCONVERGED__UNCONVERGED_THROTTLE)
		return error_set(err, -EINVAL, "no such answer to a guest that does not converge");
	return codec_mode_parse(request->compression, &options->codec, err);
}

int monitor_send(struct monitor *monitor, const Segue__MoveRequest *request, struct error *err)
{
	struct sender_options options;
	int r = send_options(monitor, request, &options, err);

	if (!r)
		r = sender_create(&options, &monitor->mover.guest, &monitor->journal,
				  &monitor->sender, err);
	if (r)
		return r;
	monitor->dry_run = request->dry_run;
	sender_look(monitor->sender, &monitor->progress);
	r = thread_start(monitor, &monitor->out, send_thread, err);
	if (r) {
		sender_destroy(monitor->sender);
		monitor->sender = NULL;
		return r;
	}
	if (!request->dry_run)
		monitor_state(monitor, SEGUE__RUN_STATE__RUN_STATE_MOVING, request->to);
	return 0;
}

void monitor_move_cancel(struct monitor *monitor)
{
	if (monitor->out.active)
		sender_cancel(monitor->sender);
}

bool monitor_move_abandon(struct monitor *monitor)
{
	if (monitor->out.active)
		sender_abandon(monitor->sender);
	if (monitor->in.active)
		receiver_cancel(monitor->receiver);
	return !monitor->out.active && !monitor->in.active;
}

void monitor_move_close(struct monitor *monitor)
{
	uv_close((uv_handle_t *)&monitor->moved, NULL);
	mover_close(&monitor->mover);
}
