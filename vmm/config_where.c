/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_where.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "proto/suggest.h"

#define KEY_MAX    128u
#define DEPTH_MAX  8
#define PLACES_MAX 4096u

struct place {
	char key[KEY_MAX]; /* "disks[0].path" */
	size_t line;       /* from 1 */
};

struct config_where {
	const char *name;
	struct place *places;
	size_t n;
};

struct walk {
	struct config_where *where;
	yaml_document_t *doc;
	struct error *err;
};

void config_where_free(struct config_where *where)
{
	if (!where)
		return;
	free(where->places);
	free(where);
}

static int fail(const struct walk *walk, size_t line, const char *key, const char *text)
{
	return error_set(walk->err, -EINVAL, "%s:%zu: %s%s%s", walk->where->name, line, key,
			 *key ? ": " : "", text);
}

static int remember(const struct walk *walk, const char *key, size_t line)
{
	struct config_where *w = walk->where;
	struct place *more;

	if (w->n == PLACES_MAX)
		return fail(walk, line, "", "too many keys");
	more = realloc(w->places, (w->n + 1) * sizeof(*more));
	if (!more)
		return error_set(walk->err, -ENOMEM, "%s: out of memory", w->name);
	w->places = more;
	snprintf(more[w->n].key, KEY_MAX, "%s", key);
	more[w->n++].line = line;
	return 0;
}

static const struct place *find(const struct config_where *w, const char *key)
{
	for (size_t i = 0; i < w->n; i++)
		if (!strcmp(w->places[i].key, key))
			return &w->places[i];
	return NULL;
}

static int unknown_key(const struct walk *walk, const char *key, const char *word, size_t line,
		       const cyaml_schema_field_t *fields)
{
	const char *names[32];
	const char *near;
	size_t n = 0;
	char text[160];

	for (; fields[n].key && n < 32; n++)
		names[n] = fields[n].key;
	near = suggest(word, names, n);
	if (near)
		snprintf(text, sizeof(text), "unknown key; did you mean \"%s\"?", near);
	else
		snprintf(text, sizeof(text), "unknown key");
	return fail(walk, line, key, text);
}

static const cyaml_schema_field_t *find_field(const cyaml_schema_value_t *schema,
					      const char *word)
{
	for (const cyaml_schema_field_t *f = schema->mapping.fields; f->key; f++)
		if (!strcmp(f->key, word))
			return f;
	return NULL;
}

/*
 * Nodes whose kind does not fit the schema are passed over: libcyaml finds fault with
 * them. An aliased node is met twice and would make a cycle endless: DEPTH ends it, and
 * the second visit fails as a key given twice or in libcyaml, which takes no aliases.
 */
static int walk_node(const struct walk *walk, int id, const cyaml_schema_value_t *schema,
		     const char *path, int depth);

static int walk_pair(const struct walk *walk, const yaml_node_pair_t *pair,
		     const cyaml_schema_value_t *schema, const char *path, int depth)
{
	yaml_node_t *node = yaml_document_get_node(walk->doc, pair->key);
	const cyaml_schema_field_t *field;
	size_t line = node->start_mark.line + 1;
	const char *word;
	char key[KEY_MAX];
	int r;

	if (node->type != YAML_SCALAR_NODE)
		return fail(walk, line, path, "a key must be a plain word");
	word = (const char *)node->data.scalar.value;
	if (snprintf(key, sizeof(key), "%s%s%s", path, *path ? "." : "", word) >=
	    (int)sizeof(key))
		return fail(walk, line, path, "unknown key, and a very long one");
	field = find_field(schema, word);
	if (!field)
		return unknown_key(walk, key, word, line, schema->mapping.fields);
	if (find(walk->where, key))
		return fail(walk, line, key, "given twice");
	r = remember(walk, key, line);
	return r < 0 ? r : walk_node(walk, pair->value, &field->value, key, depth + 1);
}

static int walk_item(const struct walk *walk, int id, const cyaml_schema_value_t *schema,
		     const char *path, size_t index, int depth)
{
	yaml_node_t *node = yaml_document_get_node(walk->doc, id);
	char key[KEY_MAX];
	int r;

	if (snprintf(key, sizeof(key), "%s[%zu]", path, index) >= (int)sizeof(key))
		return 0;
	r = remember(walk, key, node->start_mark.line + 1);
	return r < 0 ? r : walk_node(walk, id, schema->sequence.entry, key, depth + 1);
}

