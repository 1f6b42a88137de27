/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

#define AREAS_SIZE                                                                             \
	((uint64_t)PV_DOMAINS_MAX * PV_ORDERS_SIZE + (uint64_t)PV_AREAS_MAX * PV_AREA_SIZE)
#define HWCAP2_FSGSBASE_BIT 2u

static void nothing(int signal)
{
	(void)signal;
}

/* No SA_RESTART: it is there to end a wait. */
static int take_signal(struct error *err)
{
	struct sigaction action = {.sa_handler = nothing};

	if (sigaction(SIGUSR2, &action, NULL) < 0)
		return error_system(err, -errno, "pv: cannot take a signal");
	return 0;
}

static int check_host(struct error *err)
{
	const uint32_t action = SECCOMP_RET_USER_NOTIF;
	struct seccomp_notif_sizes sizes;

	if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_BIT))
		return error_set(err, -ENOSYS,
				 "pv: the processor or kernel lacks FSGSBASE "
				 "(Linux 5.9 and a processor of 2013 or later have it)");
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return error_set(err, -ENOSYS,
				 "pv: this kernel has no seccomp user "
				 "notification, or something around this program denies it");
	if (sizes.seccomp_notif > sizeof(struct seccomp_notif) ||
	    sizes.seccomp_notif_resp > sizeof(struct seccomp_notif_resp))
		return error_set(err, -ENOSYS, "pv: seccomp of this kernel is too new");
	return 0;
}

/* A domain takes up to four descriptors and a context one. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int make_areas(struct pv_host *host, struct error *err)
{
	void *areas;

	host->areas_fd = memfd_create("segue-pv-areas", MFD_CLOEXEC);
	if (host->areas_fd < 0 || ftruncate(host->areas_fd, (off_t)AREAS_SIZE) < 0)
		return error_system(err, -errno, "pv: memory for frames");
	areas = mmap(NULL, AREAS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
		     host->areas_fd, 0);
	if (areas == MAP_FAILED)
		return error_system(err, -errno, "pv: memory for frames");
	host->areas = areas;
	/* A core of the monitor has no use for them. */
	madvise(areas, AREAS_SIZE, MADV_DONTDUMP);
	return 0;
}

static int start(struct pv_host *host, int ram_fd, struct error *err)
{
	int r = check_host(err);

	if (!r)
		r = pv_xstate_find(&host->xstate, err);
	if (!r)
		r = take_signal(err);
	if (!r)
		r = make_areas(host, err);
	if (r < 0)
		return r;
	raise_descriptors();
	host->tracking = pv_track_probe();
	r = pv_zygote_start(host, ram_fd, err);
	return r < 0 ? r : pv_watch_start(host, err);
}

int pv_host_create(int ram_fd, uint64_t ram_size, struct pv_host **ret_host, struct error *err)
{
	struct pv_host *host = calloc(1, sizeof(*host));
	int r;

	if (!host)
		return error_set(err, -ENOMEM, "pv: out of memory");
	host->ram_size = ram_size;
	host->bound_cpu = -1;
	host->socket = host->areas_fd = host->epoll = host->timer = host->wake = -1;
	host->orders.max = PV_DOMAINS_MAX;
	host->frames.max = PV_AREAS_MAX;
	pthread_mutex_init(&host->lock, NULL);
	r = start(host, ram_fd, err);
	if (r < 0)
		pv_host_destroy(host);
	else
		*ret_host = host;
	return r;
}

void pv_host_destroy(struct pv_host *host)
{
	if (!host)
		return;
	pv_spares_drop(host);
	pv_watch_end(host);
	pv_zygote_end(host);
	if (host->areas)
		munmap(host->areas, AREAS_SIZE);
	if (host->areas_fd >= 0)
		close(host->areas_fd);
	pv_slots_done(&host->orders);
	pv_slots_done(&host->frames);
	pthread_mutex_destroy(&host->lock);
	free(host);
}

bool pv_host_tracking_available(const struct pv_host *host)
{
	return host->tracking;
}

size_t pv_host_xsave_size(const struct pv_host *host)
{
	return host->xstate.size;
}

/* ---- probe ---- */

/* MOV EAX, 1; SYSCALL. */
static const uint8_t probe_code[] = {0xb8, 1, 0, 0, 0, 0x0f, 0x05};
#define PROBE_VA 0x100000ull

static int probe_run(struct pv_context *context, struct error *err)
{
	const struct segue_pv_regs regs = {.rip = PROBE_VA, .rflags = 2};
	struct pv_stop stop = {.kind = PV_STOP_LOST};
	int r = pv_context_set(context, &regs, NULL, 0, err);

	if (r < 0)
		return r;
	pv_context_run(context, &stop);
	if (stop.kind != PV_STOP_SYSCALL || stop.number != 1)
		return error_set(err, -ENOSYS, "pv: a guest does not run here as it should");
	return 0;
}

static int probe_domain(struct pv_host *host, struct error *err)
{
	const struct pv_map map = {
	    .op = PV_MAP, .prot = PROT_READ | PROT_EXEC, .va = PROBE_VA, .pages = 1};
	struct pv_domain *domain;
	struct pv_context *context;
	int r = pv_domain_create(host, &domain, err);

	if (r < 0)
		return r;
	r = pv_domain_map(domain, &map, 1, NULL, err);
	if (!r)
		r = pv_context_create(domain, &context, err);
	if (!r)
		r = probe_run(context, err);
	pv_domain_destroy(domain);
	return r;
}

int pv_host_probe(struct error *err)
{
	int fd = memfd_create("segue-pv-probe", MFD_CLOEXEC), r;
	struct pv_host *host;

	if (fd < 0 || ftruncate(fd, SEGUE_PV_PAGE) < 0 ||
	    write(fd, probe_code, sizeof(probe_code)) != sizeof(probe_code)) {
		r = error_system(err, -EIO, "pv: memfd");
	} else {
		r = pv_host_create(fd, SEGUE_PV_PAGE, &host, err);
		if (!r) {
			r = probe_domain(host, err);
			pv_host_destroy(host);
		}
	}
	if (fd >= 0)
		close(fd);
	return r;
}
