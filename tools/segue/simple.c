/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/simple.h"

#include <stdio.h>

#include "tools/segue/output.h"

enum exit_code simple_say(const struct invocation *invocation, const char *done)
{
	if (invocation->json)
		return output_json(
		    json_pack("{s:s, s:s}", "name", invocation->operands[0], "done", done));
	printf("%s %s\n", invocation->operands[0], done);
	return EXIT_OK;
}

enum exit_code simple_call(struct invocation *invocation, Segue__Request *request,
			   const char *done)
{
	struct error err = {0};
	struct client *client;
	int r = invocation_connect(invocation, &client, &err);

	if (r < 0)
		return output_failure(invocation, &err);
	r = client_call(client, request, NULL, &err);
	client_close(client);
	return r < 0 ? output_answer(invocation, &err) : simple_say(invocation, done);
}
