/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "tools/segue/address.h"
#include "tools/segue/commands.h"
#include "tools/segue/move_request.h"
#include "tools/segue/move_view.h"
#include "tools/segue/output.h"

#define LOOK_MS 250 /* how often to ask, where no event tells */

static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
	(void)number;
	interrupts++;
}

/* Not SA_RESTART: the wait for news shall end. */
static void catch_interrupts(void)
{
	struct sigaction action = {.sa_handler = on_interrupt};

	sigaction(SIGINT, &action, NULL);
}

struct move {
	struct invocation *invocation;
	struct client *client;
	struct move_view view;
	uint32_t id;        /* of the MoveRequest */
	uint32_t cancel_id; /* of the MoveCancelRequest, once sent */
	bool cancelling;
	char to[ADDRESS_MAX];
};

static int send_move(struct move *move, struct error *err)
{
	Segue__MoveRequest body = SEGUE__MOVE_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;
	char *record = NULL;
	int r = move_request_parse(move->invocation, &body, err);

	if (!r)
		r = move_request_record(move->invocation, &record, err);
	if (r < 0)
		return r;
	body.to = move->to;
	if (record)
		body.record = record;
	request.of_case = SEGUE__REQUEST__OF_MOVE;
	request.move = &body;
	r = client_send(move->client, &request, err);
	move->id = request.id;
	free(record);
	return r;
}

static int send_cancel(struct move *move, struct error *err)
{
	Segue__MoveCancelRequest cancel = SEGUE__MOVE_CANCEL_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;
	int r;

	request.of_case = SEGUE__REQUEST__OF_MOVE_CANCEL;
	request.move_cancel = &cancel;
	move->cancelling = true;
	move_view_clear(&move->view);
	fprintf(stderr, "cancelling; the guest stays if it has not gone yet\n");
	r = client_send(move->client, &request, err);
	move->cancel_id = request.id;
	return r;
}

static int send_look(struct move *move, struct error *err)
{
	Segue__ShowRequest show = SEGUE__SHOW_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	request.of_case = SEGUE__REQUEST__OF_SHOW;
	request.show = &show;
	return client_send(move->client, &request, err);
}

static int subscribe(struct client *client, struct error *err)
{
	Segue__EventsRequest events = SEGUE__EVENTS_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	request.of_case = SEGUE__REQUEST__OF_EVENTS;
	request.events = &events;
	return client_call(client, &request, NULL, err);
}

static void take_news(struct move *move, const Segue__Reply *reply)
{
	const Segue__Progress *progress = NULL;
	char text[256];

	if (reply->error && reply->id == move->cancel_id)
		fprintf(stderr, "it cannot be cancelled: %s\n",
			output_clean(text, sizeof(text), reply->text));
	if (reply->of_case == SEGUE__REPLY__OF_EVENT)
		progress = reply->event->progress;
	else if (reply->of_case == SEGUE__REPLY__OF_SHOW)
		progress = reply->show->progress;
	if (progress && !move->cancelling)
		move_view_progress(&move->view, progress);
}

/*
 * Until the move's own reply is there. -EPIPE: the monitor ended without one; -ECANCELED:
 * the user would not even wait for the cancelling.
 */
static int wait_end(struct move *move, Segue__Reply **ret_reply, struct error *err)
{
	Segue__Reply *reply = NULL;
	int r = 0;

	while (!r) {
		if (interrupts && !move->cancelling)
			r = send_cancel(move, err);
		else if (interrupts > 1)
			return -ECANCELED;
		if (!r)
			r = client_receive(move->client, LOOK_MS, &reply, err);
		if (r == -EINTR || r == -ETIMEDOUT) {
			r = r == -ETIMEDOUT && !move->view.quiet ? send_look(move, err) : 0;
			continue;
		}
		if (r < 0)
			break;
		if (reply->id == move->id || (reply->error && !reply->id)) {
			*ret_reply = reply;
			return 0;
		}
		take_news(move, reply);
		segue__reply__free_unpacked(reply, NULL);
	}
	return r;
}

static bool is(const Segue__MoveReply *move, const char *outcome)
{
	return move && move->outcome && !strcmp(move->outcome, outcome);
}

static enum exit_code code_of(const Segue__Reply *reply, const Segue__MoveReply *move)
{
	if (is(move, "moved"))
		return EXIT_OK;
	if (is(move, "in-doubt"))
		return EXIT_IN_DOUBT;
	if (is(move, "cancelled") || reply->error == -ECANCELED)
		return EXIT_CANCELLED;
	if (is(move, "predicted"))
		return move->progress && move->progress->prediction &&
			       move->progress->prediction->converges
			   ? EXIT_OK
			   : EXIT_FAILED;
	if (reply->error == -ECONNREFUSED)
		return EXIT_REFUSED;
	if (reply->error == -ETIME)
		return EXIT_LATE;
	return reply->error == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}

