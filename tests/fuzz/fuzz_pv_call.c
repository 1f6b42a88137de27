/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/pv/pv.h"

/*
 * All that a paravirtual guest can say: hypercalls with any arguments, traps anywhere, system
 * calls and faults of its programs, anything in the vCPU's page and in page tables, while
 * lines are raised, memory is tracked, and the state is saved and loaded.
 *
 * Guest code is the input: domains are made up here, and a context that runs stops for what
 * the next bytes say. What the engine wants of a domain is checked.
 */
#define RAM_SIZE  (2u << 20)
#define BOOT      0x1000u
#define PAGE      0x2000u
#define STACK     0x8000u
#define TABLES    0x10000u /* page tables of which every input can make something */
#define STEPS     4000u
#define DOORBELL  0x500u

struct pv_host {
	int unused;
};

struct pv_gate {
	int inside; /* place, or -1 */
	struct pv_context *lent[PV_GATE_PLACES];
};

struct pv_domain {
	bool tracked;
	struct pv_gate *gate;
	struct pv_context *contexts;
};

struct pv_context {
	struct pv_domain *domain;
	struct pv_context *next;
	struct segue_pv_regs regs;
	bool has_registers, kicked, lent;
	bool loose; /* may be running since it was taken back */
};

static struct {
	const uint8_t *data;
	size_t left;
	unsigned steps;
} input;

static struct engine *engine;
static struct ram *ram;
static struct pv_gate gate;

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "the engine %s\n", what);
	abort();
}

/* ---- the input ---- */

static uint8_t byte(void)
{
	if (!input.left)
		return 0;
	input.left--;
	return *input.data++;
}

/* Addresses and numbers that mean something, and any other. */
static uint64_t number(void)
{
	uint8_t b = byte();
	uint64_t value = 0;

	switch (b >> 5) {
	case 0:
		return b & 31;
	case 1:
		return TABLES + (uint64_t)(b & 31) * SEGUE_PV_PAGE;
	case 2:
		return SEGUE_PV_DIRECT + (uint64_t)(b & 31) * 0x1000 + byte();
	case 3:
		return SEGUE_PV_VA_END - (uint64_t)(b & 31) * SEGUE_PV_PAGE;
	case 4:
		return ~(uint64_t)(b & 31);
	case 5:
		return (uint64_t)(b & 31) << 12;
	default:
		for (unsigned i = 0; i < 8; i++)
			value = value << 8 | byte();
		return value;
	}
}

/* ---- domains ---- */

int pv_host_probe(struct error *err)
{
	(void)err;
	return 0;
}

int pv_host_create(int ram_fd, uint64_t ram_size, struct pv_host **ret_host, struct error *err)
{
	(void)ram_fd;
	(void)ram_size;
	(void)err;
	*ret_host = calloc(1, sizeof(**ret_host));
	return *ret_host ? 0 : -ENOMEM;
}

void pv_host_destroy(struct pv_host *host)
{
	free(host);
}

bool pv_host_tracking_available(const struct pv_host *host)
{
	(void)host;
	return false;
}

size_t pv_host_xsave_size(const struct pv_host *host)
{
	(void)host;
	return SEGUE_PV_XSAVE_MAX + 8; /* as of one with protection keys */
}

int pv_domain_create(struct pv_host *host, struct pv_domain **ret_domain, struct error *err)
{
	struct pv_domain *domain;

	(void)host;
	(void)err;
	if (byte() == 0xff)
		return -EAGAIN;
	domain = calloc(1, sizeof(*domain));
	if (!domain)
		return -ENOMEM;
	*ret_domain = domain;
	return 0;
}

int pv_domain_create_kernel(struct pv_host *host, struct pv_domain **ret_domain,
			    struct error *err)
{
	int r = pv_domain_create(host, ret_domain, err);

	gate = (struct pv_gate){.inside = -1};
	if (r == 0)
		(*ret_domain)->gate = &gate;
	return r;
}

void pv_domain_destroy(struct pv_domain *domain)
{
	while (domain && domain->contexts)
		pv_context_destroy(domain->contexts);
	free(domain);
}

static void check_order(const struct pv_map *map)
{
	must(map->pages > 0 && map->pages <= PV_VA_END / SEGUE_PV_PAGE, "maps no page");
	must(map->va % SEGUE_PV_PAGE == 0 && map->va >= PV_VA_BEGIN &&
		     map->va <= PV_VA_END - map->pages * SEGUE_PV_PAGE,
	     "maps where nothing of a guest's is");
	if (map->op == PV_MAP)
		must(map->offset % SEGUE_PV_PAGE == 0 &&
			     map->offset <= RAM_SIZE - map->pages * SEGUE_PV_PAGE,
		     "maps what is no memory");
}

