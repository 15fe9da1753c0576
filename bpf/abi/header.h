/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every record begins with. */
#ifndef RATATOSK_ABI_HEADER_H
#define RATATOSK_ABI_HEADER_H

#include "types.h"

/* Append only: a processor skips and counts the kinds it does not know. */
enum record_kind {
	/* data ring */
	RECORD_CHUNK = 1,	/* struct chunk_record: bytes crossed a socket */
	RECORD_EOF = 2,		/* struct chunk_record: the peer ended its direction */
	/* control ring */
	RECORD_PROCESS = 16,	/* struct process_record: existed when the probes were attached */
	RECORD_FORK = 17,	/* struct process_record: a process (never a thread) was forked */
	RECORD_EXEC = 18,	/* struct process_record: a process runs another executable */
	RECORD_EXIT = 19,	/* struct process_record: the last thread ended */
	RECORD_LISTEN = 20,	/* struct conn_record: a task listens */
	RECORD_CONNECT = 21,	/* struct conn_record: an outgoing connection is established */
	RECORD_CLOSE = 22,	/* struct conn_record: both directions ended; has the final offsets */
	/* made by the loader, never by the kernel */
	RECORD_PROCESS_INFO = 32,	/* struct process_info_record */
	RECORD_SNAPSHOT_BEGIN = 33,	/* struct record_header: what follows replaces all that was known */
	RECORD_SNAPSHOT_END = 34,	/* struct record_header */
};

struct record_header {
	__u32 len;		/* whole record in bytes, this header included */
	__u16 kind;		/* enum record_kind */
	__u16 fixed_len;	/* bytes before the payload: a newer side may append fields */
	__u64 ktime_ns;		/* CLOCK_BOOTTIME at the hook */
	__u32 tgid;		/* process, in the initial pid namespace */
	__u32 tid;		/* thread, 0 where it means nothing */
	__u64 task_start_ns;	/* CLOCK_BOOTTIME start of the process: (tgid, start) is never reused */
};

#endif
