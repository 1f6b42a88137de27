/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_FAULT_H
#define MIGRATE_FAULT_H

#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

/*
 * Named fault points in the real code, for tests of what happens when things break. The
 * environment variable SEGUE_FAULT holds POINT:ACTION, a point being a state's name in the
 * switchover table. Actions:
 *
 *   stop    the monitor stops itself with SIGSTOP, for a test to kill it or its peer, to cut
 *           or stall their connection, and to let it go on
 *   nomem   the next few allocations fail, at most until the next point; there are few, so
 *           that what is tried again until it succeeds does succeed
 *
 * Built without them (-Dfault_points=false) the calls cost nothing.
 */
#ifdef SEGUE_FAULT_POINTS
void fault_init(void); /* main thread, before others start: reads the environment */
void fault_point(const char *name);
bool fault_alloc(void); /* true: this allocation is to fail */
#else
static inline void fault_init(void)
{
}
static inline void fault_point(const char *name)
{
	(void)name;
}
static inline bool fault_alloc(void)
{
	return false;
}
#endif

/* malloc and calloc that fail when a fault point says so. */
void *fault_malloc(size_t size);
void *fault_calloc(size_t count, size_t size);

/* For unpacking messages: the same in protobuf-c's form. */
extern ProtobufCAllocator fault_allocator;

#endif
