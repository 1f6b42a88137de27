/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_PV_DIRTY_H
#define VMM_ENGINE_PV_DIRTY_H

#include "vmm/engine/pv/pv.h"

/* What the two ways of tracking written pages share. The shadow lock is held by all callers. */
struct pv_domain *pv_domain_of(struct pv_engine *e, const struct pv_shadow *shadow);
/* Sets the bits of N pages. */
void pv_pages_set(uint64_t *words, uint64_t first, uint64_t n);

/* dirty_faults.c */
int pv_faults_start(struct pv_engine *e);
int pv_faults_harvest(struct pv_engine *e, uint64_t *words);
int pv_faults_stop(struct pv_engine *e);
int pv_direct_close(struct pv_engine *e); /* takes the right to write from the direct map */

/* dirty_scans.c */
int pv_scans_start(struct pv_engine *e);
int pv_scans_harvest(struct pv_engine *e, uint64_t *words, struct error *err);
int pv_scans_stop(struct pv_engine *e);

#endif
