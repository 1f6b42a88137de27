/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_TEST_KVM_GUEST_H
#define TESTS_UNIT_TEST_KVM_GUEST_H

#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "proto/le.h"
#include "vmm/engine/engine.h"
#include "vmm/engine/kvm/kvm.h"
#include "vmm/layout.h"

/*
 * Guests of a few instructions, in 64-bit mode with everything below 4 GiB identity
 * mapped. They run on hosts whose KVM only interprets, too: integer instructions only.
 */
#define MIB (1ull << 20)
#define CODE LAYOUT_KERNEL

struct guest {
	Segue__Guest config;
	struct ram *ram;
	struct engine *engine;
	const struct engine_ops *ops;
	struct error err;
};

static inline int guest_skip_reason(char *text, size_t size)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		snprintf(text, size, "/dev/kvm: %s", strerror(errno));
		return 1;
	}
	close(fd);
	return 0;
}

static inline void guest_tables(struct ram *ram)
{
	uint64_t entry[512];
	uint64_t table = LAYOUT_PAGE_TABLE;

	memset(entry, 0, sizeof(entry));
	entry[0] = (table + 0x1000) | 3;
	ram_write(ram, table, entry, sizeof(entry));
	for (unsigned i = 0; i < 4; i++)
		entry[i] = (table + 0x2000 + i * 0x1000) | 3;
	ram_write(ram, table + 0x1000, entry, sizeof(entry));
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 512; j++)
			entry[j] = ((uint64_t)i << 30 | (uint64_t)j << 21) | 0x83;
		ram_write(ram, table + 0x2000 + i * 0x1000, entry, sizeof(entry));
	}
	uint64_t gdt[4] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
	ram_write(ram, LAYOUT_GDT, gdt, sizeof(gdt));
}

static inline int guest_make_model(struct guest *g, unsigned cpus, uint64_t memory,
				   const char *model)
{
	struct engine_config config = {.guest = &g->config};

	memset(g, 0, sizeof(*g));
	segue__guest__init(&g->config);
	g->config.name = (char *)"test";
	g->config.engine = (char *)"kvm";
	g->config.cpu_model = (char *)model;
	g->config.cpus = cpus;
	g->config.memory = memory;
	g->config.allow_emulation = true;
	g->ops = engine_find("kvm");
	int r = ram_create(memory, &g->ram, &g->err);
	if (r < 0)
		return r;
	guest_tables(g->ram);
	config.ram = g->ram;
	r = g->ops->create(&config, &g->engine, &g->err);
	if (r < 0)
		fprintf(stderr, "create: %s\n", g->err.text);
	return r;
}

static inline int guest_make(struct guest *g, unsigned cpus, uint64_t memory)
{
	return guest_make_model(g, cpus, memory, "host");
}

static inline void guest_free(struct guest *g)
{
	if (g->engine)
		g->ops->destroy(g->engine);
	ram_destroy(g->ram);
	memset(g, 0, sizeof(*g));
}

static inline int guest_boot(struct guest *g)
{
	struct boot_state boot = {
		.entry = CODE,
		.boot_params = LAYOUT_BOOT_PARAMS,
		.page_table = LAYOUT_PAGE_TABLE,
		.gdt = LAYOUT_GDT,
	};
	int r = g->ops->boot(g->engine, &boot, &g->err);

	if (r < 0)
		fprintf(stderr, "boot: %s\n", g->err.text);
	return r;
}

#define GUEST_CODE(g, ...)                                                                     \
	do {                                                                                   \
		const uint8_t code_[] = {__VA_ARGS__};                                         \
		ram_write((g)->ram, CODE, code_, sizeof(code_));                               \
	} while (0)

/* Little-endian bytes of a 32-bit immediate. */
#define IMM32(v) (uint8_t)(v), (uint8_t)((uint32_t)(v) >> 8), (uint8_t)((uint32_t)(v) >> 16),  \
		 (uint8_t)((uint32_t)(v) >> 24)

static inline struct vcpu *guest_cpu(struct guest *g, unsigned i)
{
	return g->ops->vcpu(g->engine, i);
}

/* Runs until something but a kick. */
static inline void guest_run(struct guest *g, unsigned i, struct vcpu_exit *exit)
{
	do {
		g->ops->vcpu_run(guest_cpu(g, i), exit);
	} while (exit->kind == VCPU_EXIT_KICKED);
	if (exit->kind == VCPU_EXIT_FAILED)
		fprintf(stderr, "vCPU %u: %s\n", i, exit->error.text);
}

static inline struct kvm_regs guest_regs(struct guest *g, unsigned i)
{
	struct kvm_regs regs = {0};

	kvm_ioctl(kvm_engine_of(g->engine)->cpus[i].fd, KVM_GET_REGS, &regs);
	return regs;
}

static inline struct kvm_sregs guest_sregs(struct guest *g, unsigned i)
{
	struct kvm_sregs sregs = {0};

	kvm_ioctl(kvm_engine_of(g->engine)->cpus[i].fd, KVM_GET_SREGS, &sregs);
	return sregs;
}

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int guest_tests_run(void)
{
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	int failed = CU_get_number_of_failures() != 0;
	CU_cleanup_registry();
	return failed;
}

#endif
