/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "pv_rig.h"
#include "vmm/engine/pv/domain_internal.h"

/* Many domains, their ends, the host's limits, and what is left: nothing. */

static unsigned open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* This program is the reaper of all that it started: nobody left after MS? */
static bool all_gone(int ms)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (; ms > 0; ms--) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

static void test_many(void)
{
	enum { N = 500 };
	static struct pv_domain *domains[N];
	static struct pv_context *contexts[N];
	unsigned files = open_files();
	struct rig rig;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < N; i++) {
			domains[i] = rig_domain(&rig);
			contexts[i] = rig_context(&rig, domains[i], code_calls, 0);
		}
		for (uint64_t call = 1; call < 3; call++)
			for (int i = 0; i < N; i++)
				CU_ASSERT_EQUAL(rig_run(contexts[i]).arguments[1], call);
		for (int i = 0; i < N; i++)
			pv_domain_destroy(domains[i]);
	}
	rig_end(&rig);
	CU_ASSERT(all_gone(3000));
	CU_ASSERT_EQUAL(open_files(), files);
}

/* Domains that come and go by ones, as processes of a guest do. */
static void test_come_and_go(void)
{
	struct rig rig;
	struct pv_domain *domain, *other;
	struct pv_context *context;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	other = rig_domain(&rig);
	for (int i = 0; i < 300; i++) {
		domain = rig_domain(&rig);
		context = rig_context(&rig, domain, code_calls, 0);
		rig_check(&rig, context);
		if (i % 3 == 0)
			pv_context_destroy(context);
		if (i % 5 == 0)
			pv_context_kill(context);
		pv_domain_destroy(domain);
	}
	context = rig_context(&rig, other, code_calls, 0);
	rig_check(&rig, context);
	pv_domain_destroy(other);
	rig_end(&rig);
	CU_ASSERT(all_gone(3000));
}

/* ---- ends from outside ---- */

static void *kill_later(void *data)
{
	const struct timespec pause = {.tv_nsec = 20000000};

	nanosleep(&pause, NULL);
	kill(*(pid_t *)data, SIGKILL);
	return NULL;
}

static void check_end(bool of_domain)
{
	struct rig rig;
	struct pv_domain *domain, *other;
	struct pv_context *context, *sibling;
	struct pv_map map = {.op = PV_UNMAP, .va = RIG_FREE, .pages = 1};
	pthread_t thread;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	other = rig_domain(&rig);
	sibling = rig_context(&rig, domain, code_calls, 0);
	context = rig_context(&rig, domain, code_spin, 0);
	CU_ASSERT_EQUAL(pthread_create(&thread, NULL, kill_later,
				       of_domain ? &domain->template : &context->pid),
			0);
	/* Nobody kicks it: without a word of its end this would not return. */
	CU_ASSERT_EQUAL(rig_run(context).kind, PV_STOP_LOST);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(rig_run(context).kind, PV_STOP_LOST);
	if (of_domain) {
		CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, NULL), -EIO);
		CU_ASSERT_EQUAL(rig_run(sibling).kind, PV_STOP_LOST);
	} else {
		rig_check(&rig, sibling);
		CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, NULL), 0);
	}
	pv_domain_destroy(domain);
	domain = rig_domain(&rig);
	rig_check(&rig, rig_context(&rig, domain, code_calls, 0));
	rig_check(&rig, rig_context(&rig, other, code_calls, 0));
	pv_domain_destroy(domain);
	pv_domain_destroy(other);
	rig_end(&rig);
	CU_ASSERT(all_gone(3000));
}

static void test_context_killed(void)
{
	check_end(false);
}

static void test_domain_killed(void)
{
	check_end(true);
}

/* Signals that anybody of the same user can send: not even noticed. */
static void test_stray_signals(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *a, *b;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	a = rig_context(&rig, domain, code_calls, 0);
	b = rig_context(&rig, domain, code_calls, 0);
	for (uint64_t i = 1; i < 50; i++) {
		CU_ASSERT_EQUAL(rig_run(a).arguments[1], i);
		kill(a->pid, SIGUSR2);
		CU_ASSERT_EQUAL(rig_run(b).arguments[1], i);
		kill(b->pid, SIGUSR2);
		kill(domain->template, SIGUSR2);
		kill(domain->template, SIGTERM);
	}
	pv_domain_destroy(domain);
	rig_end(&rig);
	CU_ASSERT(all_gone(3000));
}

