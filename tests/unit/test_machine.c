/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fake_engine.h"
#include "fake_kernel.h"
#include "machine.pb-c.h"
#include "vmm/console.h"
#include "vmm/devices/ged.h"
#include "vmm/layout.h"
#include "vmm/machine_internal.h"

/* The machine around an engine that does what the test says. */

static uv_loop_t loop;
static int kernel_fd;

struct world {
	struct machine *machine;
	struct fake_engine *engine;
	unsigned events[MACHINE_EVENTS];
	char text[480];
	unsigned paused;
	bool destroyed;
	struct console_reader reader;
	char said[4096];
	atomic_size_t n_said;
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

	for (size_t i = 0; i < len && world->n_said < sizeof(world->said); i++) {
		world->said[world->n_said] = (char)data[i];
		world->n_said++;
	}
}

static void turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* Turns the loop until WHAT holds, five seconds at most. */
#define UNTIL(what)                                                                            \
	do {                                                                                   \
		uint64_t end = machine_now() + 5000000000u;                                    \
		while (!(what) && machine_now() < end)                                         \
			turn();                                                                \
		CU_ASSERT(what);                                                               \
	} while (0)

static Segue__Guest guest_of(Segue__Kernel *kernel, char *path, size_t len)
{
	Segue__Guest guest = SEGUE__GUEST__INIT;

	segue__kernel__init(kernel);
	snprintf(path, len, "/proc/self/fd/%d", kernel_fd);
	kernel->image = path;
	guest.engine = "fake";
	guest.cpus = 2;
	guest.memory = 64u << 20;
	guest.kernel = kernel;
	return guest;
}

static void open_sized(struct world *world, unsigned cpus, uint64_t memory, bool entropy)
{
	struct machine_observer observer = {.event = on_event, .context = world};
	struct error err = {0};
	Segue__Kernel kernel;
	char path[64];
	Segue__Guest guest = guest_of(&kernel, path, sizeof(path));

	memset(world, 0, sizeof(*world));
	guest.cpus = cpus;
	guest.memory = memory;
	guest.entropy = entropy;
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		atomic_store(&fake_steps[i], NULL);
	if (machine_build(&loop, &guest, &fake_engine_ops, &observer, &world->machine, &err) <
	    0)
		CU_FAIL_FATAL(err.text);
	world->engine = (struct fake_engine *)machine_engine(world->machine);
	world->reader = (struct console_reader){.output = on_output, .context = world};
	console_attach(machine_serial_console(world->machine), &world->reader);
}

static void open_world(struct world *world)
{
	open_sized(world, 2, 64u << 20, false);
}

static void close_world(struct world *world)
{
	/* No rule of the engine was broken. */
	CU_ASSERT_EQUAL(atomic_load(&world->engine->breaches), 0);
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
	CU_ASSERT_EQUAL(world->paused, before); /* never from within the call */
	UNTIL(world->paused == before + 1);
	CU_ASSERT_FALSE(machine_running(world->machine));
}

/* A guest that counts aloud: its state is its number of steps. */
static void step_talk(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
	fake_out(vcpu, exit, LAYOUT_COM1, (uint8_t)('a' + vcpu->steps % 26));
}

static bool in_order(const struct world *world)
{
	for (size_t i = 0; i < world->n_said; i++) {
		if (world->said[i] != (char)('a' + i % 26))
			return false;
	}
	return true;
}

static void test_pause(void)
{
	struct world world;
	size_t said;

	open_world(&world);
	atomic_store(&fake_steps[0], step_talk);
	CU_ASSERT_FALSE(machine_running(world.machine));
	start(&world);
	CU_ASSERT_TRUE(machine_running(world.machine));
	CU_ASSERT_EQUAL(machine_paused_at(world.machine), 0);
	UNTIL(world.n_said > 20);
	stand(&world);
	CU_ASSERT_NOT_EQUAL(machine_paused_at(world.machine), 0);
	CU_ASSERT(machine_paused_at(world.machine) <= machine_now());
	said = world.n_said;
	for (unsigned i = 0; i < 100; i++)
		turn();
	CU_ASSERT_EQUAL(world.n_said, said);
	stand(&world); /* once more is granted at once */
	CU_ASSERT_EQUAL(machine_resume(world.machine, 77000000, NULL), 0);
	CU_ASSERT(world.engine->elapsed > 70000000 && world.engine->elapsed <= 77000000);
	CU_ASSERT_EQUAL(machine_resume(world.machine, 0, NULL), -EBUSY);
	UNTIL(world.n_said > said + 20);
	CU_ASSERT_TRUE(in_order(&world));
	CU_ASSERT_EQUAL(atomic_load(&world.engine->freezes), 1);
	close_world(&world);
}

