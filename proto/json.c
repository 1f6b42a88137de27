/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of NAME that all of an enum's values share, up to its last underscore. */
static size_t common_prefix(const ProtobufCEnumDescriptor *descriptor)
{
	const char *first = descriptor->values[0].name;
	size_t len = strlen(first);

	if (descriptor->n_values < 2)
		return 0;
	for (unsigned i = 1; i < descriptor->n_values; i++) {
		const char *name = descriptor->values[i].name;
		size_t same = 0;

		while (same < len && first[same] == name[same])
			same++;
		len = same;
	}
	while (len && first[len - 1] != '_')
		len--;
	return len;
}

char *json_enum_word(const ProtobufCEnumDescriptor *descriptor, int value, char *buf,
		     size_t size)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(descriptor, value);

	snprintf(buf, size, "%s", v ? v->name + common_prefix(descriptor) : "unknown");
	for (char *c = buf; *c; c++)
		*c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
	return buf;
}

static json_t *enum_value(const ProtobufCEnumDescriptor *descriptor, int value)
{
	char word[64];

	return json_string(json_enum_word(descriptor, value, word, sizeof(word)));
}

static json_t *unsigned_value(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%" PRIu64, value);
	return json_string(text);
}

static json_t *bytes_value(const ProtobufCBinaryData *bytes)
{
	static const char digits[] = "0123456789abcdef";
	char *hex = malloc(bytes->len * 2 + 1);
	json_t *json;

	if (!hex)
		return NULL;
	for (size_t i = 0; i < bytes->len; i++) {
		hex[2 * i] = digits[bytes->data[i] >> 4];
		hex[2 * i + 1] = digits[bytes->data[i] & 15];
	}
	json = json_stringn(hex, bytes->len * 2);
	free(hex);
	return json;
}

json_t *json_text(const char *text)
{
	json_t *json = json_string(text ? text : "");
	char *ascii;

	if (json || !text)
		return json;
	ascii = strdup(text);
	if (!ascii)
		return NULL;
	for (char *c = ascii; *c; c++)
		if ((unsigned char)*c > 127)
			*c = '?';
	json = json_string(ascii);
	free(ascii);
	return json;
}

/* The value at AT, one of FIELD's type. */
static json_t *value(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_integer(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return unsigned_value(*(const uint64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_value(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_text(*(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_value(at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return json_message(*(const ProtobufCMessage *const *)at);
	}
	return json_null();
}

static size_t size_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	default:
		return 4;
	}
}

static json_t *repeated(const ProtobufCFieldDescriptor *field, const uint8_t *base)
{
	const uint8_t *items = *(const uint8_t *const *)(const void *)(base + field->offset);
	size_t n = *(const size_t *)(const void *)(base + field->quantifier_offset);
	json_t *array = json_array();

	for (size_t i = 0; array && i < n; i++)
		if (json_array_append_new(array,
					  value(field, items + i * size_of(field->type)))) {
			json_decref(array);
			array = NULL;
		}
	return array;
}

/* Whether there is something to write; proto3 fields without presence always are. */
static bool present(const ProtobufCFieldDescriptor *field, const uint8_t *base)
{
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(const void *)(base + field->quantifier_offset) ==
		       field->id;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(const void *)(base + field->offset) != NULL;
	return true;
}

json_t *json_message(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;
	const uint8_t *base = (const uint8_t *)message;
	json_t *object = json_object(), *item;

	for (unsigned i = 0; object && i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			item = repeated(field, base);
		else if (present(field, base))
			item = value(field, base + field->offset);
		else
			continue;
		if (json_object_set_new(object, field->name, item)) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}