/* ---- the monitor's end ---- */

/* In a child: a host whose contexts run, wait, and are parked. Tells when. */
static void be_monitor(int tell)
{
	struct rig rig;
	struct pv_context *context = NULL;
	struct pv_domain *domain;

	if (rig_make(&rig) < 0)
		_exit(1);
	for (int i = 0; i < 5; i++) {
		domain = rig_domain(&rig);
		context = rig_context(&rig, domain, code_calls, 0);
		rig_run(context);
		context = rig_context(&rig, domain, code_spin, 0);
	}
	if (write(tell, "x", 1) != 1)
		_exit(1);
	pv_context_run(context, &(struct pv_stop){0});
	_exit(1);
}

static void check_monitor_killed(int signal)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	int pipe_fds[2];
	pid_t child;
	char byte;

	CU_ASSERT_EQUAL_FATAL(pipe(pipe_fds), 0);
	child = fork();
	CU_ASSERT_FATAL(child >= 0);
	if (!child)
		be_monitor(pipe_fds[1]);
	close(pipe_fds[1]);
	CU_ASSERT_EQUAL(read(pipe_fds[0], &byte, 1), 1);
	nanosleep(&pause, NULL);
	kill(child, signal);
	CU_ASSERT(all_gone(3000));
	close(pipe_fds[0]);
}

static void test_monitor_killed(void)
{
	check_monitor_killed(SIGKILL);
	check_monitor_killed(SIGSEGV);
	check_monitor_killed(SIGTERM);
}

/* ---- limits of the host ---- */

static int create_until_full(struct rig *rig, struct pv_domain **domains, int max)
{
	struct pv_context *context;
	int n = 0, r = 0;

	while (n < max) {
		r = pv_domain_create(rig->host, &domains[n], NULL);
		if (r < 0)
			break;
		n++;
		r = pv_context_create(domains[n - 1], &context, NULL);
		if (r < 0)
			break;
	}
	CU_ASSERT_EQUAL(r, -EAGAIN);
	return n;
}

/* Full is -EAGAIN, what is there goes on, and room is found again. */
static void check_full(struct rig *rig, struct pv_context *context)
{
	static struct pv_domain *domains[300];
	int first = 0, n;

	for (int round = 0; round < 3; round++) {
		n = create_until_full(rig, domains, 300);
		CU_ASSERT(n > 5 && n < 300);
		if (!round)
			first = n;
		CU_ASSERT(n > first - 5); /* nothing leaks */
		rig_check(rig, context);
		while (n)
			pv_domain_destroy(domains[--n]);
	}
	rig_check(rig, context);
}

static void test_files_run_out(void)
{
	struct rlimit old, few;
	struct rig rig;
	struct pv_domain *domain;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	getrlimit(RLIMIT_NOFILE, &old);
	few = old;
	few.rlim_cur = open_files() + 100;
	setrlimit(RLIMIT_NOFILE, &few);
	check_full(&rig, rig_context(&rig, domain, code_calls, 0));
	setrlimit(RLIMIT_NOFILE, &old);
	pv_domain_destroy(domain);
	rig_end(&rig);
	CU_ASSERT(all_gone(3000));
}

/*
 * As an ordinary user, since the limit does not bind root: in a child. A user of its own, for the
 * limit is a user's, and this program may run twice at once.
 */
static void test_processes_run_out(void)
{
	const struct rlimit few = {60, 60};
	struct rig rig;
	struct pv_domain *domain;
	int status;
	pid_t child = fork();

	if (!child) {
		setrlimit(RLIMIT_NPROC, &few);
		if (getuid() == 0 && setuid(20000 + (uid_t)getpid() % 40000) < 0)
			_exit(77);
		if (rig_make(&rig) < 0)
			_exit(77); /* somebody else uses up this user's */
		domain = rig_domain(&rig);
		check_full(&rig, rig_context(&rig, domain, code_calls, 0));
		pv_domain_destroy(domain);
		rig_end(&rig);
		_exit(CU_get_number_of_failures() ? 1 : 0);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFEXITED(status));
	CU_ASSERT(WEXITSTATUS(status) == 0 || (WEXITSTATUS(status) == 77 && getuid()));
	CU_ASSERT(all_gone(3000));
}

