/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/output.h"

#include <stdio.h>
#include <string.h>

#include "proto/json.h"

char *output_clean(char *buf, size_t size, const char *text)
{
	size_t i = 0;

	for (; text && text[i] && i + 1 < size; i++) {
		unsigned char c = (unsigned char)text[i];

		buf[i] = c < ' ' || c == 0x7f ? ' ' : (char)c;
	}
	buf[i] = '\0';
	return buf;
}

enum exit_code output_error(const struct invocation *invocation, const struct error *err,
			    enum exit_code code)
{
	char text[sizeof(err->text)];

	output_clean(text, sizeof(text), err->text);
	fprintf(stderr, "segue: %s\n", text);
	if (invocation->json)
		output_json(json_pack("{s:i, s:o, s:i}", "error", err->code, "text",
				      json_text(text), "exit", (int)code));
	return code;
}

enum exit_code output_failure(const struct invocation *invocation, const struct error *err)
{
	return output_error(invocation, err, exit_code_of(err->code));
}

enum exit_code output_answer(const struct invocation *invocation, const struct error *err)
{
	return output_error(invocation, err, exit_code_of_answer(err->code));
}

static enum exit_code print(json_t *json, size_t flags)
{
	int r = json ? json_dumpf(json, stdout, flags) : -1;

	json_decref(json);
	if (r < 0) {
		fprintf(stderr, "segue: out of memory, or standard output is closed\n");
		return EXIT_FAILED;
	}
	putchar('\n');
	return EXIT_OK;
}

enum exit_code output_json(json_t *json)
{
	return print(json, JSON_INDENT(2));
}

enum exit_code output_json_line(json_t *json)
{
	enum exit_code code = print(json, JSON_COMPACT);

	fflush(stdout);
	return code;
}

char *output_state(char *buf, size_t size, Segue__RunState state)
{
	return json_enum_word(&segue__run_state__descriptor, (int)state, buf, size);
}
