/* SPDX-License-Identifier: Apache-2.0 */
#include "pv_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OP_SIZE  72u
#define ANSWER   0x8877665544332211ull

extern const uint8_t pv_kernel[], pv_kernel_event[], pv_kernel_trap[], pv_kernel_end[];
extern const uint8_t pv_program[], pv_program_end[];

/* Without these there is no test, nor a bench, to go on with. */
#define MUST(condition) must(condition, #condition, __LINE__)

static void must(bool holds, const char *condition, int line)
{
	if (holds)
		return;
	fprintf(stderr, "pv_guest.c:%d: %s does not hold\n", line, condition);
	abort();
}

void *guest_at(struct guest *g, uint64_t gpa)
{
	return ram_at(g->ram, gpa, 1);
}

struct guest_notes *guest_notes(struct guest *g)
{
	return guest_at(g, GUEST_NOTES);
}

struct segue_pv_vcpu *guest_page(struct guest *g)
{
	return guest_at(g, GUEST_PAGE);
}

static void ram_put(struct guest *g, uint64_t gpa, const void *from, size_t len)
{
	MUST((ram_write(g->ram, gpa, from, len)) == 0);
}

/*
 * What these tests and the vCPU's thread tell each other goes through guest memory and the
 * guest's process, which orders it without the thread sanitizer's knowledge. That one sees the
 * engine in the integration tests, where nobody but the monitor's own threads is around.
 */
bool guest_cannot(void)
{
#ifdef __SANITIZE_THREAD__
	printf("skipped: the thread sanitizer does not see what a guest's processes order\n");
	return true;
#else
	struct error err = {0};

	if (engine_pv.probe(NULL, &err) == 0)
		return false;
	printf("skipped: %s\n", err.text);
	return true;
#endif
}

