/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "migrate/session.h"
#include "vmm/monitor_internal.h"
#include "vmm/virtio/devices.h"

/* What people and scripts ask of a monitor. */

static bool owns(const struct monitor *monitor)
{
	return monitor->journal.last.what == JOURNAL_OWNS;
}

/* For requests that need a guest that is here and not on its way. */
static int settled(const struct monitor *monitor, struct error *err)
{
	if (monitor->state == SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT)
		return error_set(err, -EBUSY, "the guest may run elsewhere: %s", monitor->doubt);
	if (!owns(monitor))
		return error_set(err, -EBUSY, "the guest has not arrived yet");
	if (monitor->out.active)
		return error_set(err, -EBUSY, "the guest is being moved: `segue cancel %s` first",
				 monitor->guest->name);
	if (monitor->quitting)
		return error_set(err, -ESHUTDOWN, "the monitor is ending");
	return 0;
}

/* ---- pause and resume ---- */

static void on_paused(void *context)
{
	struct monitor *monitor = context;
	struct error none = {0};

	monitor->mover.held_since = machine_paused_at(monitor->machine);
	monitor_state(monitor, SEGUE__RUN_STATE__RUN_STATE_PAUSED, "paused by the operator");
	if (monitor->pause_waiter.client)
		control_answer(monitor->pause_waiter.client, monitor->pause_waiter.id, &none);
	monitor->pause_waiter.client = NULL;
}

static void do_pause(struct monitor *monitor, struct control_client *client, uint32_t id)
{
	struct error err = {0};

	if (!settled(monitor, &err) && monitor->pause_waiter.client)
		error_set(&err, -EBUSY, "somebody else is pausing the guest");
	if (err.code || monitor->mover.held) {
		control_answer(client, id, &err);
		return;
	}
	monitor->mover.held = true;
	monitor->pause_waiter = (struct monitor_waiter){client, id};
	machine_pause(monitor->machine, on_paused, monitor);
}

static int do_resume(struct monitor *monitor, struct error *err)
{
	int r = settled(monitor, err);

	if (r || !monitor->mover.held)
		return r;
	if (monitor->pause_waiter.client)
		return error_set(err, -EBUSY, "the guest is just being paused");
	r = machine_resume(monitor->machine,
			   monitor->mover.held_since ? session_now() - monitor->mover.held_since
						     : 0,
			   err);
	if (r)
		return r;
	monitor->mover.held = false;
	monitor_state(monitor, SEGUE__RUN_STATE__RUN_STATE_RUNNING, "resumed by the operator");
	return 0;
}

/* ---- stop ---- */

/* A destination that waits in vain owns nothing yet: it is ended by force, too. */
static int may_stop(const struct monitor *monitor, const Segue__StopRequest *request,
		    struct error *err)
{
	int r;

	if (request->force && !owns(monitor) && !monitor->out.active)
		return 0;
	r = settled(monitor, err);
	if (!r && monitor->mover.held && !request->force && !request->reset)
		r = error_set(err, -EBUSY, "a paused guest does not see its power button: "
					   "resume it first, or use --force");
	return r;
}

static void do_stop(struct monitor *monitor, struct control_client *client, uint32_t id,
		    const Segue__StopRequest *request)
{
	struct error err = {0};
	int r = may_stop(monitor, request, &err);

	control_answer(client, id, &err); /* before the end closes the connection */
	if (r)
		return;
	if (request->force)
		monitor_over(monitor, SEGUE__RUN_STATE__RUN_STATE_STOPPED, "stopped by force");
	else if (request->reset)
		machine_reset(monitor->machine);
	else
		machine_power_button(monitor->machine);
}

/* ---- moves ---- */

static void do_move(struct monitor *monitor, struct control_client *client, uint32_t id,
		    const Segue__MoveRequest *request)
{
	struct error err = {0};

	if (!settled(monitor, &err))
		monitor_send(monitor, request, &err);
	if (err.code || !request->wait)
		control_answer(client, id, &err);
	else
		monitor->move_waiter = (struct monitor_waiter){client, id};
}

