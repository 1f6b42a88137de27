/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fake_kernel.h"
#include "vmm/console.h"
#include "vmm/layout.h"
#include "vmm/machine_internal.h"

/* The machine around KVM, with a guest of a few instructions; emulation is enough for them. */

static uv_loop_t loop;
static int kernel_fd;

/*
 * Counts aloud: COM1 gets the low byte of a counter in memory, which is thus state in RAM,
 * while its place is kept in a register. 'r' typed resets, 't' triple faults, 'o' switches off,
 * 'h' waits for an interrupt that never comes.
 */
static const uint8_t code[] = {
    0xbb, 0x00, 0x00, 0x20, 0x00, /* mov $0x200000, %ebx */
    0xb9, 0x00, 0x02, 0x00, 0x00, /* again: mov $0x200, %ecx */
    0xff, 0xc9,                   /* wait: dec %ecx */
    0x75, 0xfc,                   /* jnz wait */
    0x66, 0xba, 0xf8, 0x03,       /* mov $0x3f8, %dx */
    0x8a, 0x03,                   /* mov (%rbx), %al */
    0xee,                         /* out %al, (%dx) */
    0xfe, 0x03,                   /* incb (%rbx) */
    0x66, 0xba, 0xfd, 0x03,       /* mov $0x3fd, %dx */
    0xec,                         /* in (%dx), %al */
    0xa8, 0x01,                   /* test $1, %al */
    0x74, 0xe5,                   /* jz again */
    0x66, 0xba, 0xf8, 0x03,       /* mov $0x3f8, %dx */
    0xec,                         /* in (%dx), %al */
    0x3c, 'r',                    /* cmp $'r', %al */
    0x75, 0x07,                   /* jne 1f */
    0xb0, 0x06,                   /* mov $6, %al */
    0x66, 0xba, 0x02, 0x06,       /* mov $0x602, %dx */
    0xee,                         /* out %al, (%dx) */
    0x3c, 'o',                    /* 1: cmp $'o', %al */
    0x75, 0x07,                   /* jne 2f */
    0xb0, 0x34,                   /* mov $0x34, %al */
    0x66, 0xba, 0x00, 0x06,       /* mov $0x600, %dx */
    0xee,                         /* out %al, (%dx) */
    0x3c, 't',                    /* 2: cmp $'t', %al */
    0x75, 0x02,                   /* jne 3f */
    0x0f, 0x0b,                   /* ud2 */
    0x3c, 'h',                    /* 3: cmp $'h', %al */
    0x75, 0xc0,                   /* jne again */
    0xf4,                         /* 4: hlt */
    0xeb, 0xfd,                   /* jmp 4b */
};

struct world {
	struct machine *machine;
	unsigned events[MACHINE_EVENTS];
	char text[480];
	unsigned paused;
	bool destroyed;
	struct console_reader reader;
	uint8_t first;
	atomic_uint n_said;
	atomic_uint out_of_order;
};

static void on_event(void *context, enum machine_event event, const char *text)
{
	struct world *world = context;

	world->events[event]++;
	snprintf(world->text, sizeof(world->text), "%s", text);
}

static void on_pause(void *context)
{
	((struct world *)context)->paused++;
}

static void on_destroy(void *context)
{
	((struct world *)context)->destroyed = true;
}

static void on_output(void *context, const uint8_t *data, size_t len)
{
	struct world *world = context;

	for (size_t i = 0; i < len; i++) {
		if (data[i] != (uint8_t)(world->first + world->n_said))
			world->out_of_order++;
		world->n_said++;
	}
}

static void turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

#define UNTIL(what)                                                                            \
	do {                                                                                   \
		uint64_t end = machine_now() + 20000000000u;                                   \
		while (!(what) && machine_now() < end)                                         \
			turn();                                                                \
		CU_ASSERT_FATAL(what);                                                         \
	} while (0)

static Segue__Guest guest_of(Segue__Kernel *kernel, char *path, size_t len)
{
	Segue__Guest guest = SEGUE__GUEST__INIT;

	segue__kernel__init(kernel);
	snprintf(path, len, "/proc/self/fd/%d", kernel_fd);
	kernel->image = path;
	guest.engine = "kvm";
	guest.cpu_model = "host";
	guest.cpus = 2;
	guest.memory = 32u << 20;
	guest.kernel = kernel;
	guest.entropy = true;
	guest.console = true;
	guest.balloon = true;
	guest.allow_emulation = true;
	return guest;
}

static void open_world(struct world *world, uint8_t first)
{
	struct machine_observer observer = {.event = on_event, .context = world};
	struct error err = {0};
	Segue__Kernel kernel;
	char path[64];
	Segue__Guest guest = guest_of(&kernel, path, sizeof(path));

	memset(world, 0, sizeof(*world));
	world->first = first;
	if (machine_create(&loop, &guest, &observer, &world->machine, &err) < 0) {
		printf(" (%s) ", err.text);
		CU_FAIL_FATAL("no machine");
	}
	world->reader = (struct console_reader){.output = on_output, .context = world};
	console_attach(machine_serial_console(world->machine), &world->reader);
}

static void close_world(struct world *world)
{
	if (world->events[MACHINE_FAILED])
		printf("\n    %s\n", world->text);
	CU_ASSERT_EQUAL(world->events[MACHINE_FAILED], 0);
	CU_ASSERT_EQUAL(world->out_of_order, 0);
	machine_destroy(world->machine, on_destroy, world);
	UNTIL(world->destroyed);
}

