/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counters by CPU and slot. */
#ifndef RATATOSK_COUNT_BPF_H
#define RATATOSK_COUNT_BPF_H

#include "maps.bpf.h"

/* NULL on a CPU beyond the possible ones: there is none. */
static __always_inline struct cpu_counters *own_counters(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&counters, &cpu);
}

/* For a slot that is a constant. Atomic: a preempted program of the same CPU may be half-way through the same add. */
static __always_inline void add_to(struct cpu_counters *c, enum counter_slot slot, __u64 by)
{
	__sync_fetch_and_add(&c->slot[slot], by);
}

static __always_inline void count(__u64 slot)
{
	struct cpu_counters *c = own_counters();

	if (!c)
		return;
	barrier_var(slot); /* the verifier must see the check on the register that indexes */
	if (slot >= COUNTER_SLOTS)
		return;
	__sync_fetch_and_add(&c->slot[slot], 1);
}

#endif