int pv_domain_map(struct pv_domain *domain, const struct pv_map *maps, size_t n,
		  size_t *ret_done, struct error *err)
{
	(void)err;
	must(domain, "maps into nothing");
	for (size_t i = 0; i < n; i++)
		check_order(&maps[i]);
	if (ret_done)
		*ret_done = n;
	switch (byte()) {
	case 0xfe:
		return -ENOMEM;
	case 0xff:
		return -EIO;
	default:
		return 0;
	}
}

int pv_domain_unmap(struct pv_domain *domain, uint64_t begin, uint64_t end, struct error *err)
{
	(void)domain;
	(void)begin;
	(void)end;
	(void)err;
	return 0;
}

int pv_domain_track(struct pv_domain *domain, bool on, struct error *err)
{
	(void)err;
	domain->tracked = on;
	return 0;
}

int pv_domain_scan(struct pv_domain *domain, uint64_t begin, uint64_t end,
		   void (*written)(void *data, uint64_t va, uint64_t pages), void *data,
		   struct error *err)
{
	(void)domain;
	(void)begin;
	(void)end;
	(void)written;
	(void)data;
	(void)err;
	return 0;
}

/* ---- contexts ---- */

int pv_context_create(struct pv_domain *domain, struct pv_context **ret_context,
		      struct error *err)
{
	struct pv_context *context;

	(void)err;
	if (byte() == 0xff)
		return -EAGAIN;
	context = calloc(1, sizeof(*context));
	if (!context)
		return -ENOMEM;
	context->domain = domain;
	context->next = domain->contexts;
	domain->contexts = context;
	*ret_context = context;
	return 0;
}

void pv_context_destroy(struct pv_context *context)
{
	struct pv_context **at;

	if (!context)
		return;
	must(!context->lent, "destroys a context that is lent");
	for (at = &context->domain->contexts; *at != context; at = &(*at)->next)
		must(*at, "destroys a context twice");
	*at = context->next;
	free(context);
}

/* Arguments with which the call with that number does something, more likely than not. */
static void likely(struct pv_stop *stop)
{
	struct segue_pv_vcpu *page = ram_at(ram, PAGE, sizeof(*page));
	uint64_t *args = stop->arguments, root = TABLES + (uint64_t)(byte() & 3) * SEGUE_PV_PAGE;
	uint8_t id = byte() & 7;

	switch (stop->number) {
	case SEGUE_PV_SET_ENTRIES:
		args[0] = args[1] = SEGUE_PV_DIRECT + 0xa000;
		break;
	case SEGUE_PV_SET_KERNEL_ROOT:
	case SEGUE_PV_FLUSH:
	case SEGUE_PV_DROP_ROOT:
		args[0] = root;
		break;
	case SEGUE_PV_CONTEXT_CREATE:
		args[0] = root;
		args[1] = id;
		break;
	case SEGUE_PV_ENTER_USER:
		page->user.action = byte() % 3;
		page->user.has_xsave = byte() & 1;
		/* fallthrough */
	case SEGUE_PV_CONTEXT_DESTROY:
	case SEGUE_PV_GET_USER:
		args[0] = id;
		break;
	case SEGUE_PV_IO_READ:
	case SEGUE_PV_IO_WRITE:
		args[0] = id & 1;
		args[1] = DOORBELL + byte() % 4;
		args[2] = 1u << (id >> 1);
		break;
	case SEGUE_PV_PRINT:
	case SEGUE_PV_END:
		args[0] = stop->number == SEGUE_PV_PRINT ? root : id & 3;
		args[1] = (uint64_t)byte() << 4;
		args[2] = byte();
		break;
	default:
		break;
	}
}

/* The number of a hypercall more often than any other. */
static void stop_syscall(struct pv_stop *stop)
{
	uint8_t b = byte();

	stop->kind = PV_STOP_SYSCALL;
	stop->number = b < 240 ? (uint64_t)SEGUE_PV_VERSION_GET + b % 17 : number();
	if (b % 8 == 0)
		for (unsigned i = 0; i < 6; i++)
			stop->arguments[i] = number();
	else
		likely(stop);
	stop->rip = (uint64_t)byte() << 12;
}

static void stop_trap(struct pv_stop *stop, bool fault)
{
	stop->kind = PV_STOP_TRAP;
	stop->trap.vector = fault ? SEGUE_PV_VECTOR_PF : byte();
	stop->trap.error = byte() & 0x17;
	stop->trap.address = byte() & 1 ? number() : (uint64_t)byte() << 28 | (uint64_t)byte() << 12;
	stop->rip = number();
}

