/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/suggest.h"
#include "tools/segue/address.h"
#include "tools/segue/commands.h"
#include "tools/segue/move_view.h"

/* The real segue against a monitor without a guest (test_cli_monitor.c). */
static const char *segue, *monitor, *manual;
static char dir[] = "/tmp/segue-cli-XXXXXX";
static char out[16384], errors[16384];

static void slurp(const char *name, char *to, size_t size)
{
	char path[96];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? 0 : read(fd, to, size - 1);
	to[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* Runs "segue WORDS", a shell's words; its exit code. Fills out and errors. */
static int run(const char *words)
{
	char line[1024];
	int status;

	snprintf(line, sizeof(line), "cd %s && exec timeout 20 %s %s >out 2>errors </dev/null",
		 dir, segue, words);
	status = system(line);
	slurp("out", out, sizeof(out));
	slurp("errors", errors, sizeof(errors));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* RUN must end with CODE; tells what was said where it does not. */
static void ends(const char *words, int code)
{
	int got = run(words);

	CU_ASSERT_EQUAL(got, code);
	if (got != code)
		fprintf(stderr, "\nsegue %s: %d, not %d\n%s%s", words, got, code, out, errors);
}

static void holds(const char *text, const char *part)
{
	CU_ASSERT_PTR_NOT_NULL(strstr(text, part));
	if (!strstr(text, part))
		fprintf(stderr, "\nno \"%s\" in: %s\n", part, text);
}

static const char *in_dir(const char *name)
{
	static char path[96];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_guest(const char *name, const char *cmdline)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.yaml", dir, name);
	file = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fprintf(file, "name: %s\nmemory: 512M\nkernel: {image: vmlinuz, cmdline: '%s'}\n", name,
		cmdline);
	fclose(file);
}

static void test_usage(void)
{
	ends("", 2);
	holds(errors, "Usage: segue");
	ends("mvoe", 2);
	holds(errors, "did you mean \"move\"?");
	ends("move web1 --too x", 2);
	holds(errors, "did you mean --to?");
	ends("move", 2);
	holds(errors, "NAME is missing");
	ends("show a b", 2);
	ends("move web1", 2);
	holds(errors, "--to HOST:PORT is missing");
	ends("move web1 --to 1.2.3.4", 2);
	ends("move web1 --to 1.2.3.4:0", 2);
	ends("move web1 --to 1.2.3.4:1 --channels 17", 2);
	ends("move web1 --to 1.2.3.4:1 --bandwidth 5", 2);
	ends("move web1 --to 1.2.3.4:1 --downtime 2h", 2);
	ends("move web1 --to 1.2.3.4:1 --compression gzip", 2);
	holds(errors, "auto|none|lz4|delta|zstd");
	ends("stop web1 --timeout", 2);
	holds(errors, "--timeout TIME");
	ends("stop web1 --force --reset", 2);
	ends("recover web1", 2);
	ends("show nobody", 3);
	holds(errors, "there is no guest \"nobody\" here");
	ends("show ../x", 3);
	ends("--version", 0);
	holds(out, "segue ");
}

/* Every command explains itself, and the manual leaves none out. */
static void test_help(void)
{
	static char page[65536];
	char words[64], macro[64];
	FILE *file = fopen(manual, "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	page[fread(page, 1, sizeof(page) - 1, file)] = '\0';
	fclose(file);
	for (size_t i = 0; commands[i]; i++) {
		snprintf(words, sizeof(words), "%s --help", commands[i]->name);
		ends(words, 0);
		holds(out, "Usage: segue ");
		holds(out, "Exit codes:");
		snprintf(macro, sizeof(macro), "\n.It Ic %s", commands[i]->name);
		holds(page, macro);
		for (const struct option_spec *o = commands[i]->options; o && o->name; o++) {
			snprintf(words, sizeof(words), "--%s", o->name);
			holds(out, words);
			snprintf(macro, sizeof(macro), "Fl -%s", o->name);
			holds(page, macro);
		}
	}
	for (int i = 0; i < EXIT_CODES; i++)
		holds(page, exit_words[i]);
}

static void test_completion(void)
{
	ends("completion bash", 0);
	for (size_t i = 0; commands[i]; i++)
		holds(out, commands[i]->name);
	CU_ASSERT_EQUAL(system("bash -n <<'X'\n:\nX\n"), 0);
	char line[256];
	snprintf(
	    line, sizeof(line),
	    "cd %s && bash -c '. ./out; COMP_WORDS=(segue mo); COMP_CWORD=1; _segue; echo "
	    "${COMPREPLY[*]}; COMP_WORDS=(segue move a --compression l); COMP_CWORD=4; _segue; "
	    "echo ${COMPREPLY[*]}' >words",
	    dir);
	CU_ASSERT_EQUAL(system(line), 0);
	slurp("words", out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, "move\nlz4\n");
	ends("completion zsh", 0);
	holds(out, "#compdef segue");
	ends("completion fish", 2);
}

/* Sends SIGNAL to the monitor of NAME, as "segue show" said before what its pid is. */
static int stop_monitor(const char *name, int number)
{
	static pid_t pid;
	char words[64];
	json_t *json;

	if (number == SIGSTOP) {
		snprintf(words, sizeof(words), "show %s --json", name);
		ends(words, 0);
		json = json_loads(out, 0, NULL);
		pid = (pid_t)json_integer_value(json_object_get(json, "pid"));
		json_decref(json);
	}
	return pid > 1 ? kill(pid, number) : -1;
}

static void test_life(void)
{
	json_t *json, *first;

	write_guest("web1", "");
	ends("run web1.yaml", 0);
	holds(out, "web1 runs (pid ");
	ends("run web1.yaml", 1);
	holds(errors, "\"web1\" is here already");
	ends("run web1.yaml --name web2 --paused", 0);
	ends("ls", 0);
	holds(out, "web1");
	holds(out, "running");
	holds(out, "paused");
	holds(out, "512 MiB");
	ends("ls --json", 0);
	json = json_loads(out, 0, NULL);
	CU_ASSERT_EQUAL(json_array_size(json), 2);
	first = json_array_get(json, 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(first, "name")), "web1");
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(first, "state")), "running");
	json_decref(json);
	ends("show web1", 0);
	holds(out, "100 MiB of the guest, 5 MiB of the monitor");
	holds(out, "2 min 5 s");
	holds(out, "kvm (auto: so it is)");
	holds(out, "tracking    counting");
	ends("pause web1", 0);
	CU_ASSERT_STRING_EQUAL(out, "web1 paused\n");
	ends("show web1 --json", 0);
	holds(out, "\"state\": \"paused\"");
	ends("resume web1 --json", 0);
	holds(out, "\"done\": \"running\"");
	ends("events web1", 0);
	holds(out, "running");
	ends("balloon web1 256M", 0);
	ends("recover web1 --gone", 0);
	slurp("web1.log", out, sizeof(out));
	holds(out, "balloon 268435456\n");
	holds(out, "recover 2\n");
	/* One monitor that hangs hides nobody. */
	CU_ASSERT_EQUAL(stop_monitor("web2", SIGSTOP), 0);
	ends("ls", 0);
	holds(out, "silent");
	holds(out, "running");
	CU_ASSERT_EQUAL(stop_monitor("web2", SIGCONT), 0);
	ends("cancel web1", 1);
	holds(errors, "nothing is moving");
	ends("stop web1 --reset", 0);
	ends("stop web1", 0);
	ends("stop web2", 0);
	ends("ls", 0);
	CU_ASSERT_PTR_NULL(strstr(out, "web"));
}

static void test_start_fails(void)
{
	write_guest("bad", "fail-start");
	ends("run bad.yaml", 1);
	CU_ASSERT_STRING_EQUAL(errors, "segue: segue-vmm: vmlinuz: no such kernel\n");
	ends("run nothere.yaml", 2);
	holds(errors, "nothere.yaml: No such file");
	ends("run web1.yaml --name ../x", 2);
	ends("run out", 2);
	setenv("SEGUE_VMM", "/nowhere/segue-vmm", 1);
	write_guest("web1", "");
	ends("run web1.yaml --json", 1);
	holds(errors, "cannot start /nowhere/segue-vmm");
	holds(out, "\"exit\": 1");
	holds(out, "\"text\": \"cannot start /nowhere/segue-vmm");
	setenv("SEGUE_VMM", monitor, 1);
}

static void test_stop_late(void)
{
	write_guest("deaf", "deaf");
	ends("run deaf.yaml", 0);
	ends("stop deaf --timeout 100ms", 7);
	holds(errors, "still runs");
	ends("stop deaf --force", 0);
}

static void test_receive(void)
{
	write_guest("web1", "");
	ends("receive web1.yaml", 2);
	ends("receive web1.yaml --listen :7000", 0);
	holds(out, "web1 waits at 0.0.0.0:7000 (pid ");
	ends("show web1", 0);
	holds(out, "receiving");
	ends("stop web1 --force", 0);
}

static void test_move(void)
{
	write_guest("web1", "");
	ends("run web1.yaml", 0);
	ends("move web1 --to 127.0.0.1:2 --channels 4 --bandwidth 1G --downtime 5ms "
	     "--time-limit 5m "
	     "--if-unconverged throttle --compression lz4 --record rec",
	     6);
	CU_ASSERT_STRING_EQUAL(strstr(errors, "segue: "),
			       "segue: web1: node2 refuses the guest: no AVX2 there\n");
	holds(errors, "round 2: 4000 pages  812 MB/s  blackout about 4.1 ms, 300.0 ms left\n");
	slurp("web1.log", out, sizeof(out));
	holds(out,
	      "move to=127.0.0.1:2 channels=4 bandwidth=1073741824 downtime=5000 limit=300 "
	      "unconverged=2 compression=lz4 record=/");
	holds(out, "/rec\n");
	CU_ASSERT_EQUAL(access(in_dir("rec"), W_OK), 0);
	ends("move web1 --to 127.0.0.1:6", 7);
	holds(errors, "the time limit of 5 s is over");
	ends("move web1 --to localhost:1 --dry-run", 0);
	holds(out, "web1 can be moved: blackout about 4.1 ms, 3.50 s in all");
	ends("move web1 --to 127.0.0.1:3", 5);
	holds(errors, "segue recover web1 --gone");
	ends("move web1 --to 127.0.0.1:1 --json", 0);
	holds(out, "\"outcome\": \"moved\"");
	CU_ASSERT_STRING_EQUAL(errors, "");
	usleep(100000);
	ends("run web1.yaml", 0);
	ends("move web1 --to 127.0.0.1:1", 0);
	CU_ASSERT_STRING_EQUAL(
	    out, "web1 moved to 127.0.0.1:1 in 3.20 s: 4 rounds, 90 MiB sent\n"
		 "blackout 4.1 ms: pause 200 us, last pages 1.5 ms, state 400 us, "
		 "commit 1.1 ms, resume 900 us\n"
		 "135072 pages sent (100000 zero, 35072 LZ4) over 4 channels\n");
	usleep(100000);
	ends("run web1.yaml", 0);
	ends("move web1 --to 127.0.0.1:5", 5);
	holds(errors, "the monitor ended during the move");
	ends("show web1", 3);
	holds(errors, "the monitor of \"web1\" is gone");
}

/* A child on a terminal of its own; the parent's side of it. */
static pid_t on_terminal(int *ret_fd, const char *a, const char *b, const char *c,
			 const char *d)
{
	struct winsize size = {.ws_row = 24, .ws_col = 100};
	pid_t pid = forkpty(ret_fd, NULL, NULL, &size);

	if (!pid) {
		execl(segue, "segue", a, b, c, d, NULL);
		_exit(127);
	}
	CU_ASSERT_FATAL(pid > 0);
	return pid;
}

/* Reads until PART has come, or five seconds are over. */
static bool expect(int fd, const char *part)
{
	size_t len = 0;

	out[0] = '\0';
	for (int i = 0; i < 50; i++) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, 100) <= 0)
			continue;
		n = read(fd, out + len, sizeof(out) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		out[len] = '\0';
		if (strstr(out, part))
			return true;
	}
	fprintf(stderr, "\nno \"%s\" in: %s\n", part, out);
	return false;
}

