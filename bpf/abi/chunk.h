/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Bytes of one call in one direction. `captured_len` payload bytes follow the fixed part. */
#ifndef RATATOSK_ABI_CHUNK_H
#define RATATOSK_ABI_CHUNK_H

#include "socket.h"

enum direction {
	DIRECTION_RX = 1,	/* read by hdr.tgid */
	DIRECTION_TX = 2,	/* written by hdr.tgid */
};

/* Why fewer bytes than the width allows were captured. */
enum missing_reason {
	MISSING_NOTHING = 0,		/* the captured prefix is as long as the width asks for */
	MISSING_IO_URING = 1,		/* the call was made by io_uring: no buffer in registers */
	MISSING_NOT_IN_CALL = 2,	/* the task is not inside a call whose buffer is known */
	MISSING_KERNEL_SOCKET = 3,	/* the socket belongs to no file */
	MISSING_SENDMMSG = 4,		/* sendmmsg or recvmmsg: which of the messages is not known */
	MISSING_COMPAT_TASK = 5,	/* a 32-bit task: its structures are laid out differently */
	MISSING_SENDFILE = 6,		/* sendfile or splice: the bytes never were in user memory */
	MISSING_UNREADABLE = 7,		/* the user page was not present or no longer mapped */
	MISSING_TRUNC = 8,		/* MSG_TRUNC: the bytes were discarded, not copied */
	MISSING_ULP = 9,		/* kTLS or MPTCP: not read by this family */
	MISSING_SEGMENTS = 10,		/* the bytes lie in more segments than are followed, or one could not be read */
	MISSING_MAX,
};

enum chunk_flags {
	CHUNK_TURN_START = 1,		/* first call after the direction turned (a hint) */
	CHUNK_TRACE_CONTEXT = 2,	/* 16 byte trace id and 8 byte span id precede the payload (reserved) */
};

struct chunk_record {
	struct record_header hdr;
	struct socket_id sock;
	__u32 offset;		/* of the first byte, see sock.offset_kind */
	__u32 orig_len;		/* bytes that the call moved */
	__u32 captured_len;	/* bytes that follow, <= orig_len */
	__u8 direction;		/* enum direction */
	__u8 missing;		/* enum missing_reason */
	__u16 flags;		/* enum chunk_flags */
};

#endif
