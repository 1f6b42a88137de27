/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SEGUE_FAULT_POINTS
static struct {
	char point[32];
	bool stop;
	bool nomem;
	atomic_int failing; /* allocations that are still to fail */
} fault;

#define NOMEM_ALLOCATIONS 4

void fault_init(void)
{
	const char *wish = getenv("SEGUE_FAULT");
	char action[16];

	if (!wish || sscanf(wish, "%31[a-z]:%15[a-z]", fault.point, action) != 2)
		return;
	fault.stop = !strcmp(action, "stop");
	fault.nomem = !strcmp(action, "nomem");
}

void fault_point(const char *name)
{
	bool here = fault.point[0] && !strcmp(name, fault.point);

	atomic_store(&fault.failing, here && fault.nomem ? NOMEM_ALLOCATIONS : 0);
	if (here && fault.stop)
		raise(SIGSTOP);
}

bool fault_alloc(void)
{
	return atomic_load_explicit(&fault.failing, memory_order_relaxed) > 0 &&
	       atomic_fetch_sub(&fault.failing, 1) > 0;
}
#endif

void *fault_malloc(size_t size)
{
	return fault_alloc() ? NULL : malloc(size);
}

void *fault_calloc(size_t count, size_t size)
{
	return fault_alloc() ? NULL : calloc(count, size);
}

static void *allocator_alloc(void *context, size_t size)
{
	(void)context;
	return fault_malloc(size);
}

static void allocator_free(void *context, void *memory)
{
	(void)context;
	free(memory);
}

ProtobufCAllocator fault_allocator = {.alloc = allocator_alloc, .free = allocator_free};
