/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "fake_elf.h"
#include "fake_engine.h"
#include "fake_kernel.h"
#include "hello.pb-c.h"
#include "vmm/machine_internal.h"

/* A machine without a PC's parts, and which engine a guest gets. */

static uv_loop_t loop;
static int elf_fd, bzimage_fd, other_fd;
static struct engine_ops fake_kvm, fake_pv;
static bool have_kvm, have_pv;

static int kvm_probe(const Segue__Guest *guest, struct error *err)
{
	(void)guest;
	return have_kvm ? 0 : error_set(err, -ENOENT, "/dev/kvm does not exist");
}

static int kvm_create(const struct engine_config *config, struct engine **ret_engine,
		      struct error *err)
{
	int r = fake_engine_ops.create(config, ret_engine, err);

	if (r == 0)
		(*ret_engine)->ops = &fake_kvm;
	return r;
}

static int pv_create(const struct engine_config *config, struct engine **ret_engine,
		     struct error *err)
{
	int r = fake_engine_ops.create(config, ret_engine, err);

	if (r == 0)
		(*ret_engine)->ops = &fake_pv;
	return r;
}

static int pv_contract(struct engine *engine, Segue__Contract *contract)
{
	(void)engine;
	contract->engine = "pv";
	return 0;
}

static int pv_accept(struct engine *engine, const Segue__Contract *contract, struct error *err)
{
	(void)engine;
	(void)contract;
	(void)err;
	return 0;
}

/* In place of vmm/engine/engine.c. */
const struct engine_ops *engine_find(const char *name)
{
	if (!strcmp(name, "kvm"))
		return &fake_kvm;
	return have_pv && !strcmp(name, "pv") ? &fake_pv : NULL;
}

static void engines_init(void)
{
	fake_kvm = fake_pv = fake_engine_ops;
	fake_kvm.name = "kvm";
	fake_kvm.probe = kvm_probe;
	fake_kvm.create = kvm_create;
	fake_pv.name = "pv";
	fake_pv.platform = ENGINE_PV;
	fake_pv.create = pv_create;
	fake_pv.contract = pv_contract;
	fake_pv.accept = pv_accept;
}

