/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_SHIM_H
#define VMM_ENGINE_PV_SHIM_H

/*
 * What the monitor and the few instructions of ours inside a domain know of each other. Also
 * read by the assembler.
 *
 * Processes of a domain, all in one address space:
 * - template: the first one; makes contexts, one clone() an order, and runs no guest code;
 * - mapper: a thread of it; carries out orders to map, and runs no guest code;
 * - contexts: run guest code, and shim_handler when a signal or a fault stops them.
 * Guest code can write all of guest memory and all frame areas, so template and mapper keep
 * what they need in registers and read nothing but the orders, which only the monitor can
 * write. Every system call of template and contexts is a notification to the monitor; a
 * context's one exception is rt_sigreturn at shim_sigreturn.
 */

/*
 * Above all that guests can map (2^39), below the end of every x86-64 user address space, and
 * where no sanitizer of the monitor has anything.
 */
#define PV_SHIM        0x500000000000 /* the code, read and execute; begins with the gate */
#define PV_ORDERS      0x500000100000 /* orders, read-only here */
#define PV_STACK       0x500000200000 /* of the zygote and of newborn domains; then nothing */
#define PV_GATE_BLOCK  0x500000300000 /* struct pv_gate, writable; where a kernel runs */
#define PV_AREAS       0x500001000000 /* frame areas, a PV_AREA_SIZE a context, writable */
#define PV_SHIM_MAX    0x10000
#define PV_ORDERS_SIZE 0x4000
#define PV_STACK_SIZE  0x10000
#define PV_AREA_SIZE   0x4000
#define PV_CONTEXTS    4096 /* of one domain, at most */

/*
 * A frame area: signals come in on its upper half; the monitor composes frames in its lower
 * half, at PV_COMPOSED, with the bases of FS and GS in the two words before.
 */
#define PV_AREA_STACK 0x2000
#define PV_COMPOSED   0x40
#define PV_XSTATE     0x400 /* of a composed frame */

/*
 * Numbers that the shim's own calls bear, far from any that Linux has. What makes one the
 * shim's is the instruction pointer.
 */
#define PV_CALL_STOP     0x05e90001 /* (signal, frame, fs, gs) -> frame | PV_STOP_BASES */
#define PV_CALL_TEMPLATE 0x05e90002 /* (result of the last clone) -> stack of the next */
#define PV_CALL_NEXT     0x05e90003 /* (error, orders left) -> number of orders */
#define PV_STOP_BASES    1 /* also load FS and GS, from before the frame */

/* Descriptors in the zygote and in domains. */
#define PV_FD_SOCKET 3 /* the zygote's end; open in every domain: it ends with the last */
#define PV_FD_RAM    4
#define PV_FD_AREAS  5 /* file of orders and frame areas */
#define PV_FD_SHIM   6 /* zygote only */

/*
 * The gate, in the domain of a guest's kernel: its own thread answers a user context's system
 * call and waits for the next, on a copy of that domain's listener. What a listener is
 * answered must not say CONTINUE, so the kernel reads the answer from PV_GATE_ANSWER, which
 * guest code can only change by the one write to PV_FD_AREAS that its filter allows: of
 * identifier and value.
 */
#define PV_GATE_SLOTS  128
#define PV_GATE_FD     64 /* the first of as many descriptors */
#define PV_GATE_ANSWER (PV_ORDERS + PV_ORDERS_SIZE - PV_ANSWER_ROOM)
#define PV_ANSWER_ROOM 64
#define PV_ANSWER_LEN  16
#define PV_GATE_SEND   0xc0182101 /* SECCOMP_IOCTL_NOTIF_SEND */
#define PV_GATE_RECV   0xc0502100 /* SECCOMP_IOCTL_NOTIF_RECV */
/* Offsets in struct pv_gate */
#define PV_GATE_PAGE   0x00
#define PV_GATE_INSIDE 0x08
#define PV_GATE_ASKED  0x10
#define PV_GATE_OFFSET 0x18
#define PV_GATE_ID     0x20
#define PV_GATE_VALUE  0x28
#define PV_GATE_SENT   0x30
#define PV_GATE_NOTIF  0x40
#define PV_GATE_SLOT   0x100
#define PV_GATE_SHIFT  6 /* of a slot's size */
#define PV_SLOT_CONTEXT 0x00
#define PV_SLOT_ID     0x08
#define PV_SLOT_PID    0x10
#define PV_SLOT_NUMBER 0x18
#define PV_SLOT_RIP    0x20

#define PV_CLONE_FLAGS 0x711 /* CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD: no threads, so
			      * that one can be killed alone; no common signal handlers, as
			      * the kernel resets one that a context blocks and raises */

#ifndef __ASSEMBLER__
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/abi.h"

_Static_assert(PV_SHIM == SEGUE_PV_GATE, "the gate is where guests call it");

/* A user context that waits in a system call the kernel has been told of. */
struct pv_gate_slot {
	uint64_t context; /* the guest's name for it, or PV_NO_CONTEXT */
	uint64_t id;      /* of the notification */
	uint64_t pid;
	uint64_t number, rip; /* of the call */
	uint64_t zero[3];
};
#define PV_NO_CONTEXT (~0ull)

