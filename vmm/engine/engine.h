/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_ENGINE_H
#define VMM_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "guest.pb-c.h"
#include "hello.pb-c.h"
#include "proto/buffer.h"
#include "proto/error.h"
#include "vmm/ram.h"

/*
 * What runs the guest's instructions. Devices, the machine and migration are above it and
 * know no engine by name; engine/kvm is the first, engine/pv the second.
 *
 * An engine embeds struct engine as its first member, a vCPU struct vcpu.
 */
struct engine;
struct vcpu;

enum vcpu_exit_kind {
	VCPU_EXIT_KICKED,   /* vcpu_kick() or a signal: look around and run again */
	VCPU_EXIT_PIO,      /* port access: fill or take .data, then run again */
	VCPU_EXIT_MMIO,     /* the same for a memory address */
	VCPU_EXIT_SHUTDOWN, /* triple fault: the guest asks for a reset */
	VCPU_EXIT_OFF,      /* the guest has switched itself off */
	VCPU_EXIT_PANICKED, /* its kernel has panicked and stands still; .error.text: its words */
	VCPU_EXIT_FAILED,   /* this vCPU cannot go on; .error says why */
	/* Run again after one of OFF to FAILED, here or after a move, it gives the same again. */
};

struct vcpu_exit {
	enum vcpu_exit_kind kind;
	uint64_t address;
	uint8_t *data;     /* the engine's; valid until the vCPU runs again */
	unsigned len;      /* of one access, 1 to 8 bytes */
	unsigned count;    /* PIO: repetitions (string instructions), DATA holds them all */
	bool write;        /* the guest writes */
	struct error error;
};

/*
 * Where the boot processor starts. Under kvm: the 64-bit entry of the Linux boot protocol.
 * Under pv: as guest/abi.h says; the engine fills in xsave_size of the boot structure.
 */
struct boot_state {
	uint64_t entry;       /* gpa (pv: va) of the first instruction; kvm: identity mapped */
	uint64_t boot_params; /* gpa; kvm: goes in RSI; pv: of struct segue_pv_boot */
	uint64_t page_table;  /* kvm: gpa of the PML4 */
	uint64_t gdt;         /* kvm: gpa of a GDT with code 0x10 and data 0x18 */
	uint64_t stack;       /* pv: gpa of the end of the first stack */
	uint64_t vcpu_page;   /* pv: gpa of struct segue_pv_vcpu, a page of its own */
};

struct engine_config {
	const Segue__Guest *guest;
	struct ram *ram;
};

/* What stands around the vCPUs, and thus what a kernel must be made for. */
enum engine_platform {
	ENGINE_PC, /* PCI, ACPI, an IOAPIC; RAM makes room for devices below 4 GiB */
	ENGINE_PV, /* guest/abi.h; lines instead of GSIs, RAM in one piece from 0 up */
};

/* Any value written signals. */
#define NOTIFY_ANY (-1)

struct engine_ops {
	const char *name;
	enum engine_platform platform;

	/*
	 * Can this host run guests this way? 0; or a negative errno with one line that says
	 * what is missing and what to do. Never blocks for more than a second. Main thread,
	 * before anything else. GUEST->allow_emulation turns "only emulates" into 0.
	 */
	int (*probe)(const Segue__Guest *guest, struct error *err);

	/* Makes the machine and all of its vCPUs, none running. Before the sandbox closes. */
	int (*create)(const struct engine_config *config, struct engine **ret_engine,
		      struct error *err);
	void (*destroy)(struct engine *engine);

	/*
	 * Before guest memory is written anew for boot(), all vCPUs parked: from here to boot()
	 * no thread of the engine's writes there. NULL: none does.
	 */
	void (*halt)(struct engine *engine);

	/* vCPU 0 to start at BOOT, the others to wait for it. All vCPUs parked. Also a reset. */
	int (*boot)(struct engine *engine, const struct boot_state *boot, struct error *err);

	/* vCPU INDEX's handle; valid as long as the engine. */
	struct vcpu *(*vcpu)(struct engine *engine, unsigned index);
	/* Runs until the monitor is needed. Only on the vCPU's own thread. */
	void (*vcpu_run)(struct vcpu *vcpu, struct vcpu_exit *ret_exit);
	/*
	 * Completes a port or memory access that has been answered, without running guest
	 * code: after it the vCPU's state may be saved. The vCPU's own thread. False: the
	 * instruction has made another access (one that crosses a page, or a string's next
	 * part); vcpu_run() hands it out without running, to be answered and settled again.
	 */
	bool (*vcpu_settle)(struct vcpu *vcpu);
	/* Makes vcpu_run() return soon, also one that is about to begin. Any thread. */
	void (*vcpu_kick)(struct vcpu *vcpu);

	/*
	 * Interrupts; any thread. LEVEL is for level-triggered lines, of the IOAPIC or of
	 * guest/abi.h; the line of its power button is only ever raised. ENGINE_PV has no MSI.
	 */
	int (*set_irq)(struct engine *engine, unsigned gsi, bool level);
	int (*signal_msi)(struct engine *engine, uint64_t address, uint32_t data);

	/*
	 * A guest write of LEN bytes (0: any length, only with NOTIFY_ANY) of VALUE at GPA
	 * signals EVENTFD instead of leaving vcpu_run(). Machine lock held. The engine does
	 * not own the descriptor.
	 */
	int (*notify_add)(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
			  int eventfd);
	int (*notify_remove)(struct engine *engine, uint64_t gpa, unsigned len, int64_t value,
			     int eventfd);

	/*
	 * All guest-visible state of processors and interrupt controllers, as packed protobuf.
	 * All vCPUs parked and settled. load() before the first run; it leaves clocks standing.
	 */
	int (*save)(struct engine *engine, struct buffer *state, struct error *err);
	int (*load)(struct engine *engine, const uint8_t *state, size_t len, struct error *err);
	/*
	 * Freezes the guest's clocks at what they read now (right after the last vCPU parked),
	 * and lets them go on as if ELAPSED_NS had passed since (right before the first runs).
	 */
	int (*clock_freeze)(struct engine *engine, struct error *err);
	int (*clock_release)(struct engine *engine, uint64_t elapsed_ns, struct error *err);

	/*
	 * What a destination must be able to give, and whether this host can. contract()
	 * sets engine, cpu_model, cpu_vendor, cpuid, tsc_khz and xcr0 and nothing else; what
	 * they point to stays the engine's: do not free it, pack it before the engine goes.
	 */
	int (*contract)(struct engine *engine, Segue__Contract *contract);
	int (*accept)(struct engine *engine, const Segue__Contract *contract, struct error *err);

	/*
	 * Dirty source for writes by vCPUs. harvest ORs a bit a page, by offset in the memfd,
	 * into WORDS and write-protects those pages again; any thread, one at a time, vCPUs
	 * may run. start begins with everything clean.
	 */
	int (*dirty_start)(struct engine *engine, struct error *err);
	int (*dirty_harvest)(struct engine *engine, uint64_t *words, struct error *err);
	int (*dirty_stop)(struct engine *engine);
	/* By what writes are, or would be, tracked; a few words for people. */
	const char *(*dirty_words)(const struct engine *engine);
};

struct engine {
	const struct engine_ops *ops;
};

struct vcpu {
	struct engine *engine;
	unsigned index;
};

extern const struct engine_ops engine_kvm;
extern const struct engine_ops engine_pv;

/* The engine of that name, or NULL. */
const struct engine_ops *engine_find(const char *name);

#endif
