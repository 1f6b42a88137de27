/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/*
 * Messages as JSON, from protobuf-c's own descriptors: what is in the .proto file is what
 * scripts see, field names included.
 *
 * Every field without presence is written, also when zero, so that scripts need no
 * defaults; absent messages and the unset arms of a oneof are left out. Enums become
 * lower-case words without the enum's name ("RUN_STATE_RUNNING" is "running"), bytes lower-case
 * hexadecimal, 64-bit integers plain integers (those above INT64_MAX strings, since
 * nothing else keeps them exact).
 */
json_t *json_message(const ProtobufCMessage *message); /* NULL when memory is short */

/*
 * A string of unknown origin: text of a guest's or a file's may be no UTF-8, which JSON
 * must be; its bytes above 127 then become '?'. NULL is the empty string.
 */
json_t *json_text(const char *text);

/* A value of an enum as json_message() writes it; "unknown" for a number it lacks. */
char *json_enum_word(const ProtobufCEnumDescriptor *descriptor, int value, char *buf,
		     size_t size);

#endif