/* As many mappings as one process may have: -ENOMEM, then room again. */
static void test_mappings_run_out(void)
{
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *context;
	struct pv_map map = {.op = PV_MAP, .prot = PROT_READ, .pages = 1};
	uint64_t n = 0;
	int r = 0;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	context = rig_context(&rig, domain, code_calls, 0);
	/* Every other page, so that none are neighbours. */
	for (; !r && n < 1000000; n++) {
		map.va = RIG_FREE + n * 8192;
		map.offset = RIG_FREE_OFFSET + n % 64 * 8192;
		r = pv_domain_map(domain, &map, 1, NULL, NULL);
	}
	CU_ASSERT_EQUAL(r, -ENOMEM);
	rig_check(&rig, context);
	CU_ASSERT_EQUAL(pv_domain_unmap(domain, RIG_FREE, RIG_FREE + 8192 * 10, NULL), 0);
	CU_ASSERT_EQUAL(pv_domain_map(domain, &map, 1, NULL, NULL), 0);
	rig_check(&rig, context);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* ---- what is in there ---- */

/* As root: the kernel's word on a domain's address space. */
static void test_nothing_else(void)
{
	struct rig rig;
	struct pv_domain *domain;
	char path[64], line[256];
	uint64_t begin, end;
	unsigned lines = 0;
	FILE *file;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	CU_ASSERT_EQUAL_FATAL(pv_domain_create(rig.host, &domain, &rig.err), 0);
	CU_ASSERT_EQUAL(kill(domain->template, 0), 0);
	snprintf(path, sizeof(path), "/proc/%d/maps", domain->template);
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file)) {
		printf("(not seen: not root) ");
	} else {
		do {
			CU_ASSERT_EQUAL(sscanf(line, "%lx-%lx", &begin, &end), 2);
			CU_ASSERT(begin == PV_SHIM || begin == PV_ORDERS ||
				  strstr(line, "[vsyscall]"));
			CU_ASSERT(!strstr(line, "rw") && !strstr(line, "wx"));
			lines++;
		} while (fgets(line, sizeof(line), file));
		CU_ASSERT(lines == 2 || lines == 3);
	}
	if (file)
		fclose(file);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

/* Of a domain's: the zygote's socket, RAM, areas. A listener of its own would keep it waiting
 * for a monitor that has ended. */
static void test_no_other_files(void)
{
	char path[64];
	struct dirent *entry;
	struct pv_domain *domain;
	struct rig rig;
	DIR *dir;

	CU_ASSERT_EQUAL_FATAL(rig_make(&rig), 0);
	domain = rig_domain(&rig);
	rig_context(&rig, domain, code_calls, 0);
	snprintf(path, sizeof(path), "/proc/%d/fd", domain->template);
	dir = opendir(path); /* not for everybody to see */
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			CU_ASSERT(atoi(entry->d_name) >= PV_FD_SOCKET &&
				  atoi(entry->d_name) <= PV_FD_AREAS);
	if (dir)
		closedir(dir);
	pv_domain_destroy(domain);
	rig_end(&rig);
}

static CU_pSuite add(void)
{
	CU_pSuite suite = CU_add_suite("pv-domain-life", NULL, NULL);

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (!suite || !CU_add_test(suite, "many", test_many) ||
	    !CU_add_test(suite, "come and go", test_come_and_go) ||
	    !CU_add_test(suite, "a context is killed", test_context_killed) ||
	    !CU_add_test(suite, "a domain is killed", test_domain_killed) ||
	    !CU_add_test(suite, "stray signals", test_stray_signals) ||
	    !CU_add_test(suite, "the monitor is killed", test_monitor_killed) ||
	    !CU_add_test(suite, "out of descriptors", test_files_run_out) ||
	    !CU_add_test(suite, "out of processes", test_processes_run_out) ||
	    !CU_add_test(suite, "out of mappings", test_mappings_run_out) ||
	    !CU_add_test(suite, "nothing else is mapped", test_nothing_else) ||
	    !CU_add_test(suite, "nothing else is open", test_no_other_files))
		return NULL;
	return suite;
}

int main(void)
{
	return rig_main(add);
}
