/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake_kernel.h"
#include "vmm/console.h"
#include "vmm/machine_internal.h"
#include "vmm/sandbox.h"

/*
 * A guest runs, is tracked, moves to another machine and is reset, all inside the sandbox:
 * a system call or ioctl of the machine's that is not in the tables ends this test.
 */
#define MEMORY (32ull << 20)

/* Writes a counter that is in memory to COM1, for ever. */
static const uint8_t code[] = {
    0xbb, 0x00, 0x00, 0x20, 0x00, /* mov $0x200000, %ebx */
    0xb9, 0x00, 0x02, 0x00, 0x00, /* again: mov $0x200, %ecx */
    0xff, 0xc9,                   /* wait: dec %ecx */
    0x75, 0xfc,                   /* jnz wait */
    0x66, 0xba, 0xf8, 0x03,       /* mov $0x3f8, %dx */
    0x8a, 0x03,                   /* mov (%rbx), %al */
    0xee,                         /* out %al, (%dx) */
    0xfe, 0x03,                   /* incb (%rbx) */
    0xeb, 0xec,                   /* jmp again */
};

struct world {
	struct machine *machine;
	struct console_reader reader;
	unsigned rebooted, failed, paused, destroyed;
	atomic_uint said;
};

static uv_loop_t loop;
static int kernel_fd;
static char dir[] = "/tmp/segue-sandbox-XXXXXX";

static void on_event(void *context, enum machine_event event, const char *text)
{
	struct world *world = context;

	world->rebooted += event == MACHINE_REBOOTED;
	world->failed += event == MACHINE_FAILED;
	if (event == MACHINE_FAILED)
		dprintf(2, "%s\n", text);
}

static void on_pause(void *context)
{
	((struct world *)context)->paused++;
}

static void on_destroy(void *context)
{
	((struct world *)context)->destroyed++;
}

static void on_output(void *context, const uint8_t *data, size_t len)
{
	(void)data;
	((struct world *)context)->said += (unsigned)len;
}

#define STEP(condition)                                                                        \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			dprintf(2, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition,          \
				err.text);                                                     \
			return 1;                                                              \
		}                                                                              \
	} while (0)

/* 0 when WHAT comes to be true within twenty seconds. */
#define UNTIL(what)                                                                            \
	do {                                                                                   \
		time_t end = time(NULL) + 20;                                                  \
		while (!(what) && time(NULL) < end) {                                          \
			uv_run(&loop, UV_RUN_NOWAIT);                                          \
			usleep(100);                                                           \
		}                                                                              \
		STEP(what);                                                                    \
	} while (0)

static Segue__Guest guest_of(Segue__Kernel *kernel, char *path, size_t len)
{
	Segue__Guest guest = SEGUE__GUEST__INIT;

	segue__kernel__init(kernel);
	snprintf(path, len, "/proc/self/fd/%d", kernel_fd);
	kernel->image = path;
	guest.name = "g";
	guest.engine = "kvm";
	guest.cpu_model = "host";
	guest.cpus = 2;
	guest.memory = MEMORY;
	guest.kernel = kernel;
	guest.entropy = guest.console = guest.balloon = guest.allow_emulation = true;
	return guest;
}

static int open_world(struct world *world, struct error *err)
{
	struct machine_observer observer = {.event = on_event, .context = world};
	Segue__Kernel kernel;
	char path[64];
	Segue__Guest guest = guest_of(&kernel, path, sizeof(path));
	int r = machine_create(&loop, &guest, &observer, &world->machine, err);

	if (r < 0)
		return r;
	world->reader = (struct console_reader){.output = on_output, .context = world};
	console_attach(machine_serial_console(world->machine), &world->reader);
	return 0;
}

static int track(struct world *world)
{
	static uint64_t words[MEMORY / 4096 / 64];
	struct engine *engine = machine_engine(world->machine);
	struct error err = {0};
	unsigned before = world->said;

	STEP(!engine->ops->dirty_start(engine, &err));
	UNTIL(world->said > before + 5);
	STEP(!engine->ops->dirty_harvest(engine, words, &err));
	STEP(words[(0x200000 >> 12) / 64] & 1);
	machine_throttle(world->machine, 50);
	UNTIL(world->said > before + 10);
	machine_throttle(world->machine, 0);
	STEP(!engine->ops->dirty_stop(engine));
	return 0;
}

static int move(struct world *from, struct world *to)
{
	struct buffer state = {0}, contract = {0};
	struct error err = {0};
	unsigned before;

	machine_pause(from->machine, on_pause, from);
	UNTIL(from->paused == 1);
	STEP(!machine_save(from->machine, &state, &err));
	STEP(!machine_contract(from->machine, &contract));
	STEP(!machine_accept(to->machine, contract.data, contract.len, &err));
	memcpy(ram_base(machine_ram(to->machine)), ram_base(machine_ram(from->machine)),
	       MEMORY);
	STEP(!machine_load(to->machine, state.data, state.len, &err));
	before = to->said;
	STEP(!machine_resume(to->machine, 1000000, &err));
	UNTIL(to->said > before + 5);
	machine_announce(to->machine);
	buffer_done(&state);
	buffer_done(&contract);
	return 0;
}

static int inside(void)
{
	struct sandbox_options options = {.state_dir = dir};
	struct world from = {0}, to = {0};
	struct error err = {0};

	uv_loop_init(&loop);
	STEP(!open_world(&from, &err) && !open_world(&to, &err));
	STEP(!sandbox_enter(&options, &err));
	STEP(!machine_boot(from.machine, &err) && !machine_resume(from.machine, 0, &err));
	UNTIL(from.said > 5);
	if (track(&from) || move(&from, &to))
		return 1;
	machine_power_button(to.machine);
	machine_reset(to.machine);
	UNTIL(to.rebooted == 1);
	machine_destroy(from.machine, on_destroy, &from);
	machine_destroy(to.machine, on_destroy, &to);
	UNTIL(from.destroyed && to.destroyed);
	STEP(!from.failed && !to.failed);
	return 0;
}

static void test_inside(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(inside());
	CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
	if (WIFSIGNALED(status))
		fprintf(stderr, "killed by %s; SEGUE_SANDBOX=log tells by what\n",
			strsignal(WTERMSIG(status)));
}

int main(void)
{
	struct setup_header header = fake_header();
	struct error err = {0};
	Segue__Kernel kernel;
	Segue__Guest guest;
	char path[64];

#ifdef __SANITIZE_THREAD__
	puts("skipped: the thread sanitizer holds back the signal that binds threads, and makes "
	     "system calls of its own; the other builds run this");
	return 77;
#endif
	kernel_fd = fake_kernel(&header, code, sizeof(code));
	guest = guest_of(&kernel, path, sizeof(path));
	if (engine_kvm.probe(&guest, &err) < 0) {
		printf("skipped: %s\n", err.text);
		return 77;
	}
	if (!mkdtemp(dir))
		return 1;
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("sandbox around a machine", NULL, NULL);

	CU_add_test(s, "a guest runs, moves and is reset inside", test_inside);
	CU_basic_run_tests();
	rmdir(dir);
	return CU_get_number_of_failures() != 0;
}