/* What the guest writes between two stops. Nothing, most of the time: programs go on. */
static void scribble(void)
{
	uint64_t value = number(), at;

	switch (byte() % 4) {
	case 0:
		at = PAGE + number() % SEGUE_PV_PAGE;
		break;
	case 1:
		at = TABLES + number() % (16 * SEGUE_PV_PAGE);
		break;
	case 2:
		at = PAGE + offsetof(struct segue_pv_vcpu, user);
		value &= 3;
		break;
	default:
		at = number() % RAM_SIZE;
		break;
	}
	(void)ram_write(ram, at & ~7ull, &value, sizeof(value));
}

static void enter_gate(const struct pv_context *context, uint8_t b)
{
	struct pv_gate *own = context->domain->gate;

	if (own && own->lent[b % 8])
		own->inside = b % 8;
}

static void stop_of(struct pv_context *context, struct pv_stop *ret_stop)
{
	uint8_t b = byte();

	must(context->has_registers, "runs a context without registers");
	must(!context->lent, "runs a context that is lent");
	must(!context->domain->gate || context->domain->gate->inside < 0,
	     "runs the kernel's context while it is inside");
	*ret_stop = (struct pv_stop){.kind = PV_STOP_KICKED};
	if (!input.left || ++input.steps > STEPS) {
		pv_vcpu_kick(&((struct pv_engine *)engine)->vcpu);
		context->kicked = false;
		return;
	}
	if (b & 0x80)
		scribble();
	if (b & 0x40)
		(void)pv_set_irq(engine, byte() % 70, byte() & 1);
	if (b & 0x20)
		pv_vcpu_kick(&((struct pv_engine *)engine)->vcpu);
	if (context->kicked && b % 2) {
		context->kicked = false;
		return;
	}
	if (b == 31)
		ret_stop->kind = PV_STOP_LOST;
	else if (b % 4 == 3)
		stop_trap(ret_stop, b & 8);
	else
		stop_syscall(ret_stop);
	if (ret_stop->kind != PV_STOP_LOST && b & 0x10)
		enter_gate(context, b);
	/* One that blocks is woken in run(). */
	if ((uint32_t)ret_stop->number == SEGUE_PV_BLOCK)
		pv_vcpu_kick(&((struct pv_engine *)engine)->vcpu);
}

void pv_context_run(struct pv_context *context, struct pv_stop *ret_stop)
{
	must(!context->loose, "runs a context that it has not collected");
	stop_of(context, ret_stop);
}

/* ---- the gate ---- */

bool pv_gate_lend(struct pv_context *kernel, struct pv_context *context, uint64_t name,
		  uint64_t page)
{
	struct pv_context **place = &gate.lent[name % PV_GATE_PLACES];

	must(kernel->domain->gate == &gate && !context->lent && !*place,
	     "lends what is lent, or to a place that is taken");
	must(page == SEGUE_PV_DIRECT + PAGE, "lends with another page than the vCPU's");
	context->lent = true;
	*place = context;
	return true;
}

static void take_back(struct pv_context *context, uint32_t place)
{
	must(context->lent && gate.lent[place] == context, "takes back what is not lent");
	context->lent = false;
	gate.lent[place] = NULL;
}

void pv_gate_recall(struct pv_domain *kernel, struct pv_context *context, uint32_t place)
{
	must(kernel->gate->inside != (int)place, "recalls a context that runs");
	take_back(context, place);
}

const struct pv_gate *pv_domain_gate(const struct pv_domain *kernel)
{
	return kernel->gate;
}

int pv_gate_inside(const struct pv_gate *asked)
{
	return asked ? asked->inside : -1;
}

bool pv_gate_leave(struct pv_domain *kernel, const struct segue_pv_regs *at,
		   struct pv_context *context, uint32_t place)
{
	(void)at;
	must(kernel->gate->inside == (int)place, "leaves the gate though nobody is inside");
	take_back(context, place);
	kernel->gate->inside = -1;
	context->loose = byte() & 1;
	return context->loose;
}

void pv_gate_clear(struct pv_domain *kernel)
{
	kernel->gate->inside = -1;
}

void pv_context_collect(struct pv_context *context, struct pv_stop *ret_stop)
{
	must(context->loose, "collects a context that is stopped");
	context->loose = false;
	stop_of(context, ret_stop);
}

/* Anything: what the registers say there is the guest's word. */
enum pv_gate_place pv_gate_place(uint64_t rip)
{
	return (enum pv_gate_place)(rip >> 12 & 7) <= PV_GATE_DONE
		   ? (enum pv_gate_place)(rip >> 12 & 7)
		   : PV_GATE_OUTSIDE;
}

uint64_t pv_gate_asked(const struct pv_gate *asked)
{
	return (uint64_t)asked->inside;
}

void pv_context_return(struct pv_context *context, int64_t value)
{
	must(!context->lent && !context->loose, "answers a context that is lent");
	context->regs.rax = (uint64_t)value;
}

