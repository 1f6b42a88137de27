/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

/*
 * Dirty tracking by userfaultfd's asynchronous write protection and PAGEMAP_SCAN, both of
 * Linux 6.7 (Documentation/admin-guide/mm/pagemap.rst); headers may be older.
 */
#define FEATURE_WP             (1ull << 0)
#define FEATURE_WP_SHMEM       (1ull << 12)
#define FEATURE_WP_UNPOPULATED (1ull << 13) /* pages not touched yet are protected as well */
#define FEATURE_WP_ASYNC       (1ull << 15)
#define FEATURES                                                                               \
	(FEATURE_WP | FEATURE_WP_SHMEM | FEATURE_WP_UNPOPULATED | FEATURE_WP_ASYNC)

struct scan_run {
	uint64_t begin, end, categories;
};
struct scan {
	uint64_t size, flags, begin, end, walk_end;
	uint64_t runs, n_runs, max_pages;
	uint64_t inverted, mask, anyof_mask, return_mask;
};
#define SCAN         _IOWR('f', 16, struct scan)
#define SCAN_PROTECT 1ull /* PM_SCAN_WP_MATCHING */
#define SCAN_WRITTEN 2ull /* PAGE_IS_WRITTEN */
#define RUNS         256u

static int get_ready(int userfaultfd)
{
	struct uffdio_api api = {.api = UFFD_API, .features = FEATURES};

	if (ioctl(userfaultfd, UFFDIO_API, &api) < 0)
		return -errno;
	return (api.features & FEATURES) == FEATURES ? 0 : -ENOSYS;
}

static long scan(int pagemap, uint64_t begin, uint64_t end, struct scan_run *runs,
		 uint64_t *ret_walked)
{
	struct scan request = {
	    .size = sizeof(request),
	    .flags = SCAN_PROTECT,
	    .begin = begin,
	    .end = end,
	    .runs = (uintptr_t)runs,
	    .n_runs = RUNS,
	    .mask = SCAN_WRITTEN,
	    .return_mask = SCAN_WRITTEN,
	};
	long n = ioctl(pagemap, SCAN, &request);

	*ret_walked = request.walk_end;
	return n < 0 ? -errno : n;
}

/* On a page of our own. */
bool pv_track_probe(void)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	void *page = mmap(NULL, SEGUE_PV_PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t va = (uintptr_t)page, walked;
	struct scan_run runs[RUNS];
	bool works = false;

	if (pagemap >= 0 && fd >= 0 && page != MAP_FAILED)
		works =
		    !get_ready(fd) && scan(pagemap, va, va + SEGUE_PV_PAGE, runs, &walked) >= 0;
	if (page != MAP_FAILED)
		munmap(page, SEGUE_PV_PAGE);
	if (pagemap >= 0)
		close(pagemap);
	if (fd >= 0)
		close(fd);
	return works;
}

int pv_track_new(struct pv_domain *domain, uint64_t va, uint64_t len, bool quiet,
		 struct error *err)
{
	struct uffdio_register add = {
	    .range = {.start = va, .len = len},
	    .mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect protect = {
	    .range = {.start = va, .len = len},
	    .mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	if (ioctl(domain->userfaultfd, UFFDIO_REGISTER, &add) < 0)
		/* Nothing is mapped there: nothing to write to. */
		return errno == EINVAL ? 0 : error_system(err, -errno, "pv: tracking writes");
	if (quiet && ioctl(domain->userfaultfd, UFFDIO_WRITEPROTECT, &protect) < 0)
		return error_system(err, -errno, "pv: tracking writes");
	return 0;
}

static int stop(struct pv_domain *domain, struct error *err)
{
	struct uffdio_range all = {.start = PV_VA_BEGIN, .len = PV_VA_END - PV_VA_BEGIN};

	if (domain->tracked && ioctl(domain->userfaultfd, UFFDIO_UNREGISTER, &all) < 0 &&
	    errno != EINVAL)
		return error_system(err, -errno, "pv: tracking writes");
	domain->tracked = false;
	return 0;
}

int pv_domain_track(struct pv_domain *domain, bool on, struct error *err)
{
	int r;

	if (!domain->host->tracking)
		return error_set(err, -ENOSYS, "pv: this kernel cannot track writes");
	if (!on)
		return stop(domain, err);
	if (!domain->userfaultfd_ready) {
		r = get_ready(domain->userfaultfd);
		if (r < 0)
			return error_system(err, r, "pv: tracking writes");
		domain->userfaultfd_ready = true;
	}
	r = pv_track_new(domain, PV_VA_BEGIN, PV_VA_END - PV_VA_BEGIN, true, err);
	domain->tracked = !r;
	return r;
}

int pv_domain_scan(struct pv_domain *domain, uint64_t begin, uint64_t end,
		   void (*written)(void *data, uint64_t va, uint64_t pages), void *data,
		   struct error *err)
{
	struct scan_run runs[RUNS];
	uint64_t walked;
	long n;

	if (begin > end || begin % SEGUE_PV_PAGE || end % SEGUE_PV_PAGE)
		return error_set(err, -EINVAL, "pv: not a range of pages");
	while (begin < end) {
		n = scan(domain->pagemap, begin, end, runs, &walked);
		if (n < 0)
			return error_system(err, (int)n, "pv: scan of what was written");
		for (long i = 0; i < n; i++)
			written(data, runs[i].begin,
				(runs[i].end - runs[i].begin) / SEGUE_PV_PAGE);
		if (walked <= begin)
			return error_set(err, -EIO, "pv: scan of what was written stands");
		begin = walked;
	}
	return 0;
}
