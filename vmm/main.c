/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "migrate/fault.h"
#include "proto/paths.h"
#include "vmm/config.h"
#include "vmm/monitor.h"

static const char usage[] =
	"usage: segue-vmm [OPTION]... GUEST.yaml\n"
	"\n"
	"Runs one guest until it ends or has moved away. People use `segue run` and\n"
	"`segue receive`, which start this program; segue(1) tells what GUEST.yaml holds.\n"
	"\n"
	"  --state-dir DIR   where NAME.sock, NAME.journal and NAME.log go\n"
	"  --name NAME       call the guest this, not what its file says\n"
	"  --receive ADDR:PORT  do not boot: wait there for the guest to be moved here\n"
	"  --paused          boot nothing until `segue resume`\n"
	"  --force           boot although the journal says the guest is elsewhere\n"
	"  --ready-fd FD     write `ready`, or `ready ADDR:PORT`, there once it is\n"
	"  --no-sandbox      do not bind the process; for debugging\n"
	"  --help, --version\n"
	"\n"
	"Exit codes: 0 the guest ended or moved, 1 it could not be started or taken in,\n"
	"2 the command line or the guest's file is wrong.\n";

enum { EXIT_WRONG = 2 };

struct arguments {
	struct monitor_options monitor;
	const char *state_dir;
	const char *name;
	const char *file;
	int ready_fd;
};

static const struct option options[] = {
	{"state-dir", required_argument, NULL, 'd'}, {"name", required_argument, NULL, 'n'},
	{"receive", required_argument, NULL, 'l'},   {"paused", no_argument, NULL, 'p'},
	{"force", no_argument, NULL, 'f'},           {"ready-fd", required_argument, NULL, 'r'},
	{"no-sandbox", no_argument, NULL, 's'},      {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'v'},         {NULL, 0, NULL, 0},
};

static int parse_fd(const char *text)
{
	char *end;
	long fd = strtol(text, &end, 10);

	return *text && !*end && fd >= 0 && fd < 1 << 20 ? (int)fd : -1;
}

/* 0, or the exit code with which to end, plus one. */
static int parse_option(struct arguments *args, int option)
{
	switch (option) {
	case 'd': args->state_dir = optarg; return 0;
	case 'n': args->name = optarg; return 0;
	case 'l': args->monitor.listen = optarg; return 0;
	case 'p': args->monitor.paused = true; return 0;
	case 'f': args->monitor.force = true; return 0;
	case 's': args->monitor.no_sandbox = true; return 0;
	case 'r':
		args->ready_fd = parse_fd(optarg);
		return args->ready_fd < 0 ? EXIT_WRONG + 1 : 0;
	case 'h': fputs(usage, stdout); return EXIT_SUCCESS + 1;
	case 'v': puts("segue-vmm " SEGUE_VERSION); return EXIT_SUCCESS + 1;
	default: return EXIT_WRONG + 1;
	}
}

static int parse(int argc, char **argv, struct arguments *args)
{
	int option, end;

	args->ready_fd = -1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		end = parse_option(args, option);
		if (end)
			return end;
	}
	if (optind + 1 != argc) {
		fputs("segue-vmm: one guest file is needed; see --help\n", stderr);
		return EXIT_WRONG + 1;
	}
	args->file = argv[optind];
	return 0;
}

static int complain(const struct error *err, int code)
{
	fprintf(stderr, "segue-vmm: %s\n", err->text);
	return code;
}

static void on_signal(uv_signal_t *signal, int number)
{
	(void)number;
	monitor_terminate(signal->data);
}

static void watch_signals(uv_loop_t *loop, struct monitor *monitor, uv_signal_t watch[2])
{
	static const int numbers[2] = {SIGTERM, SIGINT};

	for (int i = 0; i < 2; i++) {
		uv_signal_init(loop, &watch[i]);
		watch[i].data = monitor;
		uv_signal_start(&watch[i], on_signal, numbers[i]);
		uv_unref((uv_handle_t *)&watch[i]);
	}
}

static void say_ready(int fd, const struct monitor *monitor)
{
	const char *at = monitor_listens(monitor);

	if (fd < 0)
		return;
	dprintf(fd, *at ? "ready %s\n" : "ready\n", at);
	close(fd);
}

static int run(struct arguments *args, Segue__Guest *guest)
{
	uv_loop_t *loop = uv_default_loop();
	struct monitor *monitor;
	struct error err = {0};
	uv_signal_t watch[2];
	char *state_dir;

	if (paths_state_dir(args->state_dir, true, &state_dir, &err))
		return complain(&err, EXIT_FAILURE);
	args->monitor.guest = guest;
	args->monitor.state_dir = state_dir;
	if (monitor_open(loop, &args->monitor, &monitor, &err))
		return complain(&err, EXIT_FAILURE);
	watch_signals(loop, monitor, watch);
	say_ready(args->ready_fd, monitor);
	uv_run(loop, UV_RUN_DEFAULT);
	free(state_dir);
	return monitor_close(monitor);
}

static int rename_guest(Segue__Guest *guest, const char *name)
{
	if (!name)
		return 0;
	if (!paths_name_valid(name)) {
		fprintf(stderr, "segue-vmm: '%s' will not do as a name\n", name);
		return EXIT_WRONG;
	}
	free(guest->name);
	guest->name = strdup(name);
	return guest->name ? 0 : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	struct arguments args = {0};
	Segue__Guest *guest;
	struct error err = {0};
	int code = parse(argc, argv, &args);

	if (code)
		return code - 1;
	fault_init();
	if (config_load(args.file, &guest, &err))
		return complain(&err, EXIT_WRONG);
	code = rename_guest(guest, args.name);
	if (!code)
		code = run(&args, guest);
	config_free(guest);
	return code;
}
