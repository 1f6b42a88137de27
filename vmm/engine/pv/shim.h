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
#define PV_SHIM        0x500000000000 /* the code, read and execute */
#define PV_ORDERS      0x500000100000 /* orders, read-only here */
#define PV_STACK       0x500000200000 /* of the zygote and of newborn domains; then nothing */
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

#define PV_CLONE_FLAGS 0x711 /* CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD: no threads, so
			      * that one can be killed alone; no common signal handlers, as
			      * the kernel resets one that a context blocks and raises */

#ifndef __ASSEMBLER__
#include <stdint.h>

/* An order to the mapper: a system call. */
struct pv_order {
	uint64_t number;
	uint64_t arguments[6];
	uint64_t zero;
};
#define PV_ORDERS_MAX (PV_ORDERS_SIZE / sizeof(struct pv_order))

/* What the monitor asks of the zygote, one message each. */
struct pv_zygote_request {
	uint64_t orders;   /* where in the file of areas the new domain's orders are */
	uint32_t tracking; /* whether it will need a userfaultfd */
	uint32_t zero;
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
