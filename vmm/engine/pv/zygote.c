/* SPDX-License-Identifier: Apache-2.0 */
#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "vmm/engine/pv/shim.h"

/*
 * The zygote: a process with nothing mapped but the shim and a stack, which forks a domain a
 * request. This runs from the shim's copy: no library, no writable data but the stack, no
 * constants outside of the section (hence no switch tables and no string literals). What it
 * does comes from the monitor alone; no guest code runs here.
 */
#define SHIM_CODE   __attribute__((section("pvshim"), noinline, used))
#define INLINE      static inline __attribute__((always_inline))
#define ALL_SIGNALS (~0ull)

extern const unsigned char shim_template_start[] __attribute__((visibility("hidden")));
extern const unsigned char shim_mapper_start[] __attribute__((visibility("hidden")));
long shim_thread(unsigned long flags, void *stack, void (*function)(void *), void *argument)
    __attribute__((visibility("hidden")));
void zygote_main(void) __attribute__((visibility("hidden")));

INLINE long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

INLINE long call3(long nr, long a, long b, long c)
{
	return call6(nr, a, b, c, 0, 0, 0);
}

/* ---- one address space ---- */

/*
 * Removes what is between BEGIN and END. A kernel may have sealed pages of its own (the vDSO:
 * CONFIG_MSEAL_SYSTEM_MAPPINGS); then all around them.
 */
SHIM_CODE static void unmap(uint64_t begin, uint64_t end)
{
	uint64_t middle;

	if (!call3(__NR_munmap, (long)begin, (long)(end - begin), 0) || end - begin <= 0x1000)
		return;
	middle = begin + ((end - begin) / 2 & ~0xfffull);
	unmap(begin, middle);
	unmap(middle, end);
}

SHIM_CODE static void leave_nothing_else(void)
{
	unmap(0, PV_SHIM);
	unmap(PV_SHIM + PV_SHIM_MAX, PV_STACK);
	unmap(PV_STACK + PV_STACK_SIZE, 0x7ffffffff000);
}

/* ---- filters ---- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(x)   BPF_STMT(BPF_RET | BPF_K, (x))
/* Goes on if equal, else as many instructions further as it says. */
#define EQUAL(x, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (x), 0, (otherwise))
#define EITHER(x, then)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (x), (then), 0)

INLINE void put(struct sock_filter *filter, unsigned *n, struct sock_filter statement)
{
	filter[(*n)++] = statement;
}
#define PUT(...) put(filter, &n, (struct sock_filter)__VA_ARGS__)

/*
 * A rule that allows one system call from one place, with arguments that it names; what
 * matches none of it goes on behind.
 */
struct rule {
	struct sock_filter *filter;
	unsigned n, begin;
};
#define NOT_HERE 255 /* of a jump: to the rule's end, once that is known */