int pv_context_get(struct pv_context *context, struct segue_pv_regs *regs, void *xsave,
		   size_t *len, struct error *err)
{
	(void)err;
	must(!context->lent && !context->loose, "reads a context that is lent");
	if (byte() == 0xff)
		return -EIO;
	*regs = context->regs;
	if (input.left && byte() & 1)
		regs->rsp = number();
	if (!xsave)
		return 0;
	must(*len >= pv_host_xsave_size(NULL), "gives too little room for state");
	*len = pv_host_xsave_size(NULL);
	memset(xsave, byte(), *len);
	return 0;
}

int pv_context_set(struct pv_context *context, const struct segue_pv_regs *regs,
		   const void *xsave, size_t len, struct error *err)
{
	uint8_t b = byte();

	(void)err;
	must(!context->lent && !context->loose, "sets a context that is lent");
	must(!xsave || len == pv_host_xsave_size(NULL), "sets state of another size");
	if (b >= 0xfe)
		return b == 0xff ? -EIO : -EINVAL;
	context->regs = *regs;
	context->has_registers = true;
	return 0;
}

void pv_context_kick(struct pv_context *context)
{
	context->kicked = true;
}

/* ---- the machine ---- */

static void create(void)
{
	Segue__Guest guest = SEGUE__GUEST__INIT;
	struct engine_config config = {.guest = &guest};
	struct error err = {0};

	guest.name = "fuzz";
	guest.cpus = 1;
	must(ram_create_flat(RAM_SIZE, &ram, &err) == 0, "gets no memory");
	config.ram = ram;
	must(engine_pv.create(&config, &engine, &err) == 0, "is not made");
	((struct pv_engine *)engine)->domains_max = 3;
	/* Nobody listens; that it rings is enough. */
	must(engine_pv.notify_add(engine, DOORBELL, 0, NOTIFY_ANY, -1) == 0, "has no doorbells");
}

static bool boot(void)
{
	struct boot_state state = {
		.entry = SEGUE_PV_DIRECT + 0x9000,
		.boot_params = BOOT,
		.stack = STACK,
		.vcpu_page = PAGE,
	};

	memset(ram_base(ram), 0, RAM_SIZE);
	/* Tables that lead on to each other, the last to memory. */
	for (uint64_t i = 0; i < 12; i++) {
		for (uint64_t j = 0; j < 512; j++)
			((uint64_t *)ram_at(ram, TABLES + i * SEGUE_PV_PAGE, 8))[j] =
				(TABLES + (i + 1 + j % 3) * SEGUE_PV_PAGE) | 0x3e1 | j % 2;
	}
	return engine_pv.boot(engine, &state, NULL) == 0;
}

/* What is saved can be loaded. */
static void move(void)
{
	struct buffer state = {0};

	if (engine_pv.save(engine, &state, NULL) == 0)
		(void)engine_pv.load(engine, state.data, state.len, NULL);
	buffer_done(&state);
}

static void harvest(void)
{
	static uint64_t words[RAM_SIZE / RAM_PAGE / 64];

	if (engine_pv.dirty_harvest(engine, words, NULL) < 0)
		(void)engine_pv.dirty_start(engine, NULL);
	else if (byte() % 4 == 0)
		(void)engine_pv.dirty_stop(engine);
}

static void look_around(void)
{
	uint8_t b = byte();

	if (b % 16 == 1)
		harvest();
	if (b % 16 == 3)
		(void)engine_pv.clock_freeze(engine, NULL);
	if (b % 16 == 2 && engine_pv.vcpu_settle(engine_pv.vcpu(engine, 0)))
		move();
	(void)engine_pv.clock_release(engine, 0, NULL);
	if (((struct pv_engine *)engine)->kernel.at == PV_AT_BLOCK)
		(void)engine_pv.set_irq(engine, b % 64, true);
}

/* False: it has ended. */
static bool run(void)
{
	struct vcpu_exit exit = {0};

	engine_pv.vcpu_run(engine_pv.vcpu(engine, 0), &exit);
	switch (exit.kind) {
	case VCPU_EXIT_KICKED:
		look_around();
		return true;
	case VCPU_EXIT_PIO:
	case VCPU_EXIT_MMIO:
		must(exit.len >= 1 && exit.len <= 8 && exit.count >= 1, "makes an odd access");
		for (unsigned i = 0; i < exit.len && !exit.write; i++)
			exit.data[i] = byte();
		return true;
	default:
		return false;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool going = true;

	if (!engine)
		create();
	input.data = data;
	input.left = 0;
	input.steps = 0;
	must(boot(), "does not boot");
	input.left = size;
	while (going && input.left && input.steps < STEPS)
		going = run() || boot();
	input.left = 0;
	(void)engine_pv.dirty_stop(engine);
	return 0;
}