/* Many pauses one after the other; two wanted at once are both told. */
static void test_pause_often(void)
{
	struct world world;
	struct timespec before, after;
	uint64_t longest = 0;

	open_sized(&world, 4, 64u << 20, true);
	for (unsigned i = 0; i < 2; i++)
		atomic_store(&fake_steps[i], step_talk);
	start(&world);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t took;

		clock_gettime(CLOCK_MONOTONIC, &before);
		machine_pause(world.machine, on_pause, &world);
		machine_pause(world.machine, on_pause, &world);
		UNTIL(world.paused == 2 * (i + 1));
		clock_gettime(CLOCK_MONOTONIC, &after);
		took = (uint64_t)(after.tv_sec - before.tv_sec) * 1000000000u +
		       (uint64_t)after.tv_nsec - (uint64_t)before.tv_nsec;
		longest = took > longest ? took : longest;
		CU_ASSERT_EQUAL(machine_resume(world.machine, 0, NULL), 0);
	}
	CU_ASSERT(longest < 1000000000u);
	close_world(&world);
}

static void test_move(void)
{
	struct world from, to;
	struct buffer state = {0}, contract = {0};
	struct error err = {0};

	open_world(&from);
	atomic_store(&fake_steps[0], step_talk);
	start(&from);
	UNTIL(from.n_said > 20);
	CU_ASSERT_EQUAL(machine_save(from.machine, &state, &err), -EBUSY);
	/* Something for each device to carry. */
	machine_lock(from.machine);
	bus_write(machine_ports(from.machine), LAYOUT_COM1 + 7, (const uint8_t *)"\x5a", 1);
	machine_unlock(from.machine);
	machine_power_button(from.machine);
	stand(&from);
	CU_ASSERT_EQUAL(machine_save(from.machine, &state, NULL), 0);
	CU_ASSERT_EQUAL(machine_contract(from.machine, &contract), 0);

	open_world(&to);
	memcpy(to.said, from.said, from.n_said);
	to.n_said = from.n_said;
	atomic_store(&fake_steps[0], step_talk);
	err = (struct error){0};
	CU_ASSERT_EQUAL(machine_accept(to.machine, contract.data, contract.len, &err), 0);
	CU_ASSERT_EQUAL(machine_load(to.machine, state.data, state.len, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.text, "");
	/* The power button's interrupt line is up here as well, and its event is there. */
	CU_ASSERT(atomic_load(&to.engine->irqs) & 1u << LAYOUT_GED_GSI);
	CU_ASSERT_EQUAL(machine_resume(to.machine, 1000, NULL), 0);
	UNTIL(to.n_said > from.n_said + 20);
	CU_ASSERT_TRUE(in_order(&to));
	machine_announce(to.machine);
	uint8_t data[4];
	machine_lock(to.machine);
	bus_read(machine_ports(to.machine), LAYOUT_COM1 + 7, data, 1);
	CU_ASSERT_EQUAL(data[0], 0x5a);
	bus_read(machine_memory(to.machine), LAYOUT_GED, data, 4);
	CU_ASSERT_EQUAL(data[0], GED_POWER_BUTTON);
	machine_unlock(to.machine);
	CU_ASSERT_EQUAL(atomic_load(&to.engine->irqs) & 1u << LAYOUT_GED_GSI, 0);
	close_world(&to);
	close_world(&from);
	buffer_done(&state);
	buffer_done(&contract);
}

/* Loads MESSAGE into a new machine and looks for SAID in the refusal. */
static void refuse_state(const Segue__MachineState *message, const char *said)
{
	struct world world;
	struct buffer packed = {0};
	struct error err = {0};

	open_world(&world);
	CU_ASSERT_EQUAL(buffer_pack(&packed, &message->base), 0);
	CU_ASSERT(machine_load(world.machine, packed.data, packed.len, &err) < 0);
	if (!strstr(err.text, said))
		printf("\n    \"%s\" lacks \"%s\"\n", err.text, said);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, said));
	buffer_done(&packed);
	close_world(&world);
}

