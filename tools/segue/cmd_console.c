/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tools/segue/commands.h"
#include "tools/segue/output.h"

#define LEAVE 0x1d /* Ctrl-] */

static struct termios terminal_was;
static bool terminal_raw;

static void terminal_restore(void)
{
	if (terminal_raw)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal_was);
	terminal_raw = false;
}

/* Left raw, the user's shell would be unusable. tcsetattr() is async-signal-safe. */
static void on_end(int number)
{
	terminal_restore();
	signal(number, SIG_DFL);
	raise(number);
}

static void terminal_make_raw(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &terminal_was) < 0)
		return;
	raw = terminal_was;
	cfmakeraw(&raw);
	terminal_raw = true;
	signal(SIGTERM, on_end);
	signal(SIGHUP, on_end);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
}

static int open_console(struct client *client, bool serial, struct error *err)
{
	Segue__ConsoleRequest console = SEGUE__CONSOLE_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	console.serial = serial;
	request.of_case = SEGUE__REQUEST__OF_CONSOLE;
	request.console = &console;
	return client_call(client, &request, NULL, err);
}

static int write_all(const uint8_t *data, size_t len, struct error *err)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, data, len);

		if (n < 0 && errno != EINTR)
			return error_system(err, -errno, "standard output");
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Prints everything that is there; 0, or a negative errno as of client_receive(). */
static int take_output(struct client *client, struct error *err)
{
	Segue__Reply *reply;
	int r;

	for (;;) {
		r = client_receive(client, 0, &reply, err);
		if (r == -ETIMEDOUT || r == -EINTR)
			return 0;
		if (r < 0)
			return r;
		if (reply->of_case == SEGUE__REPLY__OF_CONSOLE)
			r = write_all(reply->console->data.data, reply->console->data.len, err);
		segue__reply__free_unpacked(reply, NULL);
		if (r < 0)
			return r;
	}
}

/* 1: the user leaves; 0: go on; a negative errno. *ret_open is cleared at the input's end. */
static int take_typing(struct client *client, bool *ret_open, struct error *err)
{
	uint8_t typed[512];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	const uint8_t *leave;
	int r = 0;

	if (n < 0)
		return errno == EINTR ? 0 : error_system(err, -errno, "standard input");
	if (!n)
		*ret_open = false;
	leave = terminal_raw ? memchr(typed, LEAVE, (size_t)n) : NULL;
	if (leave)
		n = leave - typed;
	if (n)
		r = client_type(client, typed, (size_t)n, err);
	return r < 0 ? r : leave != NULL;
}

static int talk(struct client *client, struct error *err)
{
	bool open = true;
	int r = take_output(client, err);

	while (!r) {
		struct pollfd p[2] = {{.fd = client_fd(client), .events = POLLIN},
				      {.fd = open ? STDIN_FILENO : -1, .events = POLLIN}};

		if (poll(p, 2, -1) < 0)
			continue; /* a signal; its handler has done what there was to do */
		if (p[0].revents)
			r = take_output(client, err);
		if (!r && p[1].revents)
			r = take_typing(client, &open, err);
	}
	return r;
}

static enum exit_code run_console(struct invocation *invocation)
{
	bool virtio = invocation_option(invocation, "virtio");
	struct error err = {0};
	struct client *client;
	int r = invocation_connect(invocation, &client, &err);

	if (r < 0)
		return output_failure(invocation, &err);
	r = open_console(client, !virtio, &err);
	if (!r) {
		if (isatty(STDIN_FILENO))
			fprintf(stderr, "[%s; Ctrl-] leaves]\n", invocation->operands[0]);
		terminal_make_raw();
		r = talk(client, &err);
		terminal_restore();
	}
	client_close(client);
	if (r == -EPIPE) {
		fprintf(stderr, "\n[%s is gone]\n", invocation->operands[0]);
		return EXIT_OK;
	}
	if (r < 0)
		return output_answer(invocation, &err);
	fprintf(stderr, "\n[left]\n");
	return EXIT_OK;
}

static const struct option_spec options[] = {
    {"serial", NULL, NULL, "the serial port, ttyS0 to Linux; the default"},
    {"virtio", NULL, NULL, "the virtio console, hvc0 to Linux"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_console = {
    .name = "console",
    .summary = "talk to a guest",
    .description =
	"Shows the last of what the guest wrote, then all it writes, and gives it what is\n"
	"typed. Ctrl-] leaves; the guest goes on. Without a terminal, standard input goes to\n"
	"the guest and its output to standard output until the monitor ends.\n",
    .examples = "  segue console web1\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .options = options,
    .run = run_console,
};
