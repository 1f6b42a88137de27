/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine_internal.h"

#include <errno.h>

int machine_create(uv_loop_t *loop, const Segue__Guest *guest,
		   const struct machine_observer *observer, struct machine **ret_machine,
		   struct error *err)
{
	const struct engine_ops *engine = engine_find(guest->engine);
	int r;

	if (!engine)
		return error_set(err, -EINVAL, "there is no engine \"%s\"", guest->engine);
	r = engine->probe(guest, err);
	if (r < 0)
		return r;
	return machine_build(loop, guest, engine, observer, ret_machine, err);
}
