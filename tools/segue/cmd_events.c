/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "proto/json.h"
#include "tools/segue/commands.h"
#include "tools/segue/output.h"

static enum exit_code print_event(const struct invocation *invocation,
				  const Segue__Event *event)
{
	time_t seconds = (time_t)(event->time_us / 1000000);
	char when[32], state[32], text[256];
	struct tm tm;

	if (invocation->json)
		return output_json_line(json_message(&event->base));
	if (!localtime_r(&seconds, &tm) || !strftime(when, sizeof(when), "%F %T", &tm))
		when[0] = '\0';
	printf("%s.%03u  %-10s %s\n", when, (unsigned)(event->time_us / 1000 % 1000),
	       output_state(state, sizeof(state), event->state),
	       output_clean(text, sizeof(text), event->text));
	fflush(stdout);
	return EXIT_OK;
}

/* What the guest is now, as if it had just become so. */
static int print_now(const struct invocation *invocation, struct client *client,
		     struct error *err)
{
	Segue__Event event = SEGUE__EVENT__INIT;
	Segue__Reply *reply;
	struct timespec now;
	int r = client_show(client, &reply, err);

	if (r < 0)
		return r;
	clock_gettime(CLOCK_REALTIME, &now);
	event.time_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	event.state = reply->show->state;
	event.progress = reply->show->progress;
	print_event(invocation, &event);
	segue__reply__free_unpacked(reply, NULL);
	return 0;
}

static int follow(const struct invocation *invocation, struct client *client, struct error *err)
{
	Segue__EventsRequest events = SEGUE__EVENTS_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;
	Segue__Reply *reply;
	int r;

	request.of_case = SEGUE__REQUEST__OF_EVENTS;
	request.events = &events;
	r = client_send(client, &request, err);
	while (!r) {
		r = client_receive(client, -1, &reply, err);
		if (r == -EINTR) {
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		if (reply->error)
			r = error_set(err, reply->error, "%.400s", reply->text);
		else if (reply->of_case == SEGUE__REPLY__OF_EVENT &&
			 print_event(invocation, reply->event))
			r = -EIO;
		segue__reply__free_unpacked(reply, NULL);
	}
	return r == -EPIPE ? 0 : r; /* the monitor's end is the end of its events */
}

static enum exit_code run_events(struct invocation *invocation)
{
	struct error err = {0};
	struct client *client;
	int r = invocation_connect(invocation, &client, &err);

	if (r < 0)
		return output_failure(invocation, &err);
	r = print_now(invocation, client, &err);
	if (!r && invocation_option(invocation, "follow"))
		r = follow(invocation, client, &err);
	client_close(client);
	return r < 0 ? output_answer(invocation, &err) : EXIT_OK;
}

static const struct option_spec options[] = {
    {"follow", NULL, NULL, "go on until the monitor ends"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_events = {
    .name = "events",
    .summary = "watch what happens to a guest",
    .description =
	"Prints the guest's present state and, with --follow, every change of it and the\n"
	"progress of moves: a line each, with --json an object a line.\n",
    .examples = "  segue events web1 --follow --json | jq -c '{state, text}'\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .options = options,
    .run = run_events,
};