/* Written by kernel mode as it likes: nothing in here is to be believed. */
struct pv_gate {
	uint64_t page;   /* va of the vCPU's page; 0: the gate is closed */
	uint64_t inside; /* number of the slot whose context may be running, and 1; or 0 */
	uint64_t asked;  /* ENTER_USER's argument */
	uint64_t offset; /* of the answer in the file */
	uint64_t id, value; /* the answer to be */
	uint64_t sent;   /* 1: it went out */
	uint64_t zero;
	struct seccomp_notif notif; /* what was received; id 0: nothing */
	uint64_t zero2[14];
	struct pv_gate_slot slots[PV_GATE_SLOTS];
};
_Static_assert(offsetof(struct pv_gate, page) == PV_GATE_PAGE &&
	       offsetof(struct pv_gate, inside) == PV_GATE_INSIDE &&
	       offsetof(struct pv_gate, asked) == PV_GATE_ASKED &&
	       offsetof(struct pv_gate, offset) == PV_GATE_OFFSET &&
	       offsetof(struct pv_gate, id) == PV_GATE_ID &&
	       offsetof(struct pv_gate, value) == PV_GATE_VALUE &&
	       offsetof(struct pv_gate, sent) == PV_GATE_SENT &&
	       offsetof(struct pv_gate, notif) == PV_GATE_NOTIF &&
	       offsetof(struct pv_gate, slots) == PV_GATE_SLOT, "struct pv_gate");
_Static_assert(offsetof(struct pv_gate_slot, context) == PV_SLOT_CONTEXT &&
	       offsetof(struct pv_gate_slot, id) == PV_SLOT_ID &&
	       offsetof(struct pv_gate_slot, pid) == PV_SLOT_PID &&
	       offsetof(struct pv_gate_slot, number) == PV_SLOT_NUMBER &&
	       offsetof(struct pv_gate_slot, rip) == PV_SLOT_RIP &&
	       sizeof(struct pv_gate_slot) == 1 << PV_GATE_SHIFT, "struct pv_gate_slot");
_Static_assert(sizeof(struct pv_gate) <= PV_AREA_SIZE, "the gate's block is a frame area's size");

/* An order to the mapper: a system call. */
struct pv_order {
	uint64_t number;
	uint64_t arguments[6];
	uint64_t zero;
};
#define PV_ORDERS_MAX ((PV_ORDERS_SIZE - PV_ANSWER_ROOM) / sizeof(struct pv_order))

/* What the monitor asks of the zygote, one message each. */
struct pv_zygote_request {
	uint64_t orders;   /* where in the file of areas the new domain's orders are */
	uint32_t tracking; /* whether it will need a userfaultfd */
	uint32_t kernel;   /* whether it is for a guest's kernel: its filter has the gate */
};
/*
 * The answer. No error: with it come the descriptors of the template's and the mapper's
 * listeners and, when tracking, of its pagemap and its userfaultfd.
 */
struct pv_zygote_reply {
	uint64_t orders; /* as asked */
	int32_t error;
	uint32_t zero;
};

/* The code as it is linked into the monitor; it runs from a copy at PV_SHIM. */
extern const unsigned char __start_pvshim[] __attribute__((visibility("hidden")));
extern const unsigned char __stop_pvshim[] __attribute__((visibility("hidden")));

/* Places in it. Those called _ip are right behind a SYSCALL instruction. */
#define PV_SHIM_PLACE(name)                                                                    \
	extern const unsigned char name[] __attribute__((visibility("hidden")))
PV_SHIM_PLACE(shim_gate);
PV_SHIM_PLACE(shim_gate_asked);
PV_SHIM_PLACE(shim_gate_write_ip);
PV_SHIM_PLACE(shim_gate_send_ip);
PV_SHIM_PLACE(shim_gate_sent);
PV_SHIM_PLACE(shim_gate_recv_ip);
PV_SHIM_PLACE(shim_gate_done);
PV_SHIM_PLACE(shim_gate_done_ret);
PV_SHIM_PLACE(shim_gate_slow_ip);
PV_SHIM_PLACE(shim_gate_end);
PV_SHIM_PLACE(shim_zygote_entry);
PV_SHIM_PLACE(shim_handler);
PV_SHIM_PLACE(shim_stop_ip);
PV_SHIM_PLACE(shim_sigreturn_ip);
PV_SHIM_PLACE(shim_template_ip);
PV_SHIM_PLACE(shim_clone_ip);
PV_SHIM_PLACE(shim_prctl_ip);
PV_SHIM_PLACE(shim_next_ip);
PV_SHIM_PLACE(shim_pagemap_path);

/* Where PLACE is once copied. For the monitor; code of the copy itself takes the address. */
static inline uint64_t pv_shim_address(const unsigned char *place)
{
	return PV_SHIM + (uint64_t)(place - __start_pvshim);
}
#endif

#endif
