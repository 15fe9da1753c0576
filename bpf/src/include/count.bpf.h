/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counters by CPU and slot. */
#ifndef RATATOSK_COUNT_BPF_H
#define RATATOSK_COUNT_BPF_H

#include "maps.bpf.h"

static __always_inline void count_add(__u64 slot, __u64 by)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct cpu_counters *c = bpf_map_lookup_elem(&counters, &cpu);

	if (!c)
		return; /* a CPU beyond the possible ones does not exist */
	barrier_var(slot); /* the verifier must see the check on the register that indexes */
	if (slot >= COUNTER_SLOTS)
		return;
	/* atomic: a preempted program of the same CPU may be half-way through the same add */
	__sync_fetch_and_add(&c->slot[slot], by);
}

static __always_inline void count(__u64 slot)
{
	count_add(slot, 1);
}

#endif
