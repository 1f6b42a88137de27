/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "proto/frame.h"
#include "proto/le.h"
#include "tools/segue/client.h"
#include "vmm/control.h"

/*
 * A server on a loop of its own thread, with a monitor that answers show at once, pause
 * later, resume never, and as a console gives back what is typed.
 */
static struct {
	uv_loop_t loop;
	uv_async_t stop, event;
	uv_timer_t later;
	struct control *control;
	struct control_client *waiting;
	uint32_t waiting_id;
	pthread_t thread;
	atomic_uint closed, requests, done;
} server;

static char dir[] = "/tmp/segue-control-XXXXXX";
static char path[64];

static void answer_later(uv_timer_t *timer)
{
	struct error no = {0};

	(void)timer;
	error_set(&no, -EBUSY, "it is moving");
	if (server.waiting)
		control_answer(server.waiting, server.waiting_id, &no);
	server.waiting = NULL;
}

static void on_request(void *monitor, struct control_client *client,
		       const Segue__Request *request)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;
	Segue__ShowReply show = SEGUE__SHOW_REPLY__INIT;

	if (monitor != &server)
		abort();
	server.requests++;
	switch (request->of_case) {
	case SEGUE__REQUEST__OF_SHOW:
		show.state = SEGUE__RUN_STATE__RUN_STATE_PAUSED;
		reply.of_case = SEGUE__REPLY__OF_SHOW;
		reply.show = &show;
		control_reply(client, request->id, &reply);
		break;
	case SEGUE__REQUEST__OF_PAUSE:
		server.waiting = client;
		server.waiting_id = request->id;
		uv_timer_start(&server.later, answer_later, 20, 0);
		break;
	case SEGUE__REQUEST__OF_RESUME:
		server.waiting = client;
		break;
	case SEGUE__REQUEST__OF_EVENTS:
		control_subscribe(client);
		control_answer(client, request->id, NULL);
		break;
	default:
		control_answer(client, request->id, NULL);
	}
}

static void on_closed(void *monitor, struct control_client *client)
{
	(void)monitor;
	if (server.waiting == client)
		server.waiting = NULL;
	server.closed++;
}

static void on_typed(void *monitor, struct control_client *client, const uint8_t *data,
		     size_t len)
{
	(void)monitor;
	control_console(client, data, len);
}

static const struct control_ops ops = {on_request, on_closed, on_typed};

static void control_done(void *context)
{
	(void)context;
	server.done++;
	uv_close((uv_handle_t *)&server.stop, NULL);
	uv_close((uv_handle_t *)&server.event, NULL);
	uv_close((uv_handle_t *)&server.later, NULL);
}

static void on_stop(uv_async_t *async)
{
	(void)async;
	control_close(server.control, control_done, NULL);
}

static void on_event(uv_async_t *async)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;
	Segue__Event event = SEGUE__EVENT__INIT;

	(void)async;
	reply.of_case = SEGUE__REPLY__OF_EVENT;
	reply.event = &event;
	event.state = SEGUE__RUN_STATE__RUN_STATE_MOVING;
	event.text = "goes";
	control_event(server.control, &reply);
}

static void *run_server(void *arg)
{
	(void)arg;
	uv_run(&server.loop, UV_RUN_DEFAULT);
	return NULL;
}

