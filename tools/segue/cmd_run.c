/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/paths.h"
#include "tools/segue/address.h"
#include "tools/segue/commands.h"
#include "tools/segue/output.h"
#include "tools/segue/spawn.h"
#include "vmm/config.h"

/* A guest that is there already must not be started twice, nor its log be mixed up. */
static int check_free(const char *state_dir, const char *name, struct error *err)
{
	struct error ignored = {0};
	struct client *client;

	if (client_connect(state_dir, name, &client, &ignored) < 0)
		return 0;
	client_close(client);
	return error_set(err, -EEXIST, "\"%s\" is here already; see \"segue show %s\"", name,
			 name);
}

/* It said it was ready; that its socket answers is what the next command needs. */
static int check_answers(const char *state_dir, const char *name, struct error *err)
{
	Segue__Reply *reply;
	struct client *client;
	int r = client_connect(state_dir, name, &client, err);

	if (r < 0)
		return r;
	r = client_show(client, &reply, err);
	client_close(client);
	if (!r)
		segue__reply__free_unpacked(reply, NULL);
	return r;
}

static enum exit_code say(const struct invocation *invocation, const char *name,
			  const struct spawned *spawned)
{
	if (invocation->json)
		return output_json(json_pack("{s:s, s:i, s:s}", "name", name, "pid",
					     (int)spawned->pid, "listen", spawned->listen));
	if (*spawned->listen)
		printf("%s waits at %s (pid %d)\n", name, spawned->listen, (int)spawned->pid);
	else
		printf("%s runs (pid %d)\n", name, (int)spawned->pid);
	return EXIT_OK;
}

static enum exit_code launch(struct invocation *invocation, struct spawn_options *options)
{
	struct spawned spawned = {0};
	struct error err = {0};
	int r = check_free(invocation->state_dir, options->name, &err);

	if (!r && invocation_option(invocation, "foreground")) {
		spawn_become(options, &err);
		return output_error(invocation, &err, EXIT_FAILED);
	}
	if (!r)
		r = spawn_monitor(options, &spawned, &err);
	if (!r)
		r = check_answers(invocation->state_dir, options->name, &err);
	if (r < 0)
		return output_error(invocation, &err,
				    r == -ECANCELED ? EXIT_CANCELLED : EXIT_FAILED);
	return say(invocation, options->name, &spawned);
}

static enum exit_code start(struct invocation *invocation, const char *listen)
{
	const char *file = invocation->operands[0];
	const char *name = invocation_option(invocation, "name");
	Segue__Guest *guest = NULL;
	struct error err = {0};
	enum exit_code code;

	/* Read here as well: mistakes in the file are the user's, and told at once. */
	if (name && !paths_name_valid(name))
		error_set(&err, -EINVAL,
			  "\"%.80s\" will not do as a name: 1 to 63 of a-z, 0-9 "
			  "and -, not beginning with -",
			  name);
	if (err.code || config_load(file, &guest, &err) < 0)
		return output_error(invocation, &err, EXIT_USAGE);
	if (invocation_state_dir(invocation, true, &err) < 0) {
		code = output_error(invocation, &err, EXIT_FAILED);
	} else {
		struct spawn_options options = {
		    .program = invocation->program,
		    .state_dir = invocation->state_dir,
		    .file = file,
		    .name = name ? name : guest->name,
		    .rename = name != NULL,
		    .receive = listen,
		    .paused = invocation_option(invocation, "paused") != NULL,
		    .force = invocation_option(invocation, "force") != NULL,
		    .no_sandbox = invocation_option(invocation, "no-sandbox") != NULL,
		};
		code = launch(invocation, &options);
	}
	config_free(guest);
	return code;
}

static enum exit_code run_run(struct invocation *invocation)
{
	return start(invocation, NULL);
}

static enum exit_code run_receive(struct invocation *invocation)
{
	const char *listen = invocation_option(invocation, "listen");
	char numeric[ADDRESS_MAX];
	struct error err = {0};

	if (!listen)
		error_set(&err, -EINVAL,
			  "receive: --listen ADDR:PORT is missing; for example "
			  "--listen 0.0.0.0:7000");
	if (err.code || address_resolve(listen, true, numeric, &err) < 0)
		return output_error(invocation, &err, EXIT_USAGE);
	return start(invocation, numeric);
}

static const struct option_spec run_options[] = {
    {"name", "NAME", NULL, "call the guest this, not what its file says"},
    {"paused", NULL, NULL, "do not let it run yet; \"segue resume\" does"},
    {"force", NULL, NULL,
     "although the journal says the guest moved away: be sure it runs nowhere"},
    {"foreground", NULL, NULL, "stay, with the monitor's messages on the terminal"},
    {"no-sandbox", NULL, NULL, "do not bind the monitor; for debugging"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_run = {
    .name = "run",
    .summary = "start a guest",
    .description =
	"GUEST.yaml says what the guest is made of:\n\n"
	"  name: web1              # a-z, 0-9 and -\n"
	"  memory: 512M            # a multiple of 2M\n"
	"  kernel:\n"
	"    image: vmlinuz        # a bzImage; or an ELF file for engine pv\n"
	"    initrd: initrd.img    # optional\n"
	"    cmdline: console=ttyS0 root=/dev/vda\n"
	"  engine: auto            # optional, as all below; or kvm, pv\n"
	"  cpu:\n"
	"    count: 2              # 1 to 8, 1 if not given\n"
	"    model: x86-64-v2      # or -v3, -v4, or \"host\", which moves to equals only\n"
	"  disks:\n"
	"  - path: root.img        # raw; relative to this file\n"
	"    readonly: false\n"
	"    direct: false         # pass the host's cache by\n"
	"    serial: root\n"
	"  nets:\n"
	"  - tap: tap0             # an interface that is there\n"
	"    mac: 02:00:5e:10:00:01  # made from the name if not given\n"
	"  console: true           # a virtio console besides the serial port\n"
	"  entropy: true\n"
	"  balloon: true\n"
	"  allow_emulation: false  # run although KVM here only emulates\n"
	"\nReturns when the monitor answers. What it says goes to NAME.log in the state\n"
	"directory.\n",
    .examples = "  segue run web1.yaml\n"
		"  segue run web1.yaml --name web2 --paused\n",
    .operands = {{OPERAND_FILE, "GUEST.yaml"}},
    .options = run_options,
    .run = run_run,
};

static const struct option_spec receive_options[] = {
    {"listen", "ADDR:PORT", NULL, "where the source will connect to; needed"},
    {"name", "NAME", NULL, "call the guest this, not what its file says"},
    {"foreground", NULL, NULL, "stay, with the monitor's messages on the terminal"},
    {"no-sandbox", NULL, NULL, "do not bind the monitor; for debugging"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_receive = {
    .name = "receive",
    .summary = "wait for a guest that moves here",
    .description =
	"Builds the guest from the same file as on its source, empty, and waits for\n"
	"\"segue move\" there. Port 0 chooses a free one, which is printed. Anybody who "
	"reaches\n"
	"the port can send a guest: listen on a network you trust.\n",
    .examples = "  segue receive web1.yaml --listen 10.0.0.2:7000\n",
    .operands = {{OPERAND_FILE, "GUEST.yaml"}},
    .options = receive_options,
    .run = run_receive,
};
