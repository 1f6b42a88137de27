/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
#ifndef SEGUE_PV_ABI_H
#define SEGUE_PV_ABI_H

/*
 * The paravirtual machine as its guest sees it, version 1. docs/pv-abi.md says it in words.
 * Included by the monitor, by guest/probe and by guest/linux: fixed-size types, nothing of
 * any host. Addresses of guest memory are gpa (from 0 up) unless they say va.
 */
#ifdef __KERNEL__
#include <linux/types.h>
typedef u8 segue_u8;
typedef u32 segue_u32;
typedef u64 segue_u64;
#else
#include <stdint.h>
typedef uint8_t segue_u8;
typedef uint32_t segue_u32;
typedef uint64_t segue_u64;
#endif

#define SEGUE_PV_VERSION 1u
#define SEGUE_PV_PAGE    4096u

/* ---- memory ---- */

/*
 * Kernel mode sees all RAM at DIRECT + gpa, readable, writable, executable. Other kernel
 * addresses, from the end of that to VA_END, go through the kernel root's page tables.
 * User mode sees what a root's page tables give it, from USER_BEGIN to VA_END.
 */
#define SEGUE_PV_DIRECT     0x60000000ull
#define SEGUE_PV_USER_BEGIN 0x10000ull
#define SEGUE_PV_VA_END     0x8000000000ull /* 2^39 */

/*
 * Page tables: three levels of 512 entries of 64 bits, indexed by bits 38-30, 29-21 and
 * 20-12 of the address. Of an entry of the upper two levels P and ADDRESS count. The machine
 * never writes an entry: an access that needs A, or a write that needs D, faults where it
 * is clear. Entries may be changed at any time; what was used stays in force until a FLUSH.
 */
#define SEGUE_PV_PTE_P       0x001ull /* present */
#define SEGUE_PV_PTE_W       0x020ull /* writable */
#define SEGUE_PV_PTE_U       0x040ull /* for user mode */
#define SEGUE_PV_PTE_A       0x080ull /* accessed: without it every access faults */
#define SEGUE_PV_PTE_D       0x100ull /* dirty: without it every write faults */
#define SEGUE_PV_PTE_X       0x200ull /* executable */
#define SEGUE_PV_PTE_ADDRESS 0x000ffffffffff000ull

/* ---- start ---- */

/*
 * The kernel is an ELF64 executable for x86-64, its segments linked at DIRECT + gpa. It starts
 * at its entry point with RDI the va of this, a valid stack of 8 KiB, events masked and all
 * else zero.
 */
#define SEGUE_PV_BOOT_MAGIC 0x3176706575676573ull
struct segue_pv_boot {
	segue_u64 magic; /* "seguepv1" */
	segue_u32 version;
	segue_u32 vcpus; /* 1 in version 1 */
	segue_u64 ram;   /* bytes */
	segue_u64 free;  /* gpa of the first byte used by nothing the loader put there */
	segue_u64 cmdline, cmdline_len; /* gpa, bytes without the zero byte at its end */
	segue_u64 initrd, initrd_len;   /* gpa, bytes; 0, 0: none */
	segue_u64 vcpu;                 /* gpa of struct segue_pv_vcpu, a page of its own */
	segue_u64 devices;              /* gpa of struct segue_pv_device[] */
	segue_u32 n_devices;
	segue_u32 xsave_size;           /* bytes of struct segue_pv_user.xsave in use */
};

/* A device: virtio over MMIO, version 2 (virtio 1.2, 4.2.2), its registers reached by IO. */
struct segue_pv_device {
	segue_u64 address; /* for SEGUE_PV_IO_*, space MEMORY */
	segue_u32 size;
	segue_u32 line;    /* of its interrupt */
};

/*
 * Two registers beyond virtio's: the gpa of 32 bits, aligned to that, in which the guest
 * wants InterruptStatus to be kept; 0: in the device, as after power-on. The device sets bits
 * there by atomic operations, then raises its line. The guest may clear the line in PENDING
 * itself and then take the bits by an exchange with 0, which saves two calls an interrupt.
 */
