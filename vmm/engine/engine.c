/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/engine.h"

#include <string.h>

static const struct engine_ops *const engines[] = {
	&engine_kvm,
	&engine_pv,
};

const struct engine_ops *engine_find(const char *name)
{
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (!strcmp(engines[i]->name, name))
			return engines[i];
	}
	return NULL;
}
