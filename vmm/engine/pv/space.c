/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>

#include "vmm/engine/pv/pv.h"

/* The guest's roots and user contexts, whether the host has anything for them or not. */
static unsigned bucket_of_root(uint64_t root)
{
	return (unsigned)(root / SEGUE_PV_PAGE * 0x9e3779b1u % PV_BUCKETS);
}

static unsigned bucket_of_id(uint64_t id)
{
	return (unsigned)(id % PV_BUCKETS);
}

struct pv_user *pv_user_find(const struct pv_engine *e, uint64_t id)
{
	struct pv_user *user = e->users[bucket_of_id(id)];

	while (user && user->id != id)
		user = user->next;
	return user;
}

struct pv_space *pv_space_find(const struct pv_engine *e, uint64_t root)
{
	struct pv_space *space = e->spaces[bucket_of_root(root)];

	while (space && space->root != root)
		space = space->next;
	return space;
}

static struct pv_space *space_get(struct pv_engine *e, uint64_t root)
{
	struct pv_space *space = pv_space_find(e, root);
	struct pv_space **bucket = &e->spaces[bucket_of_root(root)];

	if (space)
		return space;
	space = calloc(1, sizeof(*space));
	if (!space)
		return NULL;
	space->root = root;
	space->next = *bucket;
	*bucket = space;
	return space;
}

static void space_free(struct pv_engine *e, struct pv_space *space)
{
	struct pv_space **at = &e->spaces[bucket_of_root(space->root)];

	while (*at != space)
		at = &(*at)->next;
	*at = space->next;
	free(space);
}

int pv_user_create(struct pv_engine *e, uint64_t root, uint32_t id, struct pv_user **ret_user)
{
	struct pv_user **bucket = &e->users[bucket_of_id(id)];
	struct pv_user *user;

	if (e->n_users == PV_CONTEXTS_MAX)
		return -ENOMEM;
	user = calloc(1, sizeof(*user));
	if (!user)
		return -ENOMEM;
	user->space = space_get(e, root);
	if (!user->space) {
		free(user);
		return -ENOMEM;
	}
	user->id = id;
	user->sibling = user->space->users;
	user->space->users = user;
	user->next = *bucket;
	*bucket = user;
	e->n_users++;
	*ret_user = user;
	return 0;
}

static void unlink_user(struct pv_engine *e, struct pv_user *user)
{
	struct pv_user **at = &e->users[bucket_of_id(user->id)];

	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
	at = &user->space->users;
	while (*at != user)
		at = &(*at)->sibling;
	*at = user->sibling;
	e->n_users--;
}

/* An address space lives as long as the guest has contexts in it. */
void pv_user_destroy(struct pv_engine *e, struct pv_user *user)
{
	struct pv_space *space = user->space;

	if (space->users == user && !user->sibling)
		pv_space_discard(e, space);
	else
		pv_user_gone(e, user);
	unlink_user(e, user);
	free(user->xsave);
	free(user);
	if (!space->users)
		space_free(e, space);
}

/* With the last of its contexts goes the space. */
void pv_space_drop(struct pv_engine *e, uint64_t root)
{
	struct pv_space *space = pv_space_find(e, root);
	struct pv_user *user = space ? space->users : NULL;

	if (space)
		pv_space_discard(e, space);
	while (user) {
		struct pv_user *next = user->sibling;

		pv_user_destroy(e, user);
		user = next;
	}
}

void pv_spaces_drop(struct pv_engine *e)
{
	for (unsigned i = 0; i < PV_BUCKETS; i++) {
		while (e->spaces[i])
			pv_space_drop(e, e->spaces[i]->root);
	}
}