void guest_create(struct guest *g)
{
	Segue__Guest guest = SEGUE__GUEST__INIT;
	struct engine_config config = {.guest = &guest};
	struct error err = {0};

	*g = (struct guest){.ended = VCPU_EXIT_KICKED};
	guest.name = "test";
	guest.cpus = 1;
	MUST((ram_create_flat(GUEST_RAM, &g->ram, &err)) == 0);
	config.ram = g->ram;
	if (engine_pv.create(&config, &g->engine, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	g->vcpu = engine_pv.vcpu(g->engine, 0);
}

void guest_boot(struct guest *g)
{
	struct boot_state boot = {
		.entry = DIRECT(GUEST_KERNEL),
		.boot_params = GUEST_BOOT,
		.stack = GUEST_STACK,
		.vcpu_page = GUEST_PAGE,
	};
	struct error err = {0};
	uint64_t page = DIRECT(GUEST_PAGE);

	memset(ram_base(g->ram), 0, GUEST_RAM);
	g->ops = 0;
	g->tables = GUEST_TABLES;
	g->ended = VCPU_EXIT_KICKED;
	ram_put(g, GUEST_KERNEL, pv_kernel, (size_t)(pv_kernel_end - pv_kernel));
	ram_put(g, GUEST_PROGRAM, pv_program, (size_t)(pv_program_end - pv_program));
	ram_put(g, GUEST_NOTES + offsetof(struct guest_notes, pending), &page, sizeof(page));
	if (engine_pv.boot(g->engine, &boot, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

static void access_answer(struct guest *g, struct vcpu_exit *exit)
{
	uint64_t answer = ANSWER;

	if (exit->kind == VCPU_EXIT_PIO && exit->write && exit->address == 0x3f8) {
		for (unsigned i = 0; i < exit->count && g->n_text < sizeof(g->text) - 1; i++)
			g->text[g->n_text++] = (char)exit->data[i];
		return;
	}
	g->ios++;
	g->io_address = exit->address;
	g->io_len = exit->len;
	g->io_value = 0;
	if (exit->write)
		memcpy(&g->io_value, exit->data, exit->len);
	else
		memcpy(exit->data, &answer, exit->len);
}

static bool handle(struct guest *g, struct vcpu_exit *exit)
{
	switch (exit->kind) {
	case VCPU_EXIT_KICKED:
		return true;
	case VCPU_EXIT_PIO:
	case VCPU_EXIT_MMIO:
		access_answer(g, exit);
		return true;
	default:
		memcpy(g->why, exit->error.text, sizeof(g->why));
		g->ended = exit->kind;
		return false;
	}
}

static void *vcpu_thread(void *context)
{
	struct guest *g = context;
	struct vcpu_exit exit = {0};

	while (!g->stop) {
		engine_pv.vcpu_run(g->vcpu, &exit);
		if (!handle(g, &exit))
			return NULL;
	}
	while (!engine_pv.vcpu_settle(g->vcpu)) {
		engine_pv.vcpu_run(g->vcpu, &exit);
		handle(g, &exit);
	}
	return NULL;
}

void guest_go(struct guest *g)
{
	g->stop = false;
	g->going = true;
	MUST((pthread_create(&g->thread, NULL, vcpu_thread, g)) == 0);
}

void guest_pause(struct guest *g)
{
	if (!g->going)
		return;
	g->stop = true;
	engine_pv.vcpu_kick(g->vcpu);
	pthread_join(g->thread, NULL);
	g->going = false;
}

void guest_destroy(struct guest *g)
{
	guest_pause(g);
	engine_pv.destroy(g->engine);
	ram_destroy(g->ram);
}

void guest_move(struct guest *to, struct guest *from)
{
	struct buffer state = {0};
	struct error err = {0};

	MUST((engine_pv.clock_freeze(from->engine, &err)) == 0);
	MUST((engine_pv.save(from->engine, &state, &err)) == 0);
	guest_create(to);
	memcpy(ram_base(to->ram), ram_base(from->ram), GUEST_RAM);
	to->ops = from->ops;
	to->tables = from->tables;
	if (engine_pv.load(to->engine, state.data, state.len, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	buffer_done(&state);
	MUST((engine_pv.clock_release(to->engine, 1000, &err)) == 0);
}

static uint64_t *op_at(struct guest *g, unsigned index)
{
	return guest_at(g, GUEST_LIST + index * OP_SIZE);
}

unsigned guest_post(struct guest *g, uint64_t op, uint64_t a, uint64_t b, uint64_t c,
		    uint64_t d)
{
	uint64_t *slot = op_at(g, g->ops);

	slot[1] = a;
	slot[2] = b;
	slot[3] = c;
	slot[4] = d;
	__atomic_store_n(&slot[0], op, __ATOMIC_SEQ_CST);
	ram_mark(g->ram, GUEST_LIST + g->ops * OP_SIZE, OP_SIZE);
	return g->ops++;
}

bool guest_done(struct guest *g, unsigned index)
{
	return __atomic_load_n(&op_at(g, index)[8], __ATOMIC_SEQ_CST) == 1;
}

int64_t guest_wait(struct guest *g, unsigned index)
{
	for (unsigned i = 0; i < 20000 && !guest_done(g, index); i++) {
		if (g->ended != VCPU_EXIT_KICKED)
			break;
		usleep(i < 100 ? 20 : 500);
	}
	if (!guest_done(g, index))
		fprintf(stderr, "operation %u was not done: %s\n", index, g->why);
	MUST(guest_done(g, index));
	return (int64_t)op_at(g, index)[7];
}

int64_t guest_op(struct guest *g, uint64_t op, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return guest_wait(g, guest_post(g, op, a, b, c, d));
}

static uint64_t table_new(struct guest *g)
{
	uint64_t gpa = g->tables;

	g->tables += SEGUE_PV_PAGE;
	MUST(g->tables <= GUEST_FREE);
	memset(guest_at(g, gpa), 0, SEGUE_PV_PAGE);
	return gpa;
}

uint64_t guest_root(struct guest *g)
{
	return table_new(g);
}

void guest_map(struct guest *g, uint64_t root, uint64_t va, uint64_t gpa, uint64_t flags)
{
	uint64_t table = root;

	for (unsigned shift = 30; shift > 12; shift -= 9) {
		uint64_t *entry = (uint64_t *)guest_at(g, table) + (va >> shift & 511);

		if (!*entry)
			*entry = table_new(g) | SEGUE_PV_PTE_P;
		table = *entry & SEGUE_PV_PTE_ADDRESS;
	}
	((uint64_t *)guest_at(g, table))[va >> 12 & 511] = gpa | flags;
}

void guest_program(struct guest *g, uint64_t root, uint64_t gpa, struct segue_pv_regs *regs)
{
	const uint64_t code = SEGUE_PV_PTE_P | SEGUE_PV_PTE_U | SEGUE_PV_PTE_A |
			      SEGUE_PV_PTE_X;
	const uint64_t data = SEGUE_PV_PTE_P | SEGUE_PV_PTE_U | SEGUE_PV_PTE_A |
			      SEGUE_PV_PTE_W | SEGUE_PV_PTE_D;

	guest_map(g, root, GUEST_CODE_VA, GUEST_PROGRAM, code);
	guest_map(g, root, GUEST_DATA_VA, gpa, data);
	*regs = (struct segue_pv_regs){
		.rip = GUEST_CODE_VA,
		.rbx = GUEST_DATA_VA,
		.rsp = GUEST_DATA_VA + SEGUE_PV_PAGE,
		.rflags = 0x202,
	};
}