static void test_bad_state(void)
{
	struct world world;
	struct buffer state = {0};
	struct error err = {0};
	Segue__MachineState *message;
	Segue__DeviceState *device;
	char *name;

	open_world(&world);
	start(&world);
	stand(&world);
	CU_ASSERT_EQUAL(machine_save(world.machine, &state, NULL), 0);
	CU_ASSERT_EQUAL(machine_load(world.machine, (const uint8_t *)"\xff", 1, &err), -EPROTO);
	close_world(&world);
	message = segue__machine_state__unpack(NULL, state.len, state.data);
	CU_ASSERT_PTR_NOT_NULL_FATAL(message);
	device = message->devices[0];

	device->version = 9;
	refuse_state(message, "serial0: its state has unknown version 9");
	device->version = 1;
	name = device->name;
	device->name = message->devices[1]->name;
	refuse_state(message, "serial0: its state came 0 times");
	device->name = name;
	message->n_devices--;
	refuse_state(message, "its state came 0 times");
	message->devices[message->n_devices]->name[0] = 'X';
	message->n_devices++;
	refuse_state(message, "came 0 times");
	message->devices[message->n_devices - 1]->name[0] = 'p';
	device->state.len = 1;
	refuse_state(message, "serial0: not a valid message");
	message->engine.len--;
	refuse_state(message, "engine: its state is of the wrong size");
	segue__machine_state__free_unpacked(message, NULL);
	buffer_done(&state);
}

static void refuse_contract(struct buffer *contract, unsigned cpus, uint64_t memory,
			    bool entropy, const char *said)
{
	struct world world;
	struct error err = {0};

	open_sized(&world, cpus, memory, entropy);
	CU_ASSERT(machine_accept(world.machine, contract->data, contract->len, &err) < 0);
	if (!strstr(err.text, said))
		printf("\n    \"%s\" lacks \"%s\"\n", err.text, said);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, said));
	close_world(&world);
}

static void test_contract(void)
{
	struct world world;
	struct buffer contract = {0}, rich = {0};

	open_world(&world);
	CU_ASSERT_EQUAL(machine_contract(world.machine, &contract), 0);
	close_world(&world);
	open_sized(&world, 2, 64u << 20, true);
	CU_ASSERT_EQUAL(machine_contract(world.machine, &rich), 0);
	CU_ASSERT_EQUAL(machine_accept(world.machine, rich.data, rich.len, NULL), 0);
	CU_ASSERT_EQUAL(machine_accept(world.machine, (const uint8_t *)"\xff", 1, NULL),
			-EPROTO);
	close_world(&world);
	refuse_contract(&contract, 3, 64u << 20, false, "has 2 vCPUs, here it would have 3");
	refuse_contract(&contract, 2, 32u << 20, false, "67108864 bytes of memory");
	refuse_contract(&contract, 2, 64u << 20, true, "which it lacks");
	refuse_contract(&rich, 2, 64u << 20, false, "which is missing here");
	atomic_store(&fake_refuses, true);
	refuse_contract(&contract, 2, 64u << 20, false, "the engine refuses");
	atomic_store(&fake_refuses, false);
	buffer_done(&contract);
	buffer_done(&rich);
}

static void step_off(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	fake_out(vcpu, exit, LAYOUT_SLEEP, 5 << 2 | 0x20);
}

static void test_power_off(void)
{
	struct world world;
	struct buffer state = {0};

	open_world(&world);
	atomic_store(&fake_steps[1], step_off);
	start(&world);
	UNTIL(world.events[MACHINE_POWERED_OFF]);
	UNTIL(!machine_running(world.machine));
	CU_ASSERT_EQUAL(world.events[MACHINE_POWERED_OFF], 1);
	CU_ASSERT_EQUAL(world.events[MACHINE_FAILED], 0);
	stand(&world);
	CU_ASSERT_EQUAL(machine_save(world.machine, &state, NULL), 0);
	close_world(&world);

	/* Whoever takes it over learns that there is nothing to run any more. */
	open_world(&world);
	CU_ASSERT_EQUAL(machine_load(world.machine, state.data, state.len, NULL), 0);
	CU_ASSERT_EQUAL(machine_resume(world.machine, 0, NULL), 0);
	UNTIL(world.events[MACHINE_POWERED_OFF] == 1);
	CU_ASSERT_FALSE(machine_running(world.machine));
	close_world(&world);
	buffer_done(&state);
}

/* Resets once, by each of the ways, and then talks. */
static void step_reset_port(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	if (atomic_load(&vcpu->engine->boots) == 1)
		fake_out(vcpu, exit, LAYOUT_RESET, LAYOUT_RESET_VALUE);
	else
		step_talk(vcpu, exit);
}

static void step_reset_keyboard(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	if (atomic_load(&vcpu->engine->boots) == 1)
		fake_out(vcpu, exit, 0x64, 0xfe);
	else
		step_talk(vcpu, exit);
}

static void step_triple_fault(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	if (atomic_load(&vcpu->engine->boots) == 1)
		exit->kind = VCPU_EXIT_SHUTDOWN;
	else
		step_talk(vcpu, exit);
}

