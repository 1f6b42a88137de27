/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "vmm/engine/pv/pv.h"

/*
 * Hypercalls, by a table. What they get is checked here and in what they call: numbers and
 * addresses are the guest kernel's, and it may be hostile. A result counts where kernel mode is
 * still at PV_AT_KERNEL afterwards.
 */

_Static_assert(SEGUE_PV_EPERM == -EPERM && SEGUE_PV_ENOMEM == -ENOMEM &&
	       SEGUE_PV_EFAULT == -EFAULT && SEGUE_PV_EINVAL == -EINVAL &&
	       SEGUE_PV_ENOSYS == -ENOSYS, "errors of the ABI are Linux's");

static bool is_root(const struct pv_engine *e, uint64_t gpa)
{
	return gpa % SEGUE_PV_PAGE == 0 && ram_at(e->ram, gpa, SEGUE_PV_PAGE);
}

static int64_t version_get(struct pv_engine *e, const uint64_t *args)
{
	(void)e;
	(void)args;
	return SEGUE_PV_VERSION;
}

static int64_t set_entries(struct pv_engine *e, const uint64_t *args)
{
	if (args[0] >= SEGUE_PV_VA_END || args[1] >= SEGUE_PV_VA_END)
		return -EINVAL;
	e->event_entry = args[0];
	e->trap_entry = args[1];
	return 0;
}

static int64_t set_kernel_root(struct pv_engine *e, const uint64_t *args)
{
	if (args[0] != PV_NO_ROOT && !is_root(e, args[0]))
		return -EINVAL;
	e->kernel_root = args[0];
	pthread_mutex_lock(&e->shadow_lock);
	pv_shadow_set_root(e->kernel.shadow, args[0]);
	pthread_mutex_unlock(&e->shadow_lock);
	return pv_flush(e, e->kernel.shadow, 0, SEGUE_PV_VA_END) < 0 ? -ENOMEM : 0;
}

/* A domain that cannot be unmapped is given up: what is derived from tables can be again. */
static int64_t flush_space(struct pv_engine *e, uint64_t root, uint64_t begin, uint64_t end)
{
	struct pv_space *space = pv_space_find(e, root);

	if (space && space->domain && pv_flush(e, space->shadow, begin, end) < 0)
		pv_space_evict(e, space);
	return 0;
}

static int64_t flush(struct pv_engine *e, const uint64_t *args)
{
	uint64_t begin = args[1] & ~(uint64_t)(SEGUE_PV_PAGE - 1), end = args[2];

	if (args[1] > args[2])
		return -EINVAL;
	if (end > SEGUE_PV_VA_END)
		end = SEGUE_PV_VA_END;
	end = (end + SEGUE_PV_PAGE - 1) & ~(uint64_t)(SEGUE_PV_PAGE - 1);
	if (begin >= end)
		return 0;
	if (args[0] != PV_NO_ROOT)
		return flush_space(e, args[0], begin, end);
	if (pv_flush(e, e->kernel.shadow, begin, end) < 0)
		pv_fail(e, "the mappings of its kernel cannot be changed");
	return 0;
}

static int64_t drop_root(struct pv_engine *e, const uint64_t *args)
{
	pv_space_drop(e, args[0]);
	return 0;
}

static int64_t context_create(struct pv_engine *e, const uint64_t *args)
{
	struct pv_user *user;

	if (!is_root(e, args[0]) || args[1] >= PV_CONTEXT_IDS || pv_user_find(e, args[1]))
		return -EINVAL;
	return pv_user_create(e, args[0], (uint32_t)args[1], &user);
}

static int64_t context_destroy(struct pv_engine *e, const uint64_t *args)
{
	struct pv_user *user = pv_user_find(e, args[0]);

	if (!user)
		return -EINVAL;
	pv_user_destroy(e, user);
	return 0;
}

static int64_t set_timer(struct pv_engine *e, const uint64_t *args)
{
	pv_timer_set(e, args[0]);
	return 0;
}

static int64_t block(struct pv_engine *e, const uint64_t *args)
{
	(void)args;
	if (pv_pending(e))
		return 0;
	e->kernel.at = PV_AT_BLOCK;
	return 0;
}

static int64_t (*const calls[])(struct pv_engine *e, const uint64_t *args) = {
	[SEGUE_PV_VERSION_GET - SEGUE_PV_VERSION_GET] = version_get,
	[SEGUE_PV_SET_ENTRIES - SEGUE_PV_VERSION_GET] = set_entries,
	[SEGUE_PV_SET_KERNEL_ROOT - SEGUE_PV_VERSION_GET] = set_kernel_root,
	[SEGUE_PV_FLUSH - SEGUE_PV_VERSION_GET] = flush,
	[SEGUE_PV_DROP_ROOT - SEGUE_PV_VERSION_GET] = drop_root,
	[SEGUE_PV_CONTEXT_CREATE - SEGUE_PV_VERSION_GET] = context_create,
	[SEGUE_PV_CONTEXT_DESTROY - SEGUE_PV_VERSION_GET] = context_destroy,
	[SEGUE_PV_ENTER_USER - SEGUE_PV_VERSION_GET] = pv_call_enter_user,
	[SEGUE_PV_GET_USER - SEGUE_PV_VERSION_GET] = pv_call_get_user,
	[SEGUE_PV_SET_TIMER - SEGUE_PV_VERSION_GET] = set_timer,
	[SEGUE_PV_BLOCK - SEGUE_PV_VERSION_GET] = block,
	[SEGUE_PV_IO_READ - SEGUE_PV_VERSION_GET] = pv_call_io_read,
	[SEGUE_PV_IO_WRITE - SEGUE_PV_VERSION_GET] = pv_call_io_write,
	[SEGUE_PV_PRINT - SEGUE_PV_VERSION_GET] = pv_call_print,
	[SEGUE_PV_END - SEGUE_PV_VERSION_GET] = pv_call_end,
};

/* The number is in EAX, as the ABI says: the upper half of RAX does not count. */
void pv_call(struct pv_engine *e, const struct pv_stop *stop)
{
	uint32_t index = (uint32_t)stop->number - SEGUE_PV_VERSION_GET;
	int64_t result = -ENOSYS;

	e->kernel.repeats = 0;
	if (index < sizeof(calls) / sizeof(calls[0]))
		result = calls[index](e, stop->arguments);
	if (e->kernel.at == PV_AT_KERNEL)
		pv_kernel_result(e, result);
}
