/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_CONTRACT_H
#define VMM_ENGINE_KVM_CONTRACT_H

#include "hello.pb-c.h"
#include "vmm/engine/kvm/cpumodel.h"

/* The part of accept() that is about features: pure. -ENOTSUP names what HOST lacks. */
int contract_words_check(const struct cpuid_table *host, const Segue__Contract *contract,
			 struct error *err);

#endif
