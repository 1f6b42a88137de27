/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "proto/paths.h"
#include "proto/units.h"
#include "tools/segue/commands.h"
#include "tools/segue/output.h"

#define LIST_PATIENCE 1000 /* ms: one monitor that hangs must not hide the others */

struct guest_list {
	char **names;
	size_t n;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list_done(struct guest_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->names[i]);
	free(list->names);
}

static int list_add(struct guest_list *list, const char *name, size_t len)
{
	char **more = realloc(list->names, (list->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	list->names = more;
	more[list->n] = strndup(name, len);
	return more[list->n] ? (list->n++, 0) : -ENOMEM;
}

/* Names of guests that have a socket in DIR, in order. */
static int list_read(const char *dir, struct guest_list *list, struct error *err)
{
	const size_t suffix = strlen(PATHS_SOCKET);
	struct dirent *entry;
	DIR *d = opendir(dir);
	int r = 0;

	if (!d)
		return error_system(err, -errno, "%s", dir);
	while (!r && (entry = readdir(d))) {
		size_t len = strlen(entry->d_name);

		if (len > suffix && !strcmp(entry->d_name + len - suffix, PATHS_SOCKET))
			r = list_add(list, entry->d_name, len - suffix);
	}
	closedir(d);
	if (r < 0)
		return error_set(err, r, "out of memory");
	if (list->n)
		qsort(list->names, list->n, sizeof(*list->names), by_name);
	return 0;
}

/* What the monitor says; NULL with *ERR set when it says nothing. */
static Segue__Reply *ask(const char *dir, const char *name, struct error *err)
{
	Segue__Reply *reply = NULL;
	struct client *client;

	if (client_connect(dir, name, &client, err) < 0)
		return NULL;
	client_set_patience(client, LIST_PATIENCE);
	client_show(client, &reply, err);
	client_close(client);
	return reply;
}

enum column { NAME, STATE, ENGINE, CPUS, MEMORY, HERE, UPTIME, PID, COLUMNS };

static struct libscols_table *new_table(void)
{
	static const struct {
		const char *name;
		int flags;
	} columns[COLUMNS] = {
	    [NAME] = {"NAME", 0},
	    [STATE] = {"STATE", 0},
	    [ENGINE] = {"ENGINE", 0},
	    [CPUS] = {"CPUS", SCOLS_FL_RIGHT},
	    [MEMORY] = {"MEMORY", SCOLS_FL_RIGHT},
	    [HERE] = {"RESIDENT", SCOLS_FL_RIGHT},
	    [UPTIME] = {"UP", SCOLS_FL_RIGHT},
	    [PID] = {"PID", SCOLS_FL_RIGHT},
	};
	struct libscols_table *table = scols_new_table();

	for (size_t i = 0; table && i < COLUMNS; i++)
		if (!scols_table_new_column(table, columns[i].name, 0, columns[i].flags)) {
			scols_unref_table(table);
			table = NULL;
		}
	return table;
}

static void set(struct libscols_line *line, enum column column, const char *text)
{
	char clean[128];

	scols_line_set_data(line, (size_t)column, output_clean(clean, sizeof(clean), text));
}

static const char *state_word(const Segue__ShowReply *show, const struct error *err, char *buf,
			      size_t size)
{
	if (show)
		return output_state(buf, size, show->state);
	return err->code == -ETIMEDOUT || err->code == -EAGAIN ? "silent" : "gone";
}

static void add_line(struct libscols_table *table, const char *name,
		     const Segue__ShowReply *show, const struct error *err)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	char buf[UNITS_MAX + 32];

	if (!line)
		return;
	set(line, NAME, name);
	set(line, STATE, state_word(show, err, buf, sizeof(buf)));
	if (!show)
		return;
	set(line, ENGINE, show->engine);
	if (show->guest) {
		snprintf(buf, sizeof(buf), "%u", show->guest->cpus);
		set(line, CPUS, buf);
		set(line, MEMORY, units_size(buf, show->guest->memory));
	}
	set(line, HERE, units_size(buf, show->memory_resident));
	set(line, UPTIME, units_time(buf, show->uptime_us));
	snprintf(buf, sizeof(buf), "%u", show->pid);
	set(line, PID, buf);
}

static enum exit_code list_table(const char *dir, const struct guest_list *list)
{
	struct libscols_table *table = new_table();

	if (!table)
		return EXIT_FAILED;
	for (size_t i = 0; i < list->n; i++) {
		struct error err = {0};
		Segue__Reply *reply = ask(dir, list->names[i], &err);

		add_line(table, list->names[i], reply ? reply->show : NULL, &err);
		if (reply)
			segue__reply__free_unpacked(reply, NULL);
	}
	scols_print_table(table);
	scols_unref_table(table);
	return EXIT_OK;
}

static enum exit_code list_json(const char *dir, const struct guest_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < list->n; i++) {
		struct error err = {0};
		Segue__Reply *reply = ask(dir, list->names[i], &err);
		json_t *item = reply ? json_message(&reply->show->base)
				     : json_pack("{s:i, s:o}", "error", err.code, "text",
						 json_text(err.text));

		if (item)
			json_object_set_new(item, "name", json_string(list->names[i]));
		json_array_append_new(array, item);
		if (reply)
			segue__reply__free_unpacked(reply, NULL);
	}
	return output_json(array);
}