static void test_reset(void)
{
	static const fake_step ways[] = {step_reset_port, step_reset_keyboard,
					 step_triple_fault};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		struct world world;

		open_world(&world);
		start(&world);
		/* What the kernel's image says is read anew. */
		memset(ram_at(machine_ram(world.machine), FAKE_PREF + FAKE_ENTRY, 4), 0xee, 4);
		machine_lock(world.machine);
		bus_write(machine_ports(world.machine), LAYOUT_COM1 + 7, (const uint8_t *)"x",
			  1);
		machine_unlock(world.machine);
		atomic_store(&fake_steps[0], ways[i]);
		for (unsigned j = 0; j < 2; j++)
			fake_engine_ops.vcpu_kick(&world.engine->vcpus[j].vcpu);
		UNTIL(world.events[MACHINE_REBOOTED] == 1);
		UNTIL(world.n_said > 20);
		CU_ASSERT_TRUE(in_order(&world));
		CU_ASSERT_EQUAL(atomic_load(&world.engine->boots), 2);
		CU_ASSERT_EQUAL(
		    memcmp(ram_at(machine_ram(world.machine), FAKE_PREF + FAKE_ENTRY, 4),
			   "code", 4),
		    0);
		uint8_t scratch[1];
		machine_lock(world.machine);
		bus_read(machine_ports(world.machine), LAYOUT_COM1 + 7, scratch, 1);
		machine_unlock(world.machine);
		CU_ASSERT_EQUAL(scratch[0], 0);
		close_world(&world);
	}
}

/* A reset and a pause in the same breath: reset first, and the loader's writes are seen. */
static void test_reset_and_pause(void)
{
	struct world world;
	uint64_t words[(64u << 20) / 4096 / 64] = {0};
	uint64_t page = (FAKE_PREF + FAKE_ENTRY) / 4096;

	open_world(&world);
	start(&world);
	ram_track(machine_ram(world.machine), true);
	machine_reset(world.machine);
	machine_pause(world.machine, on_pause, &world);
	UNTIL(world.paused == 1);
	CU_ASSERT_EQUAL(world.events[MACHINE_REBOOTED], 1);
	CU_ASSERT_EQUAL(atomic_load(&world.engine->boots), 2);
	CU_ASSERT_TRUE(atomic_load(&world.engine->frozen));
	ram_harvest(machine_ram(world.machine), words);
	CU_ASSERT(words[page / 64] >> page % 64 & 1);
	CU_ASSERT_EQUAL(machine_resume(world.machine, 0, NULL), 0);
	close_world(&world);
}

/* One that comes while the guest stands still waits, and goes along with a move. */
static void test_reset_while_paused(void)
{
	struct world from, to;
	struct buffer state = {0};

	open_world(&from);
	start(&from);
	stand(&from);
	machine_reset(from.machine);
	for (unsigned i = 0; i < 20; i++)
		turn();
	CU_ASSERT_EQUAL(atomic_load(&from.engine->boots), 1);
	CU_ASSERT_EQUAL(machine_save(from.machine, &state, NULL), 0);
	CU_ASSERT_EQUAL(machine_resume(from.machine, 0, NULL), 0);
	UNTIL(from.events[MACHINE_REBOOTED] == 1);
	CU_ASSERT_EQUAL(atomic_load(&from.engine->boots), 2);
	close_world(&from);

	open_world(&to);
	CU_ASSERT_EQUAL(machine_load(to.machine, state.data, state.len, NULL), 0);
	CU_ASSERT_EQUAL(machine_resume(to.machine, 0, NULL), 0);
	UNTIL(to.events[MACHINE_REBOOTED] == 1);
	CU_ASSERT_EQUAL(atomic_load(&to.engine->boots), 1);
	close_world(&to);
	buffer_done(&state);
}

static void step_fail(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	*exit = (struct vcpu_exit){.kind = VCPU_EXIT_FAILED};
	error_set(&exit->error, -EIO, "hardware says no");
	(void)vcpu;
}

static void test_failure(void)
{
	struct world world;

	open_world(&world);
	atomic_store(&fake_steps[1], step_fail);
	start(&world);
	UNTIL(world.events[MACHINE_FAILED] == 1);
	CU_ASSERT_STRING_EQUAL(world.text, "vCPU 1: hardware says no");
	UNTIL(!machine_running(world.machine));
	close_world(&world);
}

static void step_panic(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	if (vcpu->steps == 0)
		fake_store(vcpu, exit, LAYOUT_PANIC, 1);
	else
		fake_idle(vcpu, exit);
}

