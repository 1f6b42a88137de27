/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CHANNEL_H
#define MIGRATE_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "migrate/stream.h"
#include "proto/error.h"

/*
 * A connection between two monitors. One thread sends and one receives on it; they may be
 * different. TCP is the first kind; TLS, RDMA's control path and files have the same shape.
 */
struct channel;

struct channel_ops {
	/*
	 * Sends all of IOV or fails; IOV is used up. -ETIMEDOUT when the peer takes nothing
	 * for channel->stall_ms, -ECONNRESET and the like when it is gone.
	 */
	int (*send)(struct channel *channel, struct iovec *iov, unsigned count);
	/*
	 * Fills all of IOV or fails; IOV is used up. -ENODATA when the peer closed in order
	 * before the first byte, -ECONNRESET when it did in the middle.
	 */
	int (*receive)(struct channel *channel, struct iovec *iov, unsigned count);
	/* Makes send and receive of other threads fail soon. Any thread. */
	void (*shut)(struct channel *channel);
	void (*close)(struct channel *channel);
};

struct channel {
	const struct channel_ops *ops;
	int fd;            /* for poll(): readable when receive() has something to do; -1 closed */
	char name[24];     /* "control", "data 3": for errors */
	unsigned stall_ms; /* how long the peer may let nothing through; UINT_MAX: for ever */
	int record_fd;     /* a copy of every byte sent goes here; -1: none */
	struct stream_writer writer; /* the sending thread's */
	_Atomic uint64_t sent;       /* bytes; any thread may look */
	struct stream_reader reader; /* the receiving thread's */
};

/*
 * "ADDRESS:PORT" or "[ADDRESS]:PORT", in figures: a sandboxed monitor reads no resolver's
 * files, names are for the command line to look up.
 */
int channel_tcp_connect(struct channel *channel, const char *address, unsigned timeout_ms,
			struct error *err);

/* Listens; *ret_fd is for poll(), ret_address what peers can connect to, with its real port. */
int channel_tcp_listen(const char *address, int *ret_fd, char *ret_address, size_t size,
		       struct error *err);
int channel_tcp_accept(struct channel *channel, int listen_fd, struct error *err);

/* Names the channel in errors and says what may come in on it. */
void channel_label(struct channel *channel, enum stream_connection connection,
		   enum stream_way incoming, unsigned index);

int channel_send(struct channel *channel, struct iovec *iov, unsigned count);
int channel_receive(struct channel *channel, struct iovec *iov, unsigned count);
void channel_shut(struct channel *channel);
void channel_close(struct channel *channel); /* idempotent; zeroed with fd -1 is fine */

#endif
