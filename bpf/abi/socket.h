/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which socket a record speaks of, and what happened to a connection. */
#ifndef RATATOSK_ABI_SOCKET_H
#define RATATOSK_ABI_SOCKET_H

#include "header.h"

/* Where the bytes were seen. Reserved now, so that a later family needs no new layout. */
enum record_source {
	SOURCE_TCP = 1,
	SOURCE_MPTCP = 2,
	SOURCE_KTLS = 3,
	SOURCE_TLS = 4,
	SOURCE_UDP = 5,
	SOURCE_UNIX = 6,
};

/* What an offset counts. */
enum offset_kind {
	OFFSET_NONE = 0,	/* no order is known */
	OFFSET_TCP_SEQ = 1,	/* TCP sequence number of the first byte, wraps at 2^32 */
	OFFSET_COUNTER = 2,	/* bytes since the probe first saw this direction, wraps at 2^32 */
};

struct socket_id {
	__u64 cookie;		/* unique per boot */
	__u32 netns;		/* inode number of the network namespace */
	__u16 family;		/* AF_INET or AF_INET6 */
	__u16 local_port;	/* host byte order, as is the remote one */
	__u16 remote_port;
	__u8 source;		/* enum record_source */
	__u8 offset_kind;	/* enum offset_kind */
	__u32 reserved;
	__u8 local_addr[16];	/* network byte order; IPv4 in the first 4 bytes, rest zero */
	__u8 remote_addr[16];
};

struct conn_record {
	struct record_header hdr;
	struct socket_id sock;
	__u32 tx_offset;	/* CLOSE: offset after the last byte sent, our FIN not counted; CONNECT: first */
	__u32 rx_offset;	/* CLOSE: offset after the last byte received, the peer's FIN not counted; CONNECT: first */
	__u8 target_state;	/* enum target_state of hdr.tgid after this event */
	__u8 reserved[7];
};

#endif