static void start(struct world *world)
{
	struct error err = {0};

	CU_ASSERT_EQUAL(machine_boot(world->machine, &err), 0);
	CU_ASSERT_EQUAL(machine_resume(world->machine, 0, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.text, "");
}

static void stand(struct world *world)
{
	unsigned before = world->paused;

	machine_pause(world->machine, on_pause, world);
	UNTIL(world->paused == before + 1);
}

static void type(struct world *world, char key)
{
	machine_lock(world->machine);
	console_type(machine_serial_console(world->machine), (const uint8_t *)&key, 1);
	machine_unlock(world->machine);
}

static void test_move(void)
{
	struct world from, to;
	struct buffer state = {0}, contract = {0};
	struct error err = {0};
	uint64_t begin, saved, loaded, resumed;

	open_world(&from, 0);
	start(&from);
	UNTIL(from.n_said > 20);
	stand(&from);
	begin = machine_now();
	CU_ASSERT_EQUAL(machine_save(from.machine, &state, &err), 0);
	saved = machine_now() - begin;
	CU_ASSERT_EQUAL(machine_contract(from.machine, &contract), 0);

	open_world(&to, (uint8_t)from.n_said);
	CU_ASSERT_EQUAL(machine_accept(to.machine, contract.data, contract.len, &err), 0);
	memcpy(ram_base(machine_ram(to.machine)), ram_base(machine_ram(from.machine)),
	       ram_size(machine_ram(to.machine)));
	begin = machine_now();
	CU_ASSERT_EQUAL(machine_load(to.machine, state.data, state.len, &err), 0);
	loaded = machine_now() - begin;
	CU_ASSERT_STRING_EQUAL(err.text, "");
	begin = machine_now();
	CU_ASSERT_EQUAL(machine_resume(to.machine, 1000000, &err), 0);
	resumed = machine_now() - begin;
	printf(" (save %u us, load %u us, resume %u us)", (unsigned)(saved / 1000),
	       (unsigned)(loaded / 1000), (unsigned)(resumed / 1000));
	UNTIL(to.n_said > 20);
	CU_ASSERT_EQUAL(from.out_of_order + to.out_of_order, 0);
	/* And here too it can be stopped, and go on. */
	stand(&to);
	CU_ASSERT_EQUAL(machine_resume(to.machine, 0, NULL), 0);
	close_world(&to);
	close_world(&from);
	buffer_done(&state);
	buffer_done(&contract);
}

static void test_reset(void)
{
	struct world world;
	unsigned said;

	open_world(&world, 0);
	start(&world);
	UNTIL(world.n_said > 3);
	for (unsigned i = 1; i <= 3; i++) {
		type(&world, i == 2 ? 't' : 'r');
		UNTIL(world.events[MACHINE_REBOOTED] == i);
		said = world.n_said;
		UNTIL(world.n_said > said + 3);
	}
	/* One asked for together with a pause comes first. */
	machine_reset(world.machine);
	stand(&world);
	CU_ASSERT_EQUAL(world.events[MACHINE_REBOOTED], 4);
	said = world.n_said;
	CU_ASSERT_EQUAL(machine_resume(world.machine, 0, NULL), 0);
	UNTIL(world.n_said > said + 3);
	/* Between saying a number and counting on, a reset makes it say the same again. */
	world.out_of_order = 0;
	close_world(&world);
}

static void test_power_off(void)
{
	struct world world;

	open_world(&world, 0);
	start(&world);
	UNTIL(world.n_said > 3);
	type(&world, 'o');
	UNTIL(world.events[MACHINE_POWERED_OFF] == 1);
	UNTIL(!machine_running(world.machine));
	close_world(&world);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How long it takes to stop a guest that sleeps, which is part of every blackout. */
static void test_idle(void)
{
	struct world world;
	uint64_t took[50];
	unsigned said;

	open_world(&world, 0);
	start(&world);
	UNTIL(world.n_said > 3);
	type(&world, 'h');
	do {
		said = world.n_said;
		for (unsigned i = 0; i < 1000; i++)
			turn();
	} while (said != world.n_said);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t begin = machine_now();

		machine_pause(world.machine, on_pause, &world);
		while (world.paused != i + 1)
			uv_run(&loop, UV_RUN_ONCE);
		took[i] = machine_now() - begin;
		CU_ASSERT_EQUAL(machine_resume(world.machine, 0, NULL), 0);
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	qsort(took, 50, sizeof(took[0]), by_size);
	printf(" (median %u us, longest %u us)", (unsigned)(took[25] / 1000),
	       (unsigned)(took[49] / 1000));
	CU_ASSERT(took[25] < 20000000);
	close_world(&world);
}

static bool have_kvm(void)
{
	Segue__Kernel kernel;
	char path[64];
	Segue__Guest guest = guest_of(&kernel, path, sizeof(path));
	struct error err = {0};

	if (engine_kvm.probe(&guest, &err) == 0)
		return true;
	printf("skipped: %s\n", err.text);
	return false;
}

int main(void)
{
	struct setup_header header = fake_header();
	unsigned failures;

	if (!have_kvm())
		return 77;
	kernel_fd = fake_kernel(&header, code, sizeof(code));
	uv_loop_init(&loop);
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("machine on kvm", NULL, NULL);

	CU_add_test(suite, "a guest moves between two machines", test_move);
	CU_add_test(suite, "it resets itself", test_reset);
	CU_add_test(suite, "it switches itself off", test_power_off);
	CU_add_test(suite, "a sleeping guest is stopped fast", test_idle);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	close(kernel_fd);
	if (uv_loop_close(&loop) < 0) {
		printf("handles are left on the loop\n");
		failures++;
	}
	return failures != 0;
}