#define SEGUE_PV_STATUS_LOW  0x0d0u /* takes effect with the write of the other */
#define SEGUE_PV_STATUS_HIGH 0x0d4u

/* ---- registers ---- */

struct segue_pv_regs {
	segue_u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
	segue_u64 r8, r9, r10, r11, r12, r13, r14, r15;
	segue_u64 rip, rflags, fs_base, gs_base;
};

/* Why kernel mode was interrupted, or user mode left. Vectors are the processor's. */
struct segue_pv_trap {
	segue_u32 vector;
	segue_u32 error;   /* of a page fault: bits below */
	segue_u64 address; /* of a page fault */
};
#define SEGUE_PV_VECTOR_DE 0u  /* divide */
#define SEGUE_PV_VECTOR_DB 1u  /* single step */
#define SEGUE_PV_VECTOR_BP 3u
#define SEGUE_PV_VECTOR_UD 6u
#define SEGUE_PV_VECTOR_GP 13u
#define SEGUE_PV_VECTOR_PF 14u
#define SEGUE_PV_VECTOR_MF 16u /* floating point, x87 and SSE alike */
#define SEGUE_PV_VECTOR_AC 17u
#define SEGUE_PV_VECTOR_LOST 255u /* user mode only: its registers are gone; end the program */
#define SEGUE_PV_PF_PRESENT 0x01u /* the entry has P and leads to RAM: it lacks something else */
#define SEGUE_PV_PF_WRITE   0x02u
#define SEGUE_PV_PF_USER    0x04u
#define SEGUE_PV_PF_FETCH   0x10u

/*
 * What an interruption of kernel mode finds on its stack: 128 bytes below the old RSP, which
 * code may be using, and aligned to 16. RDI points at it, at the entry's first instruction.
 * Returning is up to the guest: it restores the registers.
 */
struct segue_pv_frame {
	struct segue_pv_regs regs;
	struct segue_pv_trap trap; /* of an event: zero */
};

/* ---- the vCPU's page, in guest RAM ---- */

/*
 * Pairs of counter readings: guest time = base_ns + ((tsc - base_tsc) * mul >> shift), the
 * product taken with 128 bits. SEQUENCE is odd while the monitor writes; it changes when the
 * guest has moved. Wall clock: guest time + wall_ns nanoseconds since 1970.
 */
struct segue_pv_clock {
	segue_u32 sequence;
	segue_u32 shift;
	segue_u64 base_tsc;
	segue_u64 base_ns;
	segue_u64 mul;
	segue_u64 wall_ns;
};

/* User mode as ENTER_USER takes and gives it. */
enum segue_pv_action { /* what to do first; the monitor sets it to CONTINUE once done */
	SEGUE_PV_CONTINUE = 0, /* nothing: go on where user mode was left */
	SEGUE_PV_RETURN = 1,   /* RAX of the system call it made becomes .value */
	SEGUE_PV_LOAD = 2,     /* all registers come from .regs, and from .xsave if .has_xsave */
};

enum segue_pv_reason { /* why ENTER_USER came back: its result, or a negative errno */
	SEGUE_PV_SYSCALL = 1, /* .number, .arguments and .rip are set */
	SEGUE_PV_TRAP = 2,    /* .trap is set */
	SEGUE_PV_EVENT = 3,   /* an event is pending */
};

#define SEGUE_PV_XSAVE_MAX 2688u
struct segue_pv_user {
	segue_u32 action;
	segue_u32 has_xsave;
	segue_u64 value;
	segue_u64 number;
	segue_u64 arguments[6];
	segue_u64 rip;         /* behind the system call instruction, or of the trap */
	struct segue_pv_trap trap;
	struct segue_pv_regs regs; /* LOAD's, and GET_USER's answer */
	segue_u8 xsave[SEGUE_PV_XSAVE_MAX] __attribute__((aligned(64)));
};

