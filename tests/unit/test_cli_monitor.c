/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "proto/paths.h"
#include "vmm/config.h"
#include "vmm/control.h"

/*
 * A segue-vmm for tests of the command line: its arguments, its socket, no guest behind
 * them. What the guest's kernel command line says decides how it behaves:
 *   fail-start  complains and ends before it is ready
 *   deaf        is ready, and heeds no power button
 * and the port a move goes to, how that ends:
 *   1 moved, 2 refused, 3 in doubt, 4 goes on until cancelled, 5 the monitor dies,
 *   6 not in time
 */
static struct {
	uv_loop_t loop;
	uv_timer_t tick, end;
	struct control *control;
	Segue__Guest *guest;
	const char *listen;
	Segue__RunState state;
	struct control_client *mover;
	uint32_t move_id;
	int move_kind;
	unsigned ticks;
	char record[256];
} m;

static void fill_progress(Segue__Progress *p, Segue__Prediction *guess,
			  Segue__Blackout *blackout)
{
	segue__progress__init(p);
	segue__prediction__init(guess);
	segue__blackout__init(blackout);
	p->state = "copying";
	p->round = 1 + m.ticks;
	p->pages_total = 131072;
	p->pages_dirty = 4000;
	p->pages_left = 1000;
	p->pages_sent = 135072;
	p->pages_zero = 100000;
	p->pages_lz4 = 35072;
	p->bytes_sent = 90 << 20;
	p->bandwidth = 812000000;
	p->elapsed_us = 3200000;
	p->channels = 4;
	p->prediction = guess;
	guess->converges = 1;
	guess->blackout_us = 4100;
	guess->total_us = 3500000;
	guess->dirty_rate = 12000;
	guess->bandwidth = 812000000;
	guess->words = "soon";
	blackout->total = 4100;
	blackout->pause = 200;
	blackout->last_pages = 1500;
	blackout->state = 400;
	blackout->commit = 1100;
	blackout->resume = 900;
}

static void leave(void *context)
{
	(void)context;
	config_free(m.guest);
	exit(0);
}

static void on_end(uv_timer_t *timer)
{
	(void)timer;
	control_close(m.control, leave, NULL);
}

static void tell(Segue__RunState state, const char *text, Segue__Progress *progress)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;
	Segue__Event event = SEGUE__EVENT__INIT;

	m.state = state;
	reply.of_case = SEGUE__REPLY__OF_EVENT;
	reply.event = &event;
	event.time_us = 1700000000000000;
	event.state = state;
	event.text = (char *)text;
	event.progress = progress;
	control_event(m.control, &reply);
}

static void end_move(int error, const char *text, const char *outcome)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;
	Segue__MoveReply move = SEGUE__MOVE_REPLY__INIT;
	Segue__Blackout blackout;
	Segue__Prediction guess;
	Segue__Progress progress;

	fill_progress(&progress, &guess, &blackout);
	progress.blackout = &blackout;
	reply.of_case = SEGUE__REPLY__OF_MOVE;
	reply.move = &move;
	reply.error = error;
	reply.text = (char *)text;
	move.outcome = (char *)outcome;
	move.progress = &progress;
	uv_timer_stop(&m.tick);
	if (m.mover)
		control_reply(m.mover, m.move_id, &reply);
	m.mover = NULL;
}

static void on_tick(uv_timer_t *timer)
{
	Segue__Blackout blackout;
	Segue__Prediction guess;
	Segue__Progress progress;

	(void)timer;
	m.ticks++;
	fill_progress(&progress, &guess, &blackout);
	tell(SEGUE__RUN_STATE__RUN_STATE_MOVING, "round", &progress);
	if (m.ticks < 3 || m.move_kind == 4)
		return;
	switch (m.move_kind) {
	case 1:
		tell(SEGUE__RUN_STATE__RUN_STATE_MOVED, "moved", NULL);
		end_move(0, "", "moved");
		uv_timer_start(&m.end, on_end, 20, 0);
		break;
	case 2:
		m.state = SEGUE__RUN_STATE__RUN_STATE_RUNNING;
		end_move(-ECONNREFUSED, "node2 refuses the guest: no AVX2 there", "failed");
		break;
	case 3:
		m.state = SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT;
		end_move(-EIO, "connection lost after the grant", "in-doubt");
		break;
	case 6:
		m.state = SEGUE__RUN_STATE__RUN_STATE_RUNNING;
		end_move(-ETIME, "the time limit of 5 s is over; the guest stays here",
			 "failed");
		break;
	default:
		_exit(1);
	}
}

static void start_move(struct control_client *client, const Segue__Request *request)
{
	const Segue__MoveRequest *move = request->move;

	m.mover = client;
	m.move_id = request->id;
	m.ticks = 0;
	m.move_kind = atoi(strrchr(move->to, ':') + 1);
	/* What arrived, for the test to compare. */
	fprintf(stderr,
		"move to=%s channels=%u bandwidth=%llu downtime=%u limit=%u unconverged=%d "
		"compression=%s record=%s\n",
		move->to, move->channels, (unsigned long long)move->bandwidth,
		move->downtime_us, move->time_limit_s, (int)move->unconverged,
		move->compression, move->record);
	if (move->dry_run)
		end_move(0, "", "predicted");
	else
		uv_timer_start(&m.tick, on_tick, 30, 30);
}

