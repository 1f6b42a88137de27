/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "vmm/engine/pv/pv.h"

int pv_probe(const Segue__Guest *guest, struct error *err)
{
	if (guest && guest->cpus > 1)
		return error_set(err, -ENOTSUP,
				 "the paravirtual engine gives a guest one processor, not %u",
				 guest->cpus);
	return pv_host_probe(err);
}
