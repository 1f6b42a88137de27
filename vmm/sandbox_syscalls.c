/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox_internal.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define LOW32 0xffffffffu /* of an argument that is an int to the kernel */

/* clang-format off */
#define ALLOW(call, reason) {.name = #call, .why = (reason)}
#define ALLOW_IF(call, number, bits, wanted, reason)                                           \
	{.name = #call, .why = (reason), .test = SANDBOX_BITS, .argument = (number),               \
	 .mask = (bits), .value = (wanted)}
#define ALLOW_SELF(call, number, reason)                                                       \
	{.name = #call, .why = (reason), .test = SANDBOX_SELF, .argument = (number)}
/* clang-format on */

/*
 * Every system call a monitor may make after its start, and what for. ioctl is in
 * sandbox_ioctls.c; clone3 fails with ENOSYS, since its flags lie in memory that no filter
 * sees, and libc then uses clone.
 */
const struct sandbox_syscall sandbox_syscalls[] = {
    /* Descriptors already open: disks, taps, KVM's eventfds, sockets, the journal. */
    ALLOW(read, "journal, eventfds, sockets"),
    ALLOW(write, "journal, eventfds, sockets, log"),
    ALLOW(readv, "tap and socket input"),
    ALLOW(writev, "tap and socket output"),
    ALLOW(pread64, "disk reads, pagemap"),
    ALLOW(pwrite64, "disk writes"),
    ALLOW(preadv, "disk reads into scattered guest buffers"),
    ALLOW(pwritev, "disk writes from scattered guest buffers"),
    ALLOW(preadv2, "the same, as newer libraries call it"),
    ALLOW(pwritev2, "the same, as newer libraries call it"),
    ALLOW(lseek, "disk size, holes of guest memory"),
    ALLOW(fallocate, "disk discard, giving ballooned pages back"),
    ALLOW(ftruncate, "journal"),
    ALLOW(fdatasync, "disk flush"),
    ALLOW(fstat, "sizes of open files"),
    ALLOW(newfstatat, "the same, as libc calls it"),
    ALLOW(statx, "the same, as libuv calls it"),
    ALLOW(fcntl, "non-blocking and close-on-exec flags"),
    ALLOW(flock, "journal is held by one monitor"),
    ALLOW(dup, "a descriptor handed to a thread of its own"),
    ALLOW(dup3, "the same, close-on-exec"),
    ALLOW(close, "all of them"),

    /* Files in the state directory and what Landlock leaves readable. */
    ALLOW(open, "state directory, kernel image for a reboot"),
    ALLOW(openat, "state directory, kernel image for a reboot"),
    ALLOW(access, "state directory"),
    ALLOW(faccessat2, "state directory"),
    ALLOW(stat, "state directory"),
    ALLOW(lstat, "state directory"),
    ALLOW(unlink, "the socket's file, on the way out"),
    ALLOW(unlinkat, "the socket's file, on the way out"),
    ALLOW(rename, "journal replaced as a whole"),
    ALLOW(renameat, "journal replaced as a whole"),
    ALLOW(renameat2, "journal replaced as a whole"),
    ALLOW(mkdir, "directory of a recorded move"),
    ALLOW(mkdirat, "directory of a recorded move"),
    ALLOW(getdents64, "state directory, own threads in /proc"),
    ALLOW(readlink, "canonical names"),

    /* Waiting. */
    ALLOW(epoll_create1, "a loop on a thread of its own"),
    ALLOW(epoll_ctl, "libuv"),
    ALLOW(epoll_wait, "libuv"),
    ALLOW(epoll_pwait, "libuv"),
    ALLOW(epoll_pwait2, "newer libuv"),
    ALLOW(eventfd2, "doorbells of queues set up after a reboot, uv_async"),
    ALLOW(pipe2, "libuv's signals"),
    ALLOW(poll, "migration channels with a time limit"),
    ALLOW(ppoll, "migration channels with a time limit"),
    ALLOW(timerfd_create, "device timers"),
    ALLOW(timerfd_settime, "device timers"),
    ALLOW(timerfd_gettime, "device timers"),

    /* Threads: never processes. */
    ALLOW_IF(clone, 0, CLONE_THREAD, CLONE_THREAD, "threads of a move; not fork"),
    ALLOW(set_robust_list, "every new thread"),
    ALLOW(rseq, "every new thread"),
    ALLOW(futex, "locks"),
    ALLOW(membarrier, "libraries' read-mostly locks"),
    ALLOW(exit, "end of a thread"),
    ALLOW(exit_group, "end of the monitor"),
    ALLOW(gettid, "naming a thread"),
    ALLOW(getpid, "answers to show"),
    ALLOW(geteuid, "state directory's owner"),
    ALLOW(getuid, "libraries"),
    ALLOW(sched_yield, "short waits"),
    ALLOW(sched_getaffinity, "number of processors"),
    ALLOW(sched_setaffinity, "channels off the vCPUs' processors"),
    ALLOW(getcpu, "number of processors, allocator"),
    ALLOW_IF(prctl, 0, LOW32, PR_SET_NAME, "names of threads"),
    ALLOW_IF(prlimit64, 2, ~0ull, 0, "reading limits, for thread stacks"),

    /* Signals: to itself only. */
    ALLOW(rt_sigaction, "libuv's signal handling"),
    ALLOW(rt_sigprocmask, "thread start, vCPU kicks"),
    ALLOW(rt_sigreturn, "end of every handler"),
    ALLOW(rt_sigtimedwait, "taking a vCPU's kick in"),
    ALLOW(sigaltstack, "end of a thread"),
    ALLOW(restart_syscall, "the kernel's own, after a stop"),
    ALLOW_SELF(tgkill, 0, "vCPU kicks, abort; not other processes"),

    /* Memory: never executable. */
    ALLOW_IF(mmap, 2, PROT_EXEC, 0, "thread stacks, buffers"),
    ALLOW_IF(mprotect, 2, PROT_EXEC, 0, "guard pages of stacks"),
    ALLOW(munmap, "thread stacks, buffers"),
    ALLOW(mremap, "growing buffers"),
    ALLOW(madvise, "balloon, freed stacks"),
    ALLOW(mincore, "how much of the guest is here"),
    ALLOW(brk, "allocator"),

    /* Time and chance. */
    ALLOW(clock_gettime, "where the vDSO has no clock"),
    ALLOW(clock_getres, "libuv"),
    ALLOW(clock_nanosleep, "throttled vCPUs, paced sending"),
    ALLOW(nanosleep, "the same"),
    ALLOW(gettimeofday, "where the vDSO has no clock"),
    ALLOW(getrandom, "virtio entropy, move ids"),
    ALLOW(getrusage, "answers to show"),
    ALLOW(uname, "answers to show"),
    ALLOW(sysinfo, "memory of this host"),

    /* TCP, for moves; no packet, netlink or Unix sockets. */
    ALLOW_IF(socket, 0, LOW32, AF_INET, "a move over IPv4"),
    ALLOW_IF(socket, 0, LOW32, AF_INET6, "a move over IPv6"),
    ALLOW(connect, "a move's source"),
    ALLOW(bind, "a move's destination"),
    ALLOW(listen, "a move's destination"),
    ALLOW(accept, "a move's destination"),
    ALLOW(accept4, "control clients, a move's destination"),
    ALLOW(shutdown, "end of a connection"),
    ALLOW(getsockname, "the port that was chosen"),
    ALLOW(getpeername, "who it is, for people"),
    ALLOW(getsockopt, "outcome of a connect"),
    ALLOW(setsockopt, "no delay, buffers, keep-alive"),
    ALLOW(sendto, "connections"),
    ALLOW(sendmsg, "connections"),
    ALLOW(recvfrom, "connections"),
    ALLOW(recvmsg, "connections"),
    {.name = NULL},
};

/*
 * Domains of the paravirtual engine. Descriptors of the processes alone name them, and only
 * these two signals can be sent: stop for the monitor, and end.
 */
const struct sandbox_syscall sandbox_syscalls_pv[] = {
    ALLOW(pidfd_open, "a domain's new process, by the number its notification has"),
    ALLOW_IF(pidfd_send_signal, 1, LOW32, SIGUSR2, "stopping guest code"),
    ALLOW_IF(pidfd_send_signal, 1, LOW32, SIGKILL, "ending a domain"),
    ALLOW(wait4, "the end of the process that makes domains"),
    {.name = NULL},
};