static void show(struct control_client *client, uint32_t id)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;
	Segue__ShowReply show = SEGUE__SHOW_REPLY__INIT;

	reply.of_case = SEGUE__REPLY__OF_SHOW;
	reply.show = &show;
	show.guest = m.guest;
	show.state = m.state;
	show.engine = "kvm";
	show.engine_why = "auto: so it is";
	show.tracking = "counting";
	show.pid = (uint32_t)getpid();
	show.epoch = 3;
	show.owner = "here";
	show.uptime_us = 125000000;
	show.memory_resident = 100 << 20;
	show.overhead_resident = 5 << 20;
	show.listen = (char *)m.listen;
	show.version = "0.1.0";
	control_reply(client, id, &reply);
}

static void stop(const Segue__StopRequest *stop)
{
	if (stop->reset || (!stop->force && strstr(m.guest->kernel->cmdline, "deaf")))
		return;
	tell(SEGUE__RUN_STATE__RUN_STATE_STOPPED, "powered off", NULL);
	uv_timer_start(&m.end, on_end, 20, 0);
}

static void on_request(void *monitor, struct control_client *client,
		       const Segue__Request *request)
{
	struct error err = {0};

	(void)monitor;
	switch (request->of_case) {
	case SEGUE__REQUEST__OF_SHOW:
		show(client, request->id);
		return;
	case SEGUE__REQUEST__OF_MOVE:
		start_move(client, request);
		return;
	case SEGUE__REQUEST__OF_MOVE_CANCEL:
		if (!m.mover)
			error_set(&err, -EINVAL, "nothing is moving");
		end_move(-ECANCELED, "cancelled; the guest stays here", "cancelled");
		break;
	case SEGUE__REQUEST__OF_PAUSE:
		tell(SEGUE__RUN_STATE__RUN_STATE_PAUSED, "paused", NULL);
		break;
	case SEGUE__REQUEST__OF_RESUME:
		tell(SEGUE__RUN_STATE__RUN_STATE_RUNNING, "running", NULL);
		break;
	case SEGUE__REQUEST__OF_EVENTS:
		control_subscribe(client);
		break;
	case SEGUE__REQUEST__OF_RECOVER:
		fprintf(stderr, "recover %d\n", (int)request->recover->outcome);
		break;
	case SEGUE__REQUEST__OF_BALLOON:
		fprintf(stderr, "balloon %llu\n", (unsigned long long)request->balloon->target);
		break;
	default:
		break;
	}
	control_answer(client, request->id, &err);
	if (request->of_case == SEGUE__REQUEST__OF_STOP)
		stop(request->stop);
	if (request->of_case == SEGUE__REQUEST__OF_CONSOLE)
		control_console(client, (const uint8_t *)"login: ", 7);
}

static void on_closed(void *monitor, struct control_client *client)
{
	(void)monitor;
	if (m.mover == client)
		m.mover = NULL;
}

/* Gives back what is typed; "bye" ends the monitor. */
static void on_typed(void *monitor, struct control_client *client, const uint8_t *data,
		     size_t len)
{
	(void)monitor;
	control_console(client, data, len);
	if (len >= 3 && !memcmp(data, "bye", 3))
		uv_timer_start(&m.end, on_end, 20, 0);
}

static const struct control_ops ops = {on_request, on_closed, on_typed};

static int fail(const char *text)
{
	fprintf(stderr, "segue-vmm: %s\n", text);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"state-dir", required_argument, NULL, 's'},
	    {"name", required_argument, NULL, 'n'},
	    {"receive", required_argument, NULL, 'r'},
	    {"paused", no_argument, NULL, 'p'},
	    {"no-sandbox", no_argument, NULL, 'x'},
	    {"ready-fd", required_argument, NULL, 'f'},
	    {NULL, 0, NULL, 0},
	};
	const char *dir = NULL, *name = NULL;
	int ready = -1, c;
	struct error err = {0};
	char *path;

	m.state = SEGUE__RUN_STATE__RUN_STATE_RUNNING;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			dir = optarg;
		else if (c == 'n')
			name = optarg;
		else if (c == 'r')
			m.listen = optarg;
		else if (c == 'p')
			m.state = SEGUE__RUN_STATE__RUN_STATE_PAUSED;
		else if (c == 'f')
			ready = atoi(optarg);
		else if (c != 'x')
			return 2;
	}
	if (!dir || optind + 1 != argc || config_load(argv[optind], &m.guest, &err) < 0)
		return fail(err.code ? err.text : "arguments");
	if (strstr(m.guest->kernel->cmdline, "fail-start"))
		return fail("vmlinuz: no such kernel");
	if (m.listen)
		m.state = SEGUE__RUN_STATE__RUN_STATE_RECEIVING;
	uv_loop_init(&m.loop);
	uv_timer_init(&m.loop, &m.tick);
	uv_timer_init(&m.loop, &m.end);
	if (paths_socket(dir, name ? name : m.guest->name, &path, &err) < 0 ||
	    control_open(&m.loop, path, &ops, NULL, &m.control, &err) < 0)
		return fail(err.text);
	if (ready >= 0) {
		dprintf(ready, m.listen ? "ready %s\n" : "ready\n", m.listen);
		close(ready);
	}
	return uv_run(&m.loop, UV_RUN_DEFAULT);
}
