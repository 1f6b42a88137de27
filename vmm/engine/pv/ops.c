/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/pv.h"

const struct engine_ops engine_pv = {
	.name = "pv",
	.platform = ENGINE_PV,
	.probe = pv_probe,
	.create = pv_create,
	.destroy = pv_destroy,
	.boot = pv_boot,
	.vcpu = pv_vcpu,
	.vcpu_run = pv_vcpu_run,
	.vcpu_settle = pv_vcpu_settle,
	.vcpu_kick = pv_vcpu_kick,
	.set_irq = pv_set_irq,
	.signal_msi = pv_signal_msi,
	.notify_add = pv_notify_add,
	.notify_remove = pv_notify_remove,
	.save = pv_save,
	.load = pv_load,
	.clock_freeze = pv_clock_op_freeze,
	.clock_release = pv_clock_op_release,
	.contract = pv_contract,
	.accept = pv_accept,
	.dirty_start = pv_dirty_start,
	.dirty_harvest = pv_dirty_harvest,
	.dirty_stop = pv_dirty_stop,
	.dirty_words = pv_dirty_words,
};
