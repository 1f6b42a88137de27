/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/units.h"
#include "tools/segue/commands.h"
#include "tools/segue/output.h"
#include "tools/segue/simple.h"

#define STOP_PATIENCE_US 60000000u
#define END_PATIENCE_US  3000000 /* from the guest's end to its monitor's */

static enum exit_code run_pause(struct invocation *invocation)
{
	Segue__PauseRequest pause = SEGUE__PAUSE_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	request.of_case = SEGUE__REQUEST__OF_PAUSE;
	request.pause = &pause;
	return simple_call(invocation, &request, "paused");
}

static enum exit_code run_resume(struct invocation *invocation)
{
	Segue__ResumeRequest resume = SEGUE__RESUME_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	request.of_case = SEGUE__REQUEST__OF_RESUME;
	request.resume = &resume;
	return simple_call(invocation, &request, "running");
}

static enum exit_code run_balloon(struct invocation *invocation)
{
	Segue__BalloonRequest balloon = SEGUE__BALLOON_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;
	struct error err = {0};

	if (units_parse_size(invocation->operands[1], &balloon.target) < 0) {
		error_set(&err, -EINVAL, "\"%s\" is not a size; for example 512M or 1.5G",
			  invocation->operands[1]);
		return output_failure(invocation, &err);
	}
	request.of_case = SEGUE__REQUEST__OF_BALLOON;
	request.balloon = &balloon;
	return simple_call(invocation, &request, "has been asked for memory");
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int subscribe(struct client *client, struct error *err)
{
	Segue__EventsRequest events = SEGUE__EVENTS_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	request.of_case = SEGUE__REQUEST__OF_EVENTS;
	request.events = &events;
	return client_call(client, &request, NULL, err);
}

static int ask_to_stop(struct client *client, bool force, bool reset, struct error *err)
{
	Segue__StopRequest stop = SEGUE__STOP_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	stop.force = force;
	stop.reset = reset;
	request.of_case = SEGUE__REQUEST__OF_STOP;
	request.stop = &stop;
	return client_call(client, &request, NULL, err);
}

/*
 * Until the monitor has ended, so that the guest can be started again at once; one that
 * stays though its guest has stopped is not waited for long. 0, or -ETIMEDOUT.
 */
static int wait_stopped(struct client *client, const char *name, int64_t patience_us,
			struct error *err)
{
	int64_t end = now_us() + patience_us;
	Segue__Reply *reply;
	bool stopped = false;

	for (;;) {
		int64_t left = end - now_us();
		int r = client_receive(client, left > 0 ? (int)(left / 1000) : 0, &reply, err);

		if (r == -EINTR)
			continue;
		if (r == -EPIPE || (r == -ETIMEDOUT && stopped))
			return 0;
		if (r == -ETIMEDOUT)
			return error_set(err, r,
					 "\"%s\" has been asked to stop and still runs; "
					 "--force does not ask",
					 name);
		if (r < 0)
			return r;
		if (reply->of_case == SEGUE__REPLY__OF_EVENT && !stopped &&
		    reply->event->state == SEGUE__RUN_STATE__RUN_STATE_STOPPED) {
			stopped = true;
			end = now_us() + END_PATIENCE_US;
		}
		segue__reply__free_unpacked(reply, NULL);
	}
}

static enum exit_code run_stop(struct invocation *invocation)
{
	const char *timeout = invocation_option(invocation, "timeout");
	bool reset = invocation_option(invocation, "reset");
	bool force = invocation_option(invocation, "force");
	uint64_t patience = STOP_PATIENCE_US;
	struct error err = {0};
	struct client *client = NULL;
	int r = 0;

	if (reset && force)
		r = error_set(&err, -EINVAL, "--reset and --force exclude each other");
	else if (timeout && (units_parse_time(timeout, &patience) < 0 || patience > 1ull << 40))
		r = error_set(&err, -EINVAL, "\"%s\" is not a time; for example 30s or 2m",
			      timeout);
	if (!r)
		r = invocation_connect(invocation, &client, &err);
	if (r < 0)
		return output_failure(invocation, &err);
	if (!reset)
		r = subscribe(client, &err);
	if (!r)
		r = ask_to_stop(client, force, reset, &err);
	if (!r && !reset)
		r = wait_stopped(client, invocation->operands[0], (int64_t)patience, &err);
	client_close(client);
	if (r < 0)
		return output_answer(invocation, &err);
	return simple_say(invocation, reset ? "reset" : "stopped");
}

const struct command command_pause = {
    .name = "pause",
    .summary = "let a guest stand still",
    .description =
	"Its clocks stand still as well. Nothing is lost; \"segue resume\" lets it go on.\n",
    .examples = "  segue pause web1\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .run = run_pause,
};

const struct command command_resume = {
    .name = "resume",
    .summary = "let a paused guest go on",
    .description = "A guest started with --paused begins with this.\n",
    .examples = "  segue resume web1\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .run = run_resume,
};

static const struct option_spec stop_options[] = {
    {"force", NULL, NULL, "like pulling the plug: the guest is not asked"},
    {"reset", NULL, NULL, "like the reset button: it boots again"},
    {"timeout", "TIME", NULL, "how long to wait, 60s if not given"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_stop = {
    .name = "stop",
    .summary = "shut a guest down, or reset it",
    .description =
	"Presses the guest's power button and waits until it has shut itself down. A guest\n"
	"that does not heed it is still running after the time given (exit code 7).\n",
    .examples = "  segue stop web1 --timeout 2m || segue stop web1 --force\n"
		"  segue stop web1 --reset\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .options = stop_options,
    .run = run_stop,
};

const struct command command_balloon = {
    .name = "balloon",
    .summary = "ask a guest to give memory back, or to take it",
    .description =
	"SIZE is what the guest shall keep, such as 512M or 1.5G. It is a wish: the guest's\n"
	"balloon driver fulfils it as far as it can, which \"segue show\" shows as RESIDENT.\n",
    .examples = "  segue balloon web1 256M\n",
    .operands = {{OPERAND_GUEST, "NAME"}, {OPERAND_WORD, "SIZE"}},
    .run = run_balloon,
};