static void say_failed(const struct move *move, const Segue__Reply *reply, enum exit_code code)
{
	const char *name = move->invocation->operands[0];
	char text[480];

	output_clean(text, sizeof(text), reply->text);
	fprintf(stderr, "segue: %s: %s\n", name, *text ? text : exit_words[code]);
	if (code == EXIT_IN_DOUBT)
		fprintf(
		    stderr,
		    "Whether the guest runs at %s could not be found out; here it stands "
		    "still.\n"
		    "Look there (segue ls), then say so here:\n"
		    "  segue recover %s --gone    it runs there, or can be resumed there\n"
		    "  segue recover %s --here    it does not, and never will: go on here\n",
		    move->to, name, name);
}

static enum exit_code finish(const struct move *move, const Segue__Reply *reply)
{
	const char *name = move->invocation->operands[0];
	const Segue__MoveReply *end =
	    reply->of_case == SEGUE__REPLY__OF_MOVE ? reply->move : NULL;
	enum exit_code code = code_of(reply, end);

	if (move->invocation->json) {
		json_t *json = end ? json_message(&end->base) : json_object();

		if (json) {
			json_object_set_new(json, "error", json_integer(reply->error));
			json_object_set_new(json, "text", json_text(reply->text));
			json_object_set_new(json, "exit", json_integer(code));
		}
		output_json(json);
	}
	if (is(end, "predicted")) {
		if (!move->invocation->json)
			move_view_predicted(name, end->progress);
	} else if (code != EXIT_OK) {
		say_failed(move, reply, code);
	} else if (!move->invocation->json) {
		move_view_moved(name, move->to, end->progress);
	}
	return code;
}

static enum exit_code lost(const struct move *move, int r, struct error *err)
{
	if (r == -EPIPE) {
		fprintf(stderr,
			"segue: the monitor ended during the move; if \"segue ls\" at %s does "
			"not show the guest running, it is in the log here why\n",
			move->to);
		return EXIT_IN_DOUBT;
	}
	if (r == -ECANCELED) {
		fprintf(stderr,
			"segue: not waiting for the cancelling; see \"segue show %s\"\n",
			move->invocation->operands[0]);
		return EXIT_CANCELLED;
	}
	return output_answer(move->invocation, err);
}

static enum exit_code perform(struct move *move)
{
	Segue__Reply *reply = NULL;
	struct error err = {0};
	enum exit_code code;
	int r;

	catch_interrupts();
	move_view_init(&move->view, move->invocation->json);
	r = subscribe(move->client, &err);
	if (!r)
		r = send_move(move, &err);
	if (r < 0)
		return output_answer(move->invocation, &err);
	r = wait_end(move, &reply, &err);
	move_view_clear(&move->view);
	if (r < 0)
		return lost(move, r, &err);
	code = finish(move, reply);
	segue__reply__free_unpacked(reply, NULL);
	return code;
}

static enum exit_code run_move(struct invocation *invocation)
{
	const char *to = invocation_option(invocation, "to");
	struct move move = {.invocation = invocation};
	Segue__MoveRequest trial = SEGUE__MOVE_REQUEST__INIT;
	struct error err = {0};
	enum exit_code code;

	if (!to)
		error_set(&err, -EINVAL, "move: --to HOST:PORT is missing");
	if (err.code || move_request_parse(invocation, &trial, &err) < 0 ||
	    address_resolve(to, false, move.to, &err) < 0)
		return output_error(invocation, &err, EXIT_USAGE);
	if (invocation_connect(invocation, &move.client, &err) < 0)
		return output_failure(invocation, &err);
	code = perform(&move);
	client_close(move.client);
	return code;
}

static const struct option_spec move_options[] = {
    {"to", "HOST:PORT", NULL, "where \"segue receive\" waits; needed"},
    {"channels", "N", NULL, "connections for pages, 1 to 16; chosen if not given"},
    {"bandwidth", "RATE", NULL, "bytes a second to keep to, such as 100M or 1G"},
    {"downtime", "TIME", NULL, "longest blackout to accept, such as 5ms"},
    {"time-limit", "TIME", NULL, "give up after this, such as 5m"},
    {"if-unconverged", "WORD", "give-up|keep-trying|throttle",
     "when it dirties memory faster than it can be sent"},
    {"compression", "WORD", "auto|none|lz4|delta|zstd", "auto if not given"},
    {"record", "DIR", NULL, "copy all that is sent there, below the state directory"},
    {"dry-run", NULL, NULL, "predict only; the guest stays"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_move = {
    .name = "move",
    .summary = "move a running guest to another host",
    .description =
	"The guest runs on while its memory is copied; then it stands still for the blackout\n"
	"and goes on at the destination. Until that moment any failure leaves it running "
	"here.\n\n"
	"While it lasts: the round, the rate, the blackout expected and the time left. Ctrl-C\n"
	"cancels the move: the guest stays. At the end: the blackout and what it was made "
	"of.\n\n"
	"A blackout asked for with --downtime is a condition: a guest that cannot be moved\n"
	"within it is treated as --if-unconverged says (give-up if not given). With --dry-run\n"
	"the exit code is 0 if the guest would converge, 1 if not.\n",
    .examples =
	"  segue move web1 --to 10.0.0.2:7000\n"
	"  segue move web1 --to 10.0.0.2:7000 --downtime 5ms --dry-run\n"
	"  segue move db1 --to 10.0.0.2:7000 --if-unconverged throttle --time-limit 10m\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .options = move_options,
    .run = run_move,
};