static int ended(pid_t pid)
{
	int status = -1;

	for (int i = 0; i < 500; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

static void test_cancel(void)
{
	int fd;
	pid_t pid;

	write_guest("web1", "");
	ends("run web1.yaml", 0);
	pid = on_terminal(&fd, "move", "web1", "--to", "127.0.0.1:4");
	CU_ASSERT(expect(fd, "blackout about 4.1 ms"));
	holds(out, "75% [######################");
	CU_ASSERT_EQUAL(write(fd, "\x03", 1), 1);
	CU_ASSERT(expect(fd, "the guest stays here"));
	CU_ASSERT_EQUAL(ended(pid), 4);
	close(fd);
	ends("stop web1", 0);
}

static void test_console(void)
{
	int fd;
	pid_t pid;

	write_guest("web1", "");
	ends("run web1.yaml", 0);
	pid = on_terminal(&fd, "console", "web1", NULL, NULL);
	CU_ASSERT(expect(fd, "login: "));
	CU_ASSERT_EQUAL(write(fd, "roo\x03t\r", 6), 6);
	CU_ASSERT(expect(fd, "roo\x03t\r")); /* raw: Ctrl-C goes to the guest */
	CU_ASSERT_EQUAL(write(fd, "\x1d", 1), 1);
	CU_ASSERT(expect(fd, "[left]"));
	CU_ASSERT_EQUAL(ended(pid), 0);
	close(fd);
	pid = on_terminal(&fd, "console", "web1", "--virtio", NULL);
	CU_ASSERT(expect(fd, "login: "));
	CU_ASSERT_EQUAL(write(fd, "bye", 3), 3);
	CU_ASSERT(expect(fd, "[web1 is gone]"));
	CU_ASSERT_EQUAL(ended(pid), 0);
	close(fd);
}

static void test_parts(void)
{
	Segue__Progress p = SEGUE__PROGRESS__INIT;
	char buf[ADDRESS_MAX];
	struct error err = {0};

	CU_ASSERT_EQUAL(move_view_percent(&p), 0);
	p.round = 1;
	p.pages_total = 200;
	p.pages_left = 50;
	CU_ASSERT_EQUAL(move_view_percent(&p), 75);
	p.pages_left = 300;
	CU_ASSERT_EQUAL(move_view_percent(&p), 0);
	p.pages_left = 0;
	CU_ASSERT_EQUAL(move_view_percent(&p), 100);
	CU_ASSERT(!address_resolve("[::1]:70", false, buf, &err) && !strcmp(buf, "[::1]:70"));
	CU_ASSERT(!address_resolve("1.2.3.4:70", false, buf, &err) &&
		  !strcmp(buf, "1.2.3.4:70"));
	CU_ASSERT(!address_resolve(":0", true, buf, &err) && !strcmp(buf, "0.0.0.0:0"));
	CU_ASSERT(address_resolve("::1:70", false, buf, &err) < 0);
	CU_ASSERT(address_resolve("1.2.3.4:70000", false, buf, NULL) < 0);
	CU_ASSERT(address_resolve("1.2.3.4:7x", false, buf, NULL) < 0);
}

int main(int argc, char **argv)
{
	if (argc != 4 || !mkdtemp(dir))
		return 1;
	segue = realpath(argv[1], NULL);
	manual = argv[3];
	monitor = realpath(argv[2], NULL);
	if (!segue || !monitor)
		return 1;
	setenv("SEGUE_VMM", monitor, 1);
	setenv("SEGUE_STATE_DIR", dir, 1);
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("cli", NULL, NULL);

	CU_add_test(s, "parts", test_parts);
	CU_add_test(s, "wrong command lines", test_usage);
	CU_add_test(s, "help and manual cover everything", test_help);
	CU_add_test(s, "completion", test_completion);
	CU_add_test(s, "start, look, stop", test_life);
	CU_add_test(s, "a start that fails", test_start_fails);
	CU_add_test(s, "a guest that does not stop", test_stop_late);
	CU_add_test(s, "a destination", test_receive);
	CU_add_test(s, "moves and how they end", test_move);
	CU_add_test(s, "Ctrl-C cancels a move", test_cancel);
	CU_add_test(s, "console", test_console);
	CU_basic_run_tests();
	if (chdir("/tmp") || !fork())
		execlp("rm", "rm", "-rf", dir, NULL);
	return CU_get_number_of_failures() != 0;
}
