/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Maps that every probe family shares. The first object that is loaded creates them, later ones reuse them.
 * What user space changes at run time is a plain mmapable array: `server` needs no bpf(2) for it.
 */
#ifndef RATATOSK_MAPS_BPF_H
#define RATATOSK_MAPS_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <abi/chunk.h>
#include <abi/process.h>
#include <abi/shared.h>

/* Lets a program read the fields of what it knows to be at an address. */
extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define TYPED(type, address) ((type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))

/* Records with payload. Sized by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} data_ring SEC(".maps");

/* fork, exec, exit, listen, connect, close: a ring of their own, so that a flood of data can't starve them. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} control_ring SEC(".maps");

struct target_page {
	__u8 state[TARGETS_PER_PAGE];	/* enum target_state */
};

/* By tgid / TARGETS_PER_PAGE; max_entries follows kernel.pid_max. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct target_page);
} target_by_tgid SEC(".maps");

struct port_table {
	__u8 mode[65536];	/* enum port_mode */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_table);
} port_modes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, EXE_SLOTS);
	__type(key, __u32);
	__type(value, struct exe_decision);
} exe_decisions SEC(".maps");

/* By CPU; max_entries follows the number of possible CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control_words);
} control_words SEC(".maps");

/* What a probe keeps about a connection. All but the final offset are hints: losing them widens one copy. */
struct conn_state {
	__u64 task_start_ns;	/* of the process that connected */
	__u32 tgid;
	__u32 turn_captured;	/* bytes captured since the direction turned */
	__u32 tx_final;		/* write_seq before our FIN */
	__u32 rx_count;		/* own offsets, where sequence numbers mean nothing */
	__u32 tx_count;
	__u8 direction;		/* of the last call */
	__u8 has_tx_final;
	__u8 is_accepted;	/* from a listening port that matched */
	__u8 is_told;		/* its connect or its bytes were: so is its end */
};

/*
 * The same, for kprobe programs, which can't have it in the socket: by cookie, the least used forgotten. One entry unless
 * such programs carry the payload.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct conn_state);
} conn_by_cookie SEC(".maps");

/* NULL if nothing was kept. */
static __always_inline struct conn_state *known_conn_by_cookie(__u64 cookie)
{
	return bpf_map_lookup_elem(&conn_by_cookie, &cookie);
}

/* NULL if there is no memory for it. */
static __always_inline struct conn_state *conn_of_cookie(__u64 cookie)
{
	struct conn_state *conn = known_conn_by_cookie(cookie);
	struct conn_state fresh = {};

	if (conn)
		return conn;
	bpf_map_update_elem(&conn_by_cookie, &cookie, &fresh, BPF_NOEXIST); /* another CPU may have been faster */
	return known_conn_by_cookie(cookie);
}

#endif