static enum exit_code run_ls(struct invocation *invocation)
{
	struct guest_list list = {0};
	struct error err = {0};
	enum exit_code code;
	int r = invocation_state_dir(invocation, false, &err);

	/* No state directory yet: nothing was ever run here. */
	if (r == -ENOENT && !invocation->state_dir_option) {
		r = 0;
	} else if (!r) {
		r = list_read(invocation->state_dir, &list, &err);
	}
	if (r < 0)
		code = output_error(invocation, &err, EXIT_FAILED);
	else if (invocation->json)
		code = list_json(invocation->state_dir, &list);
	else
		code = list_table(invocation->state_dir, &list);
	list_done(&list);
	return code;
}

const struct command command_ls = {
    .name = "ls",
    .summary = "list the guests of this host",
    .description =
	"Asks every monitor in the state directory. \"gone\" is a guest whose monitor ended\n"
	"without cleaning up, \"silent\" one whose monitor does not answer. RESIDENT is how "
	"much\n"
	"of its memory takes room here.\n",
    .examples = "  segue ls\n"
		"  segue ls --json | jq -r '.[] | select(.state == \"running\") | .name'\n",
    .run = run_ls,
};

static void line(const char *key, const char *value)
{
	char clean[512];

	if (value && *value)
		printf("%-12s%s\n", key, output_clean(clean, sizeof(clean), value));
}

static void print_guest(const Segue__Guest *guest, const char *engine)
{
	/* A paravirtual guest runs on the processor as it is, whatever its file says. */
	const char *model = strcmp(engine, "pv") ? guest->cpu_model : "host";
	char buf[128], size[UNITS_MAX];

	snprintf(buf, sizeof(buf), "%u, %.64s", guest->cpus, model);
	line("cpus", buf);
	line("memory", units_size(size, guest->memory));
	if (guest->kernel) {
		line("kernel", guest->kernel->image);
		line("initrd", guest->kernel->initrd);
		line("cmdline", guest->kernel->cmdline);
	}
	for (size_t i = 0; i < guest->n_disks; i++) {
		const Segue__Disk *disk = guest->disks[i];

		printf("%-12s%s%s%s\n", "disk", disk->path, disk->readonly ? ", readonly" : "",
		       disk->direct ? ", direct" : "");
	}
	for (size_t i = 0; i < guest->n_nets; i++) {
		const Segue__Net *net = guest->nets[i];

		printf("%-12s%s", "net", net->tap);
		for (size_t j = 0; j < net->mac.len; j++)
			printf("%s%02x", j ? ":" : ", ", net->mac.data[j]);
		printf("\n");
	}
}

static void print_engine(const Segue__ShowReply *show)
{
	char buf[256];

	snprintf(buf, sizeof(buf), "%.32s%s%.120s%s", show->engine, *show->engine_why ? " (" : "",
		 show->engine_why, *show->engine_why ? ")" : "");
	line("engine", buf);
	line("tracking", show->tracking);
}

static void print_show(const char *name, const Segue__ShowReply *show)
{
	char buf[256], a[UNITS_MAX], b[UNITS_MAX];

	line("name", name);
	line("state", output_state(buf, sizeof(buf), show->state));
	line("doubt", show->doubt);
	line("listens", show->listen);
	print_engine(show);
	if (show->guest)
		print_guest(show->guest, show->engine);
	snprintf(buf, sizeof(buf), "%s of the guest, %s of the monitor",
		 units_size(a, show->memory_resident), units_size(b, show->overhead_resident));
	line("resident", buf);
	line("up", units_time(a, show->uptime_us));
	snprintf(buf, sizeof(buf), "%.200s, epoch %llu", show->owner,
		 (unsigned long long)show->epoch);
	line("owner", buf);
	snprintf(buf, sizeof(buf), "pid %u, version %.64s", show->pid, show->version);
	line("monitor", buf);
	if (show->progress && show->progress->state && *show->progress->state) {
		snprintf(buf, sizeof(buf), "%.64s, round %u", show->progress->state,
			 show->progress->round);
		line("move", buf);
	}
}

static enum exit_code run_show(struct invocation *invocation)
{
	struct error err = {0};
	Segue__Reply *reply;
	struct client *client;
	enum exit_code code = EXIT_OK;

	if (invocation_connect(invocation, &client, &err) < 0)
		return output_failure(invocation, &err);
	if (client_show(client, &reply, &err) < 0) {
		code = output_answer(invocation, &err);
	} else {
		if (invocation->json)
			code = output_json(json_message(&reply->show->base));
		else
			print_show(invocation->operands[0], reply->show);
		segue__reply__free_unpacked(reply, NULL);
	}
	client_close(client);
	return code;
}

const struct command command_show = {
    .name = "show",
    .summary = "say all there is to know of a guest",
    .description =
	"State, make-up, memory in use, owner and epoch, and the last move. For a guest in\n"
	"doubt it says what to look at before \"segue recover\".\n",
    .examples = "  segue show web1\n  segue show web1 --json | jq .progress.blackout\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .run = run_show,
};
