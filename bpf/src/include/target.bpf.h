/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Is this process a target? */
#ifndef RATATOSK_TARGET_BPF_H
#define RATATOSK_TARGET_BPF_H

#include "count.bpf.h"

/* The heartbeat is written every 100 ms: 5 s late means that nobody drains the rings. */
#define HEARTBEAT_LATE_NS 5000000000ULL

static __always_inline __u8 *target_byte(__u32 tgid)
{
	__u32 page = tgid / TARGETS_PER_PAGE;
	struct target_page *p = bpf_map_lookup_elem(&target_by_tgid, &page);

	return p ? &p->state[tgid % TARGETS_PER_PAGE] : NULL; /* NULL: beyond pid_max as it was at start */
}

static __always_inline __u8 target_state(__u32 tgid)
{
	__u8 *state = target_byte(tgid);

	return state ? *state : TARGET_UNKNOWN;
}

static __always_inline void set_target_state(__u32 tgid, __u8 state)
{
	__u8 *byte = target_byte(tgid);

	if (byte)
		*byte = state;
}

static __always_inline bool is_silenced(__u64 now_ns)
{
	__u32 zero = 0;
	struct control_words *w = bpf_map_lookup_elem(&control_words, &zero);

	return !w || now_ns > w->heartbeat_ktime_ns + HEARTBEAT_LATE_NS;
}

static __always_inline __u8 mode_of_port(__u16 port)
{
	__u32 zero = 0;
	struct port_table *t = bpf_map_lookup_elem(&port_modes, &zero);

	return t ? t->mode[port] : PORT_NONE;
}

/* A listening port matched: own and denied processes stay what they are. */
static __always_inline __u8 match_port(__u32 tgid, __u16 port)
{
	__u8 *state = target_byte(tgid);
	__u8 mode = mode_of_port(port);

	if (!state)
		return TARGET_UNKNOWN;
	if (mode == PORT_NONE || *state == TARGET_OWN || *state == TARGET_DENIED || *state == TARGET_OBSERVED)
		return *state;
	*state = mode == PORT_OBSERVE ? TARGET_OBSERVED : TARGET_WANTED;
	return *state;
}

/* Same function as ratatosk_abi::ExeDecision::slot. */
static __always_inline __u32 exe_slot(__u64 ino, __u32 dev, __u64 cgroup_id, __u32 step)
{
	__u64 h = (ino ^ ((__u64)dev << 32)) * 0x9E3779B97F4A7C15ULL + cgroup_id;

	h ^= h >> 29;
	h *= 0xBF58476D1CE4E5B9ULL;
	return ((__u32)(h >> 40) + step) % EXE_SLOTS;
}

/* What was decided about this executable in this cgroup; UNKNOWN if nothing was. */
static __always_inline __u8 exe_decision(__u64 ino, __u32 dev, __u64 cgroup_id)
{
	for (__u32 step = 0; step < EXE_PROBES; step++) {
		__u32 slot = exe_slot(ino, dev, cgroup_id, step);
		struct exe_decision *d = bpf_map_lookup_elem(&exe_decisions, &slot);

		if (!d || !d->state)
			break; /* a free slot ends the search */
		if (d->exe_ino == ino && d->exe_dev == dev && d->cgroup_id == cgroup_id)
			return d->state;
	}
	return TARGET_UNKNOWN;
}

#endif