static int do_cancel(struct monitor *monitor, struct error *err)
{
	if (!monitor->out.active)
		return error_set(err, -ENOENT, "no move is under way");
	if (!switchover_find(sender_state(monitor->sender), SW_EV_CANCEL))
		return error_set(err, -EBUSY,
				 "the guest has just been handed over: it is too late to cancel");
	monitor_move_cancel(monitor);
	return 0;
}

static void do_recover(struct monitor *monitor, struct control_client *client, uint32_t id,
		       const Segue__RecoverRequest *request)
{
	struct error err = {0};

	if (monitor->state != SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT)
		error_set(&err, -ENOENT, "there is no doubt who runs this guest");
	else if (request->outcome != SEGUE__RECOVER_REQUEST__OUTCOME__HERE &&
		 request->outcome != SEGUE__RECOVER_REQUEST__OUTCOME__GONE)
		error_set(&err, -EINVAL, "say whether the guest is to run here or is gone");
	if (err.code) {
		control_answer(client, id, &err);
		return;
	}
	monitor->recover_waiter = (struct monitor_waiter){client, id};
	sender_verdict(monitor->sender,
		       request->outcome == SEGUE__RECOVER_REQUEST__OUTCOME__GONE);
}

static int do_balloon(struct monitor *monitor, uint64_t target, struct error *err)
{
	struct balloon *balloon = machine_balloon(monitor->machine);

	if (!balloon)
		return error_set(err, -ENODEV, "the guest has no balloon");
	if (!target || target > monitor->guest->memory)
		return error_set(err, -ERANGE, "the guest has %llu MiB of memory",
				 (unsigned long long)(monitor->guest->memory >> 20));
	machine_lock(monitor->machine);
	balloon_set_target(balloon, target);
	machine_unlock(monitor->machine);
	return 0;
}

/* ---- all of them ---- */

static void on_closed(void *context, struct control_client *client)
{
	struct monitor *monitor = context;
	struct monitor_waiter *waiters[] = {&monitor->move_waiter, &monitor->pause_waiter,
					    &monitor->recover_waiter};

	for (unsigned i = 0; i < sizeof(waiters) / sizeof(waiters[0]); i++)
		if (waiters[i]->client == client)
			waiters[i]->client = NULL;
	monitor_console_forget(monitor, client);
}

static void on_typed(void *context, struct control_client *client, const uint8_t *data,
		     size_t len)
{
	monitor_console_typed(context, client, data, len);
}

static void on_request(void *context, struct control_client *client,
		       const Segue__Request *request)
{
	struct monitor *monitor = context;
	struct error err = {0};

	switch (request->of_case) {
	case SEGUE__REQUEST__OF_SHOW:
		monitor_show(monitor, client, request->id);
		return;
	case SEGUE__REQUEST__OF_PAUSE:
		do_pause(monitor, client, request->id);
		return;
	case SEGUE__REQUEST__OF_MOVE:
		do_move(monitor, client, request->id, request->move);
		return;
	case SEGUE__REQUEST__OF_RECOVER:
		do_recover(monitor, client, request->id, request->recover);
		return;
	case SEGUE__REQUEST__OF_CONSOLE:
		monitor_console(monitor, client, request->id, request->console->serial);
		return;
	case SEGUE__REQUEST__OF_STOP:
		do_stop(monitor, client, request->id, request->stop);
		return;
	case SEGUE__REQUEST__OF_RESUME:
		do_resume(monitor, &err);
		break;
	case SEGUE__REQUEST__OF_MOVE_CANCEL:
		do_cancel(monitor, &err);
		break;
	case SEGUE__REQUEST__OF_EVENTS:
		control_subscribe(client);
		break;
	case SEGUE__REQUEST__OF_BALLOON:
		do_balloon(monitor, request->balloon->target, &err);
		break;
	default:
		error_set(&err, -EOPNOTSUPP, "this monitor does not know the request");
	}
	control_answer(client, request->id, &err);
}

const struct control_ops monitor_control_ops = {
	.request = on_request,
	.closed = on_closed,
	.typed = on_typed,
};
