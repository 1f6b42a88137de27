/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_WIRE_H
#define VMM_ENGINE_PV_WIRE_H

#include "pv.pb-c.h"
#include "vmm/engine/pv/pv.h"

/* What saving and loading share: proto/pv.proto's view of the engine. */
#define WIRE_REGS 20u
_Static_assert(sizeof(struct segue_pv_regs) == WIRE_REGS * sizeof(uint64_t),
	       "registers are a run of 64-bit words");

Segue__PvState__At wire_at_put(enum pv_at at);
int wire_at_get(Segue__PvState__At at, enum pv_at *ret_at); /* -EPROTO */

/*
 * Checks and takes over an XSAVE area of whatever length into one of SIZE bytes: what does not
 * fit must be empty. -EPROTO.
 */
int wire_xsave_get(const ProtobufCBinaryData *from, uint8_t *to, size_t size,
		   uint64_t components);

/* All of MESSAGE that can be checked without touching anything. -EPROTO and a text. */
int wire_check(const struct pv_engine *e, const Segue__PvState *message, struct error *err);

#endif
