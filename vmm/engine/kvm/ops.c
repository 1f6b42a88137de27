/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/kvm/kvm.h"

const struct engine_ops engine_kvm = {
	.name = "kvm",
	.platform = ENGINE_PC,
	.probe = kvm_probe,
	.create = kvm_create,
	.destroy = kvm_destroy,
	.boot = kvm_boot,
	.vcpu = kvm_vcpu,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_settle = kvm_vcpu_settle,
	.vcpu_kick = kvm_vcpu_kick,
	.set_irq = kvm_set_irq,
	.signal_msi = kvm_signal_msi,
	.notify_add = kvm_notify_add,
	.notify_remove = kvm_notify_remove,
	.save = kvm_save,
	.load = kvm_load,
	.clock_freeze = kvm_clock_freeze,
	.clock_release = kvm_clock_release,
	.contract = kvm_contract,
	.accept = kvm_accept,
	.dirty_start = kvm_dirty_start,
	.dirty_harvest = kvm_dirty_harvest,
	.dirty_stop = kvm_dirty_stop,
	.dirty_words = kvm_dirty_words,
};