static int start(void)
{
	struct error err = {0};

	memset(&server, 0, sizeof(server));
	uv_loop_init(&server.loop);
	uv_async_init(&server.loop, &server.stop, on_stop);
	uv_async_init(&server.loop, &server.event, on_event);
	uv_timer_init(&server.loop, &server.later);
	if (control_open(&server.loop, path, &ops, &server, &server.control, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	return pthread_create(&server.thread, NULL, run_server, NULL);
}

static void stop(void)
{
	uv_async_send(&server.stop);
	pthread_join(server.thread, NULL);
	CU_ASSERT_EQUAL(server.done, 1);
	CU_ASSERT_EQUAL(uv_loop_close(&server.loop), 0);
	CU_ASSERT(access(path, F_OK) < 0);
}

static bool reaches(atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 2000 && *counter < value; i++)
		usleep(1000);
	return *counter == value;
}

static struct client *connect_client(void)
{
	struct client *client = NULL;
	struct error err = {0};

	client_connect(dir, "web1", &client, &err);
	CU_ASSERT_PTR_NOT_NULL_FATAL(client);
	return client;
}

static int connect_raw(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int call(struct client *client, int of_case, struct error *err)
{
	Segue__Request request = SEGUE__REQUEST__INIT;
	Segue__PauseRequest pause = SEGUE__PAUSE_REQUEST__INIT;

	/* All the bodies used here are empty messages, of which one is like another. */
	request.of_case = (Segue__Request__OfCase)of_case;
	request.pause = &pause;
	if (of_case == SEGUE__REQUEST__OF_EVENTS) {
		static Segue__EventsRequest events = SEGUE__EVENTS_REQUEST__INIT;
		request.events = &events;
	} else if (of_case == SEGUE__REQUEST__OF_CONSOLE) {
		static Segue__ConsoleRequest console = SEGUE__CONSOLE_REQUEST__INIT;
		request.console = &console;
	}
	return client_call(client, &request, NULL, err);
}

static void test_answers(void)
{
	struct client *client;
	struct error err = {0};
	Segue__Reply *reply = NULL;
	struct stat st;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	CU_ASSERT(!stat(path, &st) && (st.st_mode & 0777) == 0600);
	client = connect_client();
	CU_ASSERT_EQUAL_FATAL(client_show(client, &reply, &err), 0);
	CU_ASSERT_EQUAL(reply->show->state, SEGUE__RUN_STATE__RUN_STATE_PAUSED);
	segue__reply__free_unpacked(reply, NULL);
	CU_ASSERT_EQUAL(call(client, SEGUE__REQUEST__OF_PAUSE, &err), -EBUSY);
	CU_ASSERT_STRING_EQUAL(err.text, "it is moving");
	client_close(client);
	CU_ASSERT(reaches(&server.closed, 1));
	stop();
}

static void test_events(void)
{
	struct client *one, *other;
	struct error err = {0};
	Segue__Reply *reply = NULL;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	one = connect_client();
	other = connect_client();
	CU_ASSERT_EQUAL(call(one, SEGUE__REQUEST__OF_EVENTS, &err), 0);
	uv_async_send(&server.event);
	CU_ASSERT_EQUAL_FATAL(client_receive(one, 2000, &reply, &err), 0);
	CU_ASSERT_EQUAL(reply->id, 0);
	CU_ASSERT_STRING_EQUAL(reply->event->text, "goes");
	segue__reply__free_unpacked(reply, NULL);
	CU_ASSERT_EQUAL(client_receive(other, 50, &reply, &err), -ETIMEDOUT);
	client_close(one);
	client_close(other);
	stop();
}

static void test_console(void)
{
	struct client *client;
	struct error err = {0};
	Segue__Reply *reply = NULL;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	client = connect_client();
	CU_ASSERT_EQUAL(call(client, SEGUE__REQUEST__OF_CONSOLE, &err), 0);
	CU_ASSERT_EQUAL(client_type(client, "ls\n", 3, &err), 0);
	CU_ASSERT_EQUAL_FATAL(client_receive(client, 2000, &reply, &err), 0);
	CU_ASSERT_EQUAL_FATAL(reply->of_case, SEGUE__REPLY__OF_CONSOLE);
	CU_ASSERT_EQUAL(reply->console->data.len, 3);
	CU_ASSERT(!memcmp(reply->console->data.data, "ls\n", 3));
	segue__reply__free_unpacked(reply, NULL);
	client_close(client);
	stop();
}

/* Reads to the end; the error of the first reply in it, 0 without one. */
static int error_then_end(int fd)
{
	uint8_t got[4096];
	const uint8_t *body;
	size_t len = 0, body_len;
	ssize_t n;
	Segue__Reply *reply;
	int code = 0;

	while ((n = read(fd, got + len, sizeof(got) - len)) > 0)
		len += (size_t)n;
	if (frame_parse(got, len, &body, &body_len) > 0) {
		reply = segue__reply__unpack(NULL, body_len, body);
		code = reply ? reply->error : 1;
		segue__reply__free_unpacked(reply, NULL);
	}
	close(fd);
	return code;
}

static void test_hostile(void)
{
	uint8_t frame[4 + 64];
	int fd, silent;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	silent = connect_raw(); /* half a frame, for ever: bothers nobody */
	CU_ASSERT_EQUAL(write(silent, "\x10\0\0", 3), 3);
	fd = connect_raw();
	le32_put(frame, FRAME_MAX + 1);
	CU_ASSERT_EQUAL(write(fd, frame, 4), 4);
	CU_ASSERT_EQUAL(error_then_end(fd), -EMSGSIZE);
	fd = connect_raw();
	le32_put(frame, 64);
	memset(frame + 4, 0xff, 64);
	CU_ASSERT_EQUAL(write(fd, frame, sizeof(frame)), sizeof(frame));
	CU_ASSERT_EQUAL(error_then_end(fd), -EBADMSG);
	fd = connect_raw();
	le32_put(frame, 2);
	frame[4] = 0x08; /* id 5 and no body: a request of a newer version */
	frame[5] = 5;
	CU_ASSERT_EQUAL(write(fd, frame, 6), 6);
	shutdown(fd, SHUT_WR);
	CU_ASSERT_EQUAL(error_then_end(fd), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(server.requests, 0);
	CU_ASSERT(reaches(&server.closed, 3));
	close(silent);
	stop();
}

/* Asks and never reads: dropped at CONTROL_BACKLOG_MAX, and the others do not notice. */
static void test_deaf(void)
{
	static const uint8_t request[] = {4, 0, 0, 0, 0x08, 1, 0x12, 0};
	static uint8_t many[sizeof(request) * 4096];
	struct client *client;
	struct error err = {0};
	Segue__Reply *reply = NULL;
	int fd;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	for (size_t i = 0; i < 4096; i++)
		memcpy(many + i * sizeof(request), request, sizeof(request));
	fd = connect_raw();
	for (unsigned i = 0; i < 2000; i++)
		if (send(fd, many, sizeof(many), MSG_NOSIGNAL) < 0)
			break;
	CU_ASSERT(reaches(&server.closed, 1));
	client = connect_client();
	CU_ASSERT_EQUAL(client_show(client, &reply, &err), 0);
	segue__reply__free_unpacked(reply, NULL);
	client_close(client);
	close(fd);
	stop();
}

static void test_gone_before_answer(void)
{
	Segue__Request request = SEGUE__REQUEST__INIT;
	Segue__PauseRequest pause = SEGUE__PAUSE_REQUEST__INIT;
	struct client *client;
	struct error err = {0};

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	client = connect_client();
	request.of_case = SEGUE__REQUEST__OF_PAUSE;
	request.pause = &pause;
	CU_ASSERT_EQUAL(client_send(client, &request, &err), 0);
	CU_ASSERT(reaches(&server.requests, 1));
	client_close(client);
	CU_ASSERT(reaches(&server.closed, 1));
	usleep(40000); /* the answer would have come now */
	stop();
}

static void test_crowd(void)
{
	int fds[CONTROL_CLIENTS_MAX + 1];

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	for (unsigned i = 0; i <= CONTROL_CLIENTS_MAX; i++)
		fds[i] = connect_raw();
	CU_ASSERT_EQUAL(error_then_end(fds[CONTROL_CLIENTS_MAX]), -EUSERS);
	for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
		close(fds[i]);
	CU_ASSERT(reaches(&server.closed, CONTROL_CLIENTS_MAX + 1));
	stop();
}

/* A second monitor of the name is refused; a dead one's socket is taken over. */
static void test_socket(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct control *second = NULL;
	struct error err = {0};
	uv_loop_t loop;
	int fd;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	uv_loop_init(&loop);
	CU_ASSERT_EQUAL(control_open(&loop, path, &ops, &server, &second, &err), -EADDRINUSE);
	CU_ASSERT_PTR_NULL(second);
	uv_run(&loop, UV_RUN_DEFAULT);
	CU_ASSERT_EQUAL(uv_loop_close(&loop), 0);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	stop();
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	CU_ASSERT_EQUAL(access(path, F_OK), 0);
	CU_ASSERT_EQUAL_FATAL(start(), 0);
	client_close(connect_client());
	stop();
}

static void test_close_with_clients(void)
{
	struct client *client;
	struct error err = {0};
	Segue__Reply *reply = NULL;

	CU_ASSERT_EQUAL_FATAL(start(), 0);
	client = connect_client();
	CU_ASSERT_EQUAL(client_show(client, &reply, &err), 0);
	segue__reply__free_unpacked(reply, NULL);
	stop();
	CU_ASSERT_EQUAL(server.closed, 1);
	CU_ASSERT_EQUAL(client_receive(client, 1000, &reply, &err), -EPIPE);
	client_close(client);
	err = (struct error){0};
	CU_ASSERT_EQUAL(client_connect(dir, "web1", &client, &err), -ENOENT);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof(path), "%s/web1.sock", dir);
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("control", NULL, NULL);

	CU_add_test(s, "requests are answered, at once and later", test_answers);
	CU_add_test(s, "events go to those who asked", test_events);
	CU_add_test(s, "a connection becomes a console", test_console);
	CU_add_test(s, "nonsense is refused", test_hostile);
	CU_add_test(s, "a client that does not read is dropped", test_deaf);
	CU_add_test(s, "a client that leaves before its answer", test_gone_before_answer);
	CU_add_test(s, "too many clients", test_crowd);
	CU_add_test(s, "the socket's file", test_socket);
	CU_add_test(s, "closing with clients connected", test_close_with_clients);
	CU_basic_run_tests();
	rmdir(dir);
	return CU_get_number_of_failures() != 0;
}