struct world {
	struct machine *machine;
	struct fake_engine *engine;
	unsigned events[MACHINE_EVENTS];
	char text[480];
	unsigned paused;
	bool destroyed;
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

static void turn(void)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

#define UNTIL(what)                                                                            \
	do {                                                                                   \
		uint64_t end = machine_now() + 5000000000u;                                    \
		while (!(what) && machine_now() < end)                                         \
			turn();                                                                \
		CU_ASSERT(what);                                                               \
	} while (0)

/* Of kernel FD on ENGINE; what else it has is the test's. */
struct order {
	Segue__Guest guest;
	Segue__Kernel kernel;
	char path[64];
};

static void order_init(struct order *order, const char *engine, int fd)
{
	segue__guest__init(&order->guest);
	segue__kernel__init(&order->kernel);
	snprintf(order->path, sizeof(order->path), "/proc/self/fd/%d", fd);
	order->kernel.image = order->path;
	order->kernel.cmdline = "quiet";
	order->guest.kernel = &order->kernel;
	order->guest.engine = (char *)(uintptr_t)engine;
	order->guest.cpus = 1;
	order->guest.memory = 8u << 20;
	for (unsigned i = 0; i < FAKE_CPUS; i++)
		atomic_store(&fake_steps[i], NULL);
}

static int open_world(struct world *world, const struct order *order, struct error *err)
{
	struct machine_observer observer = {.event = on_event, .context = world};
	int r;

	memset(world, 0, sizeof(*world));
	r = machine_create(&loop, &order->guest, &observer, &world->machine, err);
	if (r == 0)
		world->engine = (struct fake_engine *)machine_engine(world->machine);
	return r;
}

static void open_pv(struct world *world, bool devices)
{
	struct error err = {0};
	struct order order;

	order_init(&order, "pv", elf_fd);
	order.guest.entropy = order.guest.balloon = order.guest.console = devices;
	if (open_world(world, &order, &err) < 0)
		CU_FAIL_FATAL(err.text);
}

static void close_world(struct world *world)
{
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

static bool has(const struct world *world, const char *name)
{
	const struct device *d = world->machine->devices;

	while (d && strcmp(d->name, name) != 0)
		d = d->next;
	return d;
}

/* What is there, where, and how the guest is told. */
static void test_devices(void)
{
	static const char *const pc[] = {"ged", "power", "panic", "pci"};
	static const char *const names[] = {"console0", "rng0", "balloon0"};
	static const uint32_t ids[] = {3, 4, 5};
	struct world world;
	struct segue_pv_boot boot;
	struct segue_pv_device device;

	open_pv(&world, true);
	CU_ASSERT_TRUE(has(&world, "serial0"));
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_FALSE(has(&world, pc[i]));
	start(&world);
	CU_ASSERT_EQUAL(world.engine->boot.entry, SEGUE_PV_DIRECT + FAKE_ELF_GPA + 4);
	CU_ASSERT_EQUAL_FATAL(ram_read(machine_ram(world.machine),
				       world.engine->boot.boot_params, &boot, sizeof(boot)),
			      0);
	CU_ASSERT_EQUAL(boot.magic, SEGUE_PV_BOOT_MAGIC);
	CU_ASSERT_EQUAL(boot.ram, 8u << 20);
	CU_ASSERT_EQUAL_FATAL(boot.n_devices, 3);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t id[4];

		CU_ASSERT_TRUE(has(&world, names[i]));
		ram_read(machine_ram(world.machine), boot.devices + i * sizeof(device), &device,
			 sizeof(device));
		CU_ASSERT_EQUAL(device.line, LAYOUT_PV_FIRST_LINE + i);
		CU_ASSERT_EQUAL(device.address % device.size, 0);
		machine_lock(world.machine);
		bus_read(machine_memory(world.machine), device.address + 8, id, 4);
		machine_unlock(world.machine);
		CU_ASSERT_EQUAL(id[0], ids[i]);
	}
	close_world(&world);
}

/* Memory is one piece, however much there is. */
static void test_memory(void)
{
	struct world world;
	struct error err = {0};
	struct order order;
	const struct ram_slot *slots;

	order_init(&order, "pv", elf_fd);
	order.guest.memory = 5ull << 30;
	CU_ASSERT_EQUAL_FATAL(open_world(&world, &order, &err), 0);
	CU_ASSERT_EQUAL(ram_slots(machine_ram(world.machine), &slots), 1);
	close_world(&world);
}

static void test_power_button(void)
{
	struct world world;

	open_pv(&world, false);
	start(&world);
	machine_power_button(world.machine);
	CU_ASSERT_EQUAL(atomic_load(&world.engine->irqs), 1u << SEGUE_PV_LINE_POWER);
	close_world(&world);
}

static void step_off(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	(void)vcpu;
	*exit = (struct vcpu_exit){.kind = VCPU_EXIT_OFF};
}

static void step_reboot(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	if (atomic_load(&vcpu->engine->boots) == 1)
		*exit = (struct vcpu_exit){.kind = VCPU_EXIT_SHUTDOWN};
	else
		fake_idle(vcpu, exit);
}

static void step_panic(struct fake_vcpu *vcpu, struct vcpu_exit *exit)
{
	(void)vcpu;
	*exit = (struct vcpu_exit){.kind = VCPU_EXIT_PANICKED};
	error_set(&exit->error, -EIO, "no init found");
}

static void test_ends(void)
{
	struct world world;

	open_pv(&world, false);
	atomic_store(&fake_steps[0], step_off);
	start(&world);
	UNTIL(world.events[MACHINE_POWERED_OFF] == 1);
	UNTIL(!machine_running(world.machine));
	close_world(&world);

	open_pv(&world, true);
	atomic_store(&fake_steps[0], step_reboot);
	start(&world);
	memset(ram_at(machine_ram(world.machine), FAKE_ELF_DATA, 16), 0xee, 16);
	UNTIL(world.events[MACHINE_REBOOTED] == 1);
	CU_ASSERT_EQUAL(atomic_load(&world.engine->boots), 2);
	CU_ASSERT_EQUAL(
	    memcmp(ram_at(machine_ram(world.machine), FAKE_ELF_DATA, 8), "DATADATA", 8), 0);
	close_world(&world);

	open_pv(&world, false);
	atomic_store(&fake_steps[0], step_panic);
	start(&world);
	UNTIL(world.events[MACHINE_PANICKED] == 1);
	CU_ASSERT_STRING_EQUAL(world.text, "no init found");
	/* It stands, and a reset makes it run again. */
	atomic_store(&fake_steps[0], NULL);
	machine_reset(world.machine);
	UNTIL(world.events[MACHINE_REBOOTED] == 1);
	close_world(&world);
}

static void test_move(void)
{
	struct world from, to, pc;
	struct buffer state = {0}, contract = {0};
	struct error err = {0};
	struct order order;

	open_pv(&from, true);
	start(&from);
	machine_pause(from.machine, on_pause, &from);
	UNTIL(from.paused == 1);
	CU_ASSERT_EQUAL(machine_contract(from.machine, &contract), 0);
	CU_ASSERT_EQUAL(machine_save(from.machine, &state, &err), 0);
	open_pv(&to, true);
	CU_ASSERT_EQUAL(machine_accept(to.machine, contract.data, contract.len, &err), 0);
	CU_ASSERT_EQUAL(machine_load(to.machine, state.data, state.len, &err), 0);
	CU_ASSERT_EQUAL(machine_resume(to.machine, 0, &err), 0);
	CU_ASSERT_STRING_EQUAL(err.text, "");
	close_world(&to);
	close_world(&from);
	/* Nor does a PC take it for one. */
	order_init(&order, "kvm", bzimage_fd);
	CU_ASSERT_EQUAL_FATAL(open_world(&pc, &order, &err), 0);
	CU_ASSERT_EQUAL(machine_accept(pc.machine, contract.data, contract.len, &err),
			-ENOTSUP);
	CU_ASSERT_STRING_EQUAL(err.text,
			       "the guest runs under engine pv, here it would under kvm");
	close_world(&pc);
	buffer_done(&state);
	buffer_done(&contract);
}

/* ENGINE asked for, kernel FD: gets engine GETS for reason WHY, or is refused with WHY. */
static void choose(const char *engine, int fd, const char *gets, const char *why)
{
	struct world world;
	struct error err = {0};
	struct order order;
	int r;

	order_init(&order, engine, fd);
	r = open_world(&world, &order, &err);
	CU_ASSERT_EQUAL(r < 0, gets == NULL);
	if (r < 0 && !strstr(err.text, why))
		printf("\n    \"%s\" lacks \"%s\"\n", err.text, why);
	if (r < 0) {
		CU_ASSERT_PTR_NOT_NULL(strstr(err.text, why));
		return;
	}
	CU_ASSERT_STRING_EQUAL(machine_engine(world.machine)->ops->name, gets);
	CU_ASSERT_PTR_NOT_NULL(strstr(machine_why(world.machine), why));
	close_world(&world);
}

static void test_choice(void)
{
	choose("auto", elf_fd, "pv", "auto: its kernel is made for this engine");
	choose("auto", bzimage_fd, "kvm", "auto: its kernel is made for a PC");
	choose("", bzimage_fd, "kvm", "auto");
	choose("auto", other_fd, "kvm", "auto"); /* its loader will say what it is not */
	choose("pv", elf_fd, "pv", "as its file says");
	choose("kvm", bzimage_fd, "kvm", "as its file says");
	choose("kvm", elf_fd, NULL,
	       "an ELF file, which only the paravirtual engine can run: "
	       "say engine: pv");
	choose("pv", bzimage_fd, NULL, "a bzImage, which only KVM can run: say engine: kvm");
	choose("xen", elf_fd, NULL, "there is no engine \"xen\"");
	choose("auto", 4096, NULL, "kernel /proc/self/fd/4096: No such file");
	have_kvm = false;
	choose("auto", elf_fd, "pv", "auto");
	choose("auto", bzimage_fd, NULL,
	       "needs KVM (one made for the paravirtual engine would "
	       "not): /dev/kvm does not exist");
	choose("kvm", bzimage_fd, NULL, "/dev/kvm does not exist");
	have_kvm = true;
	have_pv = false;
	choose("auto", elf_fd, NULL, "there is no engine \"pv\"");
	have_pv = true;
}

static void test_limits(void)
{
	struct world world;
	struct error err = {0};
	struct order order;

	order_init(&order, "auto", elf_fd);
	order.guest.cpus = 2;
	CU_ASSERT_EQUAL(open_world(&world, &order, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "cpu.count is 2, but the paravirtual engine"));
	err = (struct error){0};
	order.guest.cpus = 1;
	order.guest.memory = 255ull << 30;
	CU_ASSERT_EQUAL(open_world(&world, &order, &err), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "254 GiB at most, not 255"));
	/* A PC has neither limit. */
	order_init(&order, "auto", bzimage_fd);
	order.guest.cpus = 2;
	CU_ASSERT_EQUAL_FATAL(open_world(&world, &order, NULL), 0);
	close_world(&world);
}

static void files_open(void)
{
	struct fake_elf elf = fake_elf();
	struct setup_header header = fake_header();

	elf_fd = fake_elf_file(&elf, sizeof(elf));
	bzimage_fd = fake_kernel(&header, "code", 4);
	other_fd = memfd_create("other", 0);
}

int main(void)
{
	unsigned failures;

	engines_init();
	files_open();
	have_kvm = have_pv = true;
	uv_loop_init(&loop);
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("machine-pv", NULL, NULL);

	CU_add_test(suite, "devices, and how the guest finds them", test_devices);
	CU_add_test(suite, "memory in one piece", test_memory);
	CU_add_test(suite, "the power button", test_power_button);
	CU_add_test(suite, "off, reboot, panic", test_ends);
	CU_add_test(suite, "state moves, to its like only", test_move);
	CU_add_test(suite, "which engine a guest gets", test_choice);
	CU_add_test(suite, "what the engine cannot give", test_limits);
	CU_basic_run_tests();
	failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	if (uv_loop_close(&loop) < 0) {
		printf("handles are left on the loop\n");
		failures++;
	}
	return failures != 0;
}
