/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_CLOCK_H
#define VMM_ENGINE_PV_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "guest/abi.h"

/*
 * Guest time: nanoseconds since the guest was first booted, reckoned from the processor's
 * time stamp counter. The rate is measured against CLOCK_MONOTONIC over ever longer spans;
 * a new rate takes over where the old one has come to, so time never steps. Not for
 * several threads at once: the engine's timer lock.
 */
#define PV_CLOCK_SHIFT 32u

struct pv_clock_pair {
	uint64_t tsc;
	uint64_t ns; /* CLOCK_MONOTONIC */
};

struct pv_clock {
	struct pv_clock_pair first; /* what rates are measured from */
	uint64_t refined;           /* counter, when the rate was last measured */
	bool frozen;
	uint64_t frozen_ns;         /* guest time while it stands */
	uint64_t base_tsc, base_ns, mul;
	uint64_t wall_ns;
};

uint64_t pv_tsc(void);
uint64_t pv_monotonic(void);

/* Begins measuring; time stands at zero. */
void pv_clock_start(struct pv_clock *clock);
/* Guest time now. */
uint64_t pv_clock_now(const struct pv_clock *clock);
/* Frequency of the counter, kHz. */
uint64_t pv_clock_khz(const struct pv_clock *clock);
void pv_clock_freeze(struct pv_clock *clock);
/* Lets time go on from NS, and sets the wall clock. */
void pv_clock_release(struct pv_clock *clock, uint64_t ns);
/* Measures the rate again if it is time to; true: there are new parameters. */
bool pv_clock_refine(struct pv_clock *clock);
/* Writes the parameters where the guest reads them. */
void pv_clock_publish(const struct pv_clock *clock, struct segue_pv_clock *to);

#endif
