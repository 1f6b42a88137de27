/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox_internal.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define NAMES_MAX 512

/* Filled before the filter is there: resolving a name is not for a signal handler. */
static char *names[NAMES_MAX];

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n; /* there is nobody else to tell */
}

/* SEGUE_SANDBOX=log: names the call and lets it fail as if the kernel did not know it. */
static void on_refused(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int nr = info->si_syscall;

	(void)number;
	say("sandbox: refused ");
	say(nr >= 0 && nr < NAMES_MAX && names[nr] ? names[nr] : "an unknown system call");
	say("\n");
	uc->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

static void prepare_log(void)
{
	struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};

	for (int nr = 0; nr < NAMES_MAX; nr++)
		names[nr] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
	sigaction(SIGSYS, &action, NULL);
}

static int add_syscall(scmp_filter_ctx filter, const struct sandbox_syscall *s)
{
	int nr = seccomp_syscall_resolve_name(s->name);
	struct scmp_arg_cmp test = {
	    .arg = s->argument,
	    .op = SCMP_CMP_MASKED_EQ,
	    .datum_a = s->test == SANDBOX_SELF ? 0xffffffffu : s->mask,
	    .datum_b = s->test == SANDBOX_SELF ? (scmp_datum_t)getpid() : s->value,
	};

	if (nr == __NR_SCMP_ERROR)
		return 0; /* newer than libseccomp: nothing here can call it either */
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, nr, s->test != SANDBOX_ANY,
				      &test);
}

static int add_ioctl(scmp_filter_ctx filter, const struct sandbox_ioctl *i)
{
	struct scmp_arg_cmp test = SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xffffffffu, i->request);

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &test);
}

static int add_syscalls(scmp_filter_ctx filter, const struct sandbox_syscall *list)
{
	int r = 0;

	for (const struct sandbox_syscall *s = list; !r && s->name; s++)
		r = add_syscall(filter, s);
	return r;
}

static int add_ioctls(scmp_filter_ctx filter, const struct sandbox_ioctl *list)
{
	int r = 0;

	for (const struct sandbox_ioctl *i = list; !r && i->why; i++)
		r = add_ioctl(filter, i);
	return r;
}

static int fill(scmp_filter_ctx filter, bool paravirtual)
{
	int r;

	/* Also binds threads that are there already; and a tree instead of a long list. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (!r)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!r)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (!r)
		r = add_syscalls(filter, sandbox_syscalls);
	if (!r && paravirtual)
		r = add_syscalls(filter, sandbox_syscalls_pv);
	if (!r)
		r = add_ioctls(filter, sandbox_ioctls);
	return r ? r : add_ioctls(filter, paravirtual ? sandbox_ioctls_pv : sandbox_ioctls_kvm);
}

int sandbox_seccomp(const struct sandbox_options *options, struct error *err)
{
	const char *mode = getenv("SEGUE_SANDBOX");
	int log = mode && !strcmp(mode, "log");
	scmp_filter_ctx filter = seccomp_init(log ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
	int r;

	if (!filter)
		return error_set(err, -ENOMEM, "sandbox: out of memory");
	if (log)
		prepare_log();
	r = fill(filter, options->paravirtual);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? error_system(err, r, "sandbox: system call filter") : 0;
}