static int walk_node(const struct walk *walk, int id, const cyaml_schema_value_t *schema,
		     const char *path, int depth)
{
	yaml_node_t *node = yaml_document_get_node(walk->doc, id);
	int r = 0;

	if (depth > DEPTH_MAX)
		return fail(walk, node->start_mark.line + 1, path, "nested too deeply");
	if (node->type == YAML_MAPPING_NODE && schema->type == CYAML_MAPPING) {
		for (yaml_node_pair_t *p = node->data.mapping.pairs.start;
		     !r && p < node->data.mapping.pairs.top; p++)
			r = walk_pair(walk, p, schema, path, depth);
	} else if (node->type == YAML_SEQUENCE_NODE && schema->type == CYAML_SEQUENCE) {
		size_t i = 0;

		for (yaml_node_item_t *p = node->data.sequence.items.start;
		     !r && p < node->data.sequence.items.top; p++)
			r = walk_item(walk, *p, schema, path, i++, depth);
	}
	return r;
}

static int parser_error(const struct walk *walk, const yaml_parser_t *parser)
{
	char text[256];

	if (parser->error == YAML_MEMORY_ERROR)
		return error_set(walk->err, -ENOMEM, "%s: out of memory", walk->where->name);
	snprintf(text, sizeof(text), "not YAML: %s%s%s",
		 parser->problem ? parser->problem : "unreadable", parser->context ? " " : "",
		 parser->context ? parser->context : "");
	return fail(walk, parser->problem_mark.line + 1, "", text);
}

static int check_single(const struct walk *walk, yaml_parser_t *parser)
{
	yaml_document_t doc;
	yaml_node_t *root;
	int r = 0;

	if (!yaml_parser_load(parser, &doc))
		return parser_error(walk, parser);
	root = yaml_document_get_root_node(&doc);
	if (root)
		r = fail(walk, root->start_mark.line + 1, "",
			 "a second document; one guest a file");
	yaml_document_delete(&doc);
	return r;
}

static int read_document(struct walk *walk, yaml_parser_t *parser,
			 const cyaml_schema_value_t *schema)
{
	yaml_document_t doc;
	int r = 0;

	if (!yaml_parser_load(parser, &doc))
		return parser_error(walk, parser);
	walk->doc = &doc;
	if (yaml_document_get_root_node(&doc)) {
		r = walk_node(walk, 1, schema, "", 0);
		if (!r)
			r = check_single(walk, parser);
	}
	yaml_document_delete(&doc);
	walk->doc = NULL;
	return r;
}

int config_where_new(const char *data, size_t len, const char *name,
		     const cyaml_schema_value_t *schema, struct config_where **ret_where,
		     struct error *err)
{
	struct config_where *w = calloc(1, sizeof(*w));
	struct walk walk = {.where = w, .err = err};
	yaml_parser_t parser;
	int r;

	if (!w || !yaml_parser_initialize(&parser)) {
		free(w);
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	}
	w->name = name;
	yaml_parser_set_input_string(&parser, (const unsigned char *)data, len);
	r = read_document(&walk, &parser, schema);
	yaml_parser_delete(&parser);
	if (r < 0)
		config_where_free(w);
	else
		*ret_where = w;
	return r;
}

/* The line of KEY, else of what it would be in, else the first. */
static size_t line_of(const struct config_where *w, const char *key)
{
	char around[KEY_MAX];
	const struct place *place;
	char *cut;

	snprintf(around, sizeof(around), "%s", key);
	while (around[0]) {
		place = find(w, around);
		if (place)
			return place->line;
		cut = strrchr(around, '.');
		if (!cut)
			break;
		*cut = '\0';
	}
	return 1;
}

int config_where_error(const struct config_where *where, struct error *err, const char *key,
		       const char *format, ...)
{
	char text[360];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return error_set(err, -EINVAL, "%s:%zu: %s: %s", where->name, line_of(where, key), key,
			 text);
}
