/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Splits at the last colon; brackets around an IPv6 address are taken off. */
static int split(const char *text, char *host, size_t size, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t len;

	if (!colon)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	} else if (memchr(text, ':', len)) {
		return -EINVAL; /* a bare IPv6 address: which colon is the port's? */
	}
	if (len >= size)
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static int check_port(const char *port, bool listen)
{
	size_t len = strlen(port);

	if (!len || len > 5 || strspn(port, "0123456789") != len || atoi(port) > 65535)
		return -EINVAL;
	return !atoi(port) && !listen ? -EINVAL : 0;
}

int address_resolve(const char *text, bool listen, char *buf, struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = listen ? AI_PASSIVE : 0};
	struct addrinfo *found;
	char host[256], numeric[INET6_ADDRSTRLEN + 16], service[8];
	const char *port;
	int r;

	if (split(text, host, sizeof(host), &port) < 0 || check_port(port, listen) < 0 ||
	    (!*host && !listen))
		return error_set(err, -EINVAL,
				 "\"%.200s\" is not an address; for example "
				 "10.0.0.2:7000 or [fd00::2]:7000",
				 text);
	/* Without a host: all of IPv4 first, as a bare "::" may not take IPv4 in. */
	if (!*host)
		hints.ai_family = AF_INET;
	r = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (r)
		return error_set(err, -EINVAL, "%s: %s", host, gai_strerror(r));
	r = getnameinfo(found->ai_addr, found->ai_addrlen, numeric, sizeof(numeric), service,
			sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV);
	if (!r)
		snprintf(buf, ADDRESS_MAX, found->ai_family == AF_INET6 ? "[%s]:%s" : "%s:%s",
			 numeric, service);
	freeaddrinfo(found);
	return r ? error_set(err, -EINVAL, "%s: %s", host, gai_strerror(r)) : 0;
}