static void test_panic(void)
{
	struct world world;

	open_world(&world);
	atomic_store(&fake_steps[0], step_panic);
	start(&world);
	UNTIL(world.events[MACHINE_PANICKED] == 1);
	CU_ASSERT_TRUE(machine_running(world.machine));
	close_world(&world);
}

static void step_count(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	(void)vcpu;
	nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	exit->kind = VCPU_EXIT_KICKED;
}

static uint64_t steps_in(struct world *world, uint64_t ns)
{
	uint64_t before, end;

	before = world->engine->vcpus[0].steps;
	end = machine_now() + ns;
	while (machine_now() < end)
		turn();
	return world->engine->vcpus[0].steps - before;
}

/* Both are shares of a time that a busy host may take away: one quiet look among many will do. */
#define LOOKS 25

static bool slowed(struct world *world, unsigned percent)
{
	uint64_t full, some;

	machine_throttle(world->machine, 0);
	full = steps_in(world, 100000000);
	machine_throttle(world->machine, percent);
	some = steps_in(world, 100000000);
	return some > 0 && some < full / 2;
}

/* A pause that waited for the period's end would take half a period of 10 ms, on average. */
static bool pauses_at_once(struct world *world)
{
	uint64_t begin = machine_now();

	for (unsigned i = 0; i < 10; i++) {
		stand(world);
		CU_ASSERT_EQUAL(machine_resume(world->machine, 0, NULL), 0);
	}
	return machine_now() - begin < 10 * 2000000u;
}

static void test_throttle(void)
{
	struct world world;
	unsigned look;

	open_world(&world);
	atomic_store(&fake_steps[0], step_count);
	start(&world);
	for (look = 0; look < LOOKS && !slowed(&world, 80); look++)
		;
	CU_ASSERT(look < LOOKS);
	machine_throttle(world.machine, 99);
	for (look = 0; look < LOOKS && !pauses_at_once(&world); look++)
		;
	CU_ASSERT(look < LOOKS);
	close_world(&world);
}

static void test_refusals(void)
{
	struct machine *machine = NULL;
	struct error err = {0};
	Segue__Kernel kernel;
	char path[64];
	Segue__Guest guest = guest_of(&kernel, path, sizeof(path));
	Segue__Disk disk = SEGUE__DISK__INIT, *disks[] = {&disk};

	guest.cpus = 9;
	CU_ASSERT(machine_build(&loop, &guest, &fake_engine_ops, NULL, &machine, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "1 to 8 vCPUs"));
	guest.cpus = 1;
	err = (struct error){0};
	kernel.image = "/nonexistent/vmlinuz";
	CU_ASSERT_EQUAL(machine_build(&loop, &guest, &fake_engine_ops, NULL, &machine, &err),
			-ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "kernel /nonexistent/vmlinuz"));
	kernel.image = path;
	kernel.initrd = "/";
	CU_ASSERT(machine_build(&loop, &guest, &fake_engine_ops, NULL, &machine, NULL) < 0);
	kernel.initrd = "";
	/* Refused late, with half of the devices there. */
	disk.path = "/nonexistent/disk";
	guest.disks = disks;
	guest.n_disks = 1;
	err = (struct error){0};
	CU_ASSERT(machine_build(&loop, &guest, &fake_engine_ops, NULL, &machine, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nonexistent/disk"));
	CU_ASSERT_PTR_NULL(machine);
	UNTIL(!uv_loop_alive(&loop));
}

int main(void)
{
	struct setup_header header = fake_header();
	unsigned failures;

	kernel_fd = fake_kernel(&header, "code", 4);
	uv_loop_init(&loop);
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("machine", NULL, NULL);

	CU_add_test(suite, "pause and resume", test_pause);
	CU_add_test(suite, "pause and resume, often", test_pause_often);
	CU_add_test(suite, "state moves to another machine", test_move);
	CU_add_test(suite, "state that does not fit is refused", test_bad_state);
	CU_add_test(suite, "a contract that cannot be kept is refused", test_contract);
	CU_add_test(suite, "power off", test_power_off);
	CU_add_test(suite, "the guest resets itself", test_reset);
	CU_add_test(suite, "reset and pause together", test_reset_and_pause);
	CU_add_test(suite, "reset while paused", test_reset_while_paused);
	CU_add_test(suite, "a vCPU that cannot go on", test_failure);
	CU_add_test(suite, "the kernel panics", test_panic);
	CU_add_test(suite, "throttled vCPUs stand still", test_throttle);
	CU_add_test(suite, "what cannot be built", test_refusals);
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