INLINE void expect(struct rule *rule, unsigned offset, uint32_t value)
{
	put(rule->filter, &rule->n,
	    (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
	put(rule->filter, &rule->n, (struct sock_filter)EQUAL(value, NOT_HERE));
}

INLINE void expect_long(struct rule *rule, unsigned offset, uint64_t value)
{
	expect(rule, offset, (uint32_t)value);
	expect(rule, offset + 4, (uint32_t)(value >> 32));
}

INLINE void rule_begin(struct rule *rule, uint32_t nr, const unsigned char *behind)
{
	rule->begin = rule->n;
	expect(rule, offsetof(struct seccomp_data, nr), nr);
	expect(rule, offsetof(struct seccomp_data, arch), AUDIT_ARCH_X86_64);
	expect_long(rule, offsetof(struct seccomp_data, instruction_pointer),
		    (uint64_t)(uintptr_t)behind);
}

INLINE void rule_end(struct rule *rule)
{
	put(rule->filter, &rule->n, (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW));
	for (unsigned i = rule->begin; i < rule->n; i++)
		if (rule->filter[i].jf == NOT_HERE)
			rule->filter[i].jf = (uint8_t)(rule->n - i - 1);
}
#define ARGUMENT(i) (unsigned)(offsetof(struct seccomp_data, args) + 8 * (i))

/* Kernel mode's gate: the answer's two words, and two operations on copies of listeners. */
INLINE void gate_rules(struct rule *rule, uint64_t orders)
{
	rule_begin(rule, __NR_ioctl, shim_gate_send_ip);
	expect(rule, ARGUMENT(1), PV_GATE_SEND);
	expect_long(rule, ARGUMENT(2), PV_GATE_ANSWER);
	rule_end(rule);
	rule_begin(rule, __NR_ioctl, shim_gate_recv_ip);
	expect(rule, ARGUMENT(1), PV_GATE_RECV);
	expect_long(rule, ARGUMENT(2), PV_GATE_BLOCK + PV_GATE_NOTIF);
	rule_end(rule);
	rule_begin(rule, __NR_pwrite64, shim_gate_write_ip);
	expect(rule, ARGUMENT(0), PV_FD_AREAS);
	expect_long(rule, ARGUMENT(2), PV_ANSWER_LEN);
	expect_long(rule, ARGUMENT(3), orders + PV_ORDERS_SIZE - PV_ANSWER_ROOM);
	rule_end(rule);
}

/* Template and contexts: everything is the monitor's, but for the return from the handler. */
INLINE unsigned guest_filter(struct sock_filter *filter, const struct pv_zygote_request *request)
{
	struct rule rule = {.filter = filter};

	if (request->kernel)
		gate_rules(&rule, request->orders);
	rule_begin(&rule, __NR_rt_sigreturn, shim_sigreturn_ip);
	rule_end(&rule);
	put(filter, &rule.n, (struct sock_filter)ANSWER(SECCOMP_RET_USER_NOTIF));
	return rule.n;
}

/* The mapper: what it has orders for, and telling of itself before the first. */
INLINE unsigned mapper_filter(struct sock_filter *filter)
{
	unsigned n = 0;

	PUT(LOAD(arch));
	PUT(EQUAL(AUDIT_ARCH_X86_64, 9));
	PUT(LOAD(nr));
	PUT(EITHER(PV_CALL_NEXT, 8));
	PUT(EITHER(__NR_mmap, 8));
	PUT(EITHER(__NR_munmap, 7));
	PUT(EITHER(__NR_mprotect, 6));
	PUT(EITHER(__NR_sendmsg, 5));
	PUT(EITHER(__NR_close_range, 4));
	PUT(EITHER(__NR_close, 3));
	PUT(EITHER(__NR_exit_group, 2));
	PUT(ANSWER(SECCOMP_RET_KILL_PROCESS));
	PUT(ANSWER(SECCOMP_RET_USER_NOTIF));
	PUT(ANSWER(SECCOMP_RET_ALLOW));
	return n;
}
#define FILTER_MAX 80

/* ---- a domain's first instants ---- */

struct birth {
	uint64_t orders;
	long listener; /* the template's, or an error; NOT_YET before */
	int pagemap, userfaultfd;
};
#define NOT_YET 0x7fffffffl

SHIM_CODE static void tell(uint64_t orders, int error, const int *fds, unsigned n)
{
	struct pv_zygote_reply reply = {.orders = orders, .error = error};
	struct iovec data = {&reply, sizeof(reply)};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
	int *to = (int *)(void *)CMSG_DATA(&control.header);

	if (n) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned i = 0; i < n; i++)
			to[i] = fds[i];
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	call3(__NR_sendmsg, PV_FD_SOCKET, (long)&message, MSG_NOSIGNAL);
}

SHIM_CODE static void fail(uint64_t orders, long error)
{
	tell(orders, (int)error, NULL, 0);
	for (;;)
		call3(__NR_exit_group, 1, 0, 0);
}

/* The mapper's thread, until it has nothing left but registers. */
SHIM_CODE static void mapper_main(void *argument)
{
	volatile struct birth *birth = argument;
	struct sock_filter filter[FILTER_MAX];
	struct sock_fprog program = {.filter = filter};
	int fds[4];
	long listener;

	while (birth->listener == NOT_YET)
		call3(__NR_sched_yield, 0, 0, 0);
	if (birth->listener < 0)
		fail(birth->orders, birth->listener);
	program.len = (unsigned short)mapper_filter(filter);
	/* Nothing but its end shall interrupt its waiting for orders; before 5.19 much does. */
	listener = call3(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
			 SECCOMP_FILTER_FLAG_NEW_LISTENER |
			     SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			 (long)&program);
	if (listener == -EINVAL)
		listener = call3(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
				 SECCOMP_FILTER_FLAG_NEW_LISTENER, (long)&program);
	if (listener < 0)
		fail(birth->orders, listener);
	fds[0] = (int)birth->listener;
	fds[1] = (int)listener;
	fds[2] = birth->pagemap;
	fds[3] = birth->userfaultfd;
	tell(birth->orders, 0, fds, birth->userfaultfd >= 0 ? 4 : 2);
	call3(__NR_close_range, PV_FD_SHIM, ~0u, 0);
	((void (*)(uint64_t, uint64_t, uint64_t))(uintptr_t)shim_mapper_start)(
	    PV_ORDERS, PV_STACK, PV_STACK_SIZE);
}

SHIM_CODE static void get_ready(const struct pv_zygote_request *request, struct birth *birth)
{
	long r = call6(__NR_mmap, PV_ORDERS, PV_ORDERS_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED,
		       PV_FD_AREAS, (long)request->orders);

	if (r != PV_ORDERS)
		fail(request->orders, r);
	birth->pagemap = birth->userfaultfd = -1;
	if (request->tracking) {
		birth->pagemap = (int)call6(__NR_openat, AT_FDCWD, (long)shim_pagemap_path,
					    O_RDONLY | O_CLOEXEC, 0, 0, 0);
		birth->userfaultfd = (int)call3(
		    __NR_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY, 0, 0);
		if (birth->pagemap < 0)
			fail(request->orders, birth->pagemap);
		if (birth->userfaultfd < 0)
			fail(request->orders, birth->userfaultfd);
	}
	/* Nobody of the same user looks into guests, and a context's end writes no core. */
	call3(__NR_prctl, PR_SET_DUMPABLE, 0, 0);
}

/* The first process of a domain: becomes its template. */
SHIM_CODE static void domain_main(const struct pv_zygote_request *request, long zygote)
{
	volatile struct birth birth = {.orders = request->orders, .listener = NOT_YET};
	struct sock_filter filter[FILTER_MAX];
	struct sock_fprog program = {.filter = filter};
	long r;

	call3(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0);
	if (call3(__NR_getppid, 0, 0, 0) != zygote)
		call3(__NR_exit_group, 1, 0, 0);
	get_ready(request, (struct birth *)&birth);
	r = shim_thread(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			    CLONE_SYSVSEM,
			(void *)(PV_STACK + PV_STACK_SIZE / 2), mapper_main, (void *)&birth);
	if (r < 0)
		fail(request->orders, r);
	program.len = (unsigned short)guest_filter(filter, request);
	((void (*)(void *, volatile long *))(uintptr_t)shim_template_start)(&program,
									    &birth.listener);
}

/* ---- the zygote ---- */

struct kernel_sigaction {
	const unsigned char *handler;
	unsigned long flags;
	const unsigned char *restorer;
	uint64_t mask;
};
#define SA_RESTORER_FLAG 0x04000000ul

/*
 * Every domain inherits these. SA_RESTART: a system call that a kick interrupts before the
 * monitor has seen it is made again.
 */
SHIM_CODE static void set_handler(int signal)
{
	struct kernel_sigaction action;

	/* By parts: an initializer could become a constant outside of the section. */
	action.handler = shim_handler;
	action.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_RESTORER_FLAG;
	action.restorer = shim_handler; /* never returned to */
	action.mask = ALL_SIGNALS;
	call6(__NR_rt_sigaction, signal, (long)&action, 0, sizeof(action.mask), 0, 0);
}

SHIM_CODE static void set_signals(void)
{
	struct kernel_sigaction ignore;
	uint64_t all = ALL_SIGNALS;

	ignore.handler = (const unsigned char *)(uintptr_t)SIG_IGN;
	ignore.flags = 0;
	ignore.restorer = NULL;
	ignore.mask = 0;
	call6(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, sizeof(all), 0, 0);
	/* Nobody waits for domains or contexts: they are reaped by themselves. */
	call6(__NR_rt_sigaction, SIGCHLD, (long)&ignore, 0, sizeof(all), 0, 0);
	set_handler(SIGSEGV);
	set_handler(SIGBUS);
	set_handler(SIGFPE);
	set_handler(SIGILL);
	set_handler(SIGTRAP);
	set_handler(SIGUSR2);
}

SHIM_CODE void zygote_main(void)
{
	struct pv_zygote_request request;
	long zygote = call3(__NR_getpid, 0, 0, 0), r;

	leave_nothing_else();
	set_signals();
	for (;;) {
		r = call6(__NR_recvfrom, PV_FD_SOCKET, (long)&request, sizeof(request), 0, 0,
			  0);
		if (r != sizeof(request))
			call3(__NR_exit_group, 0, 0, 0); /* the monitor is gone */
		r = call6(__NR_clone, SIGCHLD, 0, 0, 0, 0, 0);
		if (!r)
			domain_main(&request, zygote);
		if (r < 0)
			tell(request.orders, (int)r, NULL, 0);
	}
}