/*
 * Events are lines 0 to 63, level-triggered but for TIMER and POWER. PENDING shows those that
 * are raised; the monitor sets and clears bits by atomic operations, the guest clears those two.
 * Where MASKED is 0 and a bit comes up in kernel mode, the guest is interrupted at its event
 * entry with MASKED set to 1. Who clears MASKED looks at PENDING afterwards, himself.
 */
struct segue_pv_vcpu {
	segue_u64 pending;
	segue_u8 masked;
	segue_u8 zero[55];
	struct segue_pv_clock clock;
	segue_u8 zero2[64 - sizeof(struct segue_pv_clock) % 64];
	struct segue_pv_user user;
};

#define SEGUE_PV_LINE_TIMER  0u
#define SEGUE_PV_LINE_SERIAL 4u
#define SEGUE_PV_LINE_POWER  5u /* the power button was pressed: shut down and END */

/*
 * Where the machine has code of its own: called by kernel mode with RDI the id of a context, it
 * does what the hypercall ENTER_USER does, result included, and may be faster. Needs a stack;
 * RAX, RCX, RDX, RSI, RDI, R8 to R11 and the flags are lost.
 */
#define SEGUE_PV_GATE 0x500000000000ull

/* ---- hypercalls ---- */

/*
 * Kernel mode: the SYSCALL instruction with the number in EAX and up to six arguments in RDI,
 * RSI, RDX, R10, R8, R9. RAX has the result: 0 or more, or a negative errno of these. RCX and
 * R11 are lost. A number that is not here gives -ENOSYS.
 */
#define SEGUE_PV_EPERM   (-1)
#define SEGUE_PV_ENOMEM  (-12)
#define SEGUE_PV_EFAULT  (-14)
#define SEGUE_PV_EINVAL  (-22)
#define SEGUE_PV_ENOSYS  (-38)

enum segue_pv_call {
	/* () -> SEGUE_PV_VERSION */
	SEGUE_PV_VERSION_GET = 0x5e9000,
	/* (va of the event entry, va of the trap entry): from then on both may be used. */
	SEGUE_PV_SET_ENTRIES,
	/* (gpa of a top-level table, or ~0: none). */
	SEGUE_PV_SET_KERNEL_ROOT,
	/*
	 * (root, va begin, va end): drop what was derived from that range's entries. ROOT is
	 * the gpa of a top-level table, or ~0 for the kernel root.
	 */
	SEGUE_PV_FLUSH,
	/* (root): the page tables of ROOT are no more; also ends its contexts. */
	SEGUE_PV_DROP_ROOT,
	/* (root, id): a user context, a thread of control in ROOT's address space; ID is the
	 * guest's choice, below 2^22. Its first ENTER_USER must LOAD. */
	SEGUE_PV_CONTEXT_CREATE,
	/* (id) */
	SEGUE_PV_CONTEXT_DESTROY,
	/* (id) -> enum segue_pv_reason, with struct segue_pv_user of the vCPU's page. */
	SEGUE_PV_ENTER_USER,
	/* (id): its registers and floating-point state into .regs and .xsave. */
	SEGUE_PV_GET_USER,
	/* (guest time in ns, or ~0: none): raise the timer's line then. */
	SEGUE_PV_SET_TIMER,
	/* (): until an event is pending, masked or not. */
	SEGUE_PV_BLOCK,
	/* (space, address, bytes: 1, 2, 4 or 8) -> value */
	SEGUE_PV_IO_READ,
	/* (space, address, bytes, value) */
	SEGUE_PV_IO_WRITE,
	/* (gpa, bytes): text for the serial port, for before there are drivers */
	SEGUE_PV_PRINT,
	/* (enum segue_pv_end, gpa of a text, bytes): does not return */
	SEGUE_PV_END,
	SEGUE_PV_CALL_LAST = SEGUE_PV_END,
};

enum segue_pv_space { SEGUE_PV_MEMORY = 0, SEGUE_PV_PORTS = 1 };
enum segue_pv_end { SEGUE_PV_OFF = 0, SEGUE_PV_REBOOT = 1, SEGUE_PV_PANIC = 2 };

#endif
