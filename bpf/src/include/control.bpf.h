/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Records of the control ring that more than one family makes. */
#ifndef RATATOSK_CONTROL_BPF_H
#define RATATOSK_CONTROL_BPF_H

#include "maps.bpf.h"
#include "task.bpf.h"
#include "sock.bpf.h"

/* Records that change what is observed wake the loader at once; the others wait for its tick. */
static __always_inline void submit_control(void *rec, bool urgent)
{
	count(COUNTER_CONTROL_SUBMITTED);
	bpf_ringbuf_submit(rec, urgent ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline void *reserve_control(__u64 size)
{
	void *rec = bpf_ringbuf_reserve(&control_ring, size, 0);

	if (!rec)
		count(COUNTER_CONTROL_RING_FULL); /* the loader then takes a fresh snapshot */
	return rec;
}

/* `task` works with a port that was compared: by a socket that listens, or by one that was accepted from it. */
static __always_inline void emit_matched(struct sock *sk, struct task_struct *task, __u8 state)
{
	struct conn_record *rec = reserve_control(sizeof(*rec));

	if (!rec)
		return;
	__builtin_memset(rec, 0, sizeof(*rec));
	fill_header(&rec->hdr, RECORD_LISTEN, sizeof(*rec), task, bpf_ktime_get_boot_ns());
	fill_socket(&rec->sock, sk, SOURCE_TCP, OFFSET_NONE);
	rec->target_state = state;
	submit_control(rec, true);
}

#endif
