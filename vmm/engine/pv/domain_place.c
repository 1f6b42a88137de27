/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "vmm/engine/pv/domain_internal.h"

/*
 * Both sides of a stop belong on one processor: waking another one that idles costs ten times
 * as much as the whole way there and back. Linux 6.6 and later wake where we are. On older
 * kernels each side is bound to the processor that the vCPU's thread is on; now and then that
 * is let go for one stop, so that the scheduler can find it a better one.
 */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#define SYNC_WAKE_UP  1ul
#define FREE_EVERY_NS 100000000ull

static bool must_bind(int fd)
{
	const char *wake = getenv("SEGUE_PV_WAKE"); /* "bind": as on older kernels */

	return (wake && !strcmp(wake, "bind")) ||
	       ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) < 0;
}

void pv_place_tune(struct pv_host *host, int fd)
{
	if (!must_bind(fd) || host->binding)
		return;
	/* What the thread may use is what its maker gave it. */
	if (!sched_getaffinity(0, sizeof(host->allowed), &host->allowed))
		host->binding = true;
}

static uint64_t coarse_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static void bind_to(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	/* Without, it is slower; a processor may just have been taken away. */
	(void)sched_setaffinity(pid, sizeof(set), &set);
}

/* The vCPU's thread; where it now is. */
static int place_self(struct pv_host *host)
{
	int cpu = sched_getcpu();
	uint64_t now = coarse_ns();

	if (now - host->bound_ns < FREE_EVERY_NS && cpu == host->bound_cpu)
		return cpu;
	if (host->bound_cpu >= 0) {
		(void)sched_setaffinity(0, sizeof(host->allowed), &host->allowed);
		host->bound_cpu = -1;
		return cpu;
	}
	if (cpu >= 0 && cpu < CPU_SETSIZE) {
		bind_to(0, cpu);
		host->bound_cpu = cpu;
		host->bound_ns = now;
	}
	return cpu;
}

void pv_place(struct pv_host *host, pid_t pid, int *at)
{
	int cpu;

	if (!host->binding)
		return;
	cpu = place_self(host);
	if (cpu < 0 || cpu >= CPU_SETSIZE || cpu == *at)
		return;
	bind_to(pid, cpu);
	*at = cpu;
}
