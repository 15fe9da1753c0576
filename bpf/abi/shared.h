/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Memory that the probes and the loader's `server` both map: no record, but the same contract. */
#ifndef RATATOSK_ABI_SHARED_H
#define RATATOSK_ABI_SHARED_H

#include "types.h"

/* One byte per tgid in `target_by_tgid`. */
enum target_state {
	TARGET_UNKNOWN = 0,	/* nobody decided yet: bytes are counted, not read */
	TARGET_WANTED = 1,	/* a port matched, the decision is still to come: counted, not read */
	TARGET_OBSERVED = 2,
	TARGET_DENIED = 3,	/* by the policy: final until exec */
	TARGET_OWN = 4,		/* part of the agent: never observed, whatever matches */
	TARGET_IGNORED = 5,	/* looked at, not selected */
};

/* One byte per port in `port_mode`. */
enum port_mode {
	PORT_NONE = 0,
	PORT_OBSERVE = 1,	/* who listens here is observed at once */
	PORT_MARK = 2,		/* who listens here becomes WANTED: more than the port has to hold */
};

/* Pages of TARGETS_PER_PAGE states: an array element of one byte would take eight. */
#define TARGETS_PER_PAGE 4096

/* Open addressing, at most EXE_PROBES steps; `state` is written last and is 0 in a free slot. */
#define EXE_SLOTS 4096	/* executables x cgroups of a large node; beyond, decisions are made again */
#define EXE_PROBES 8	/* bounds the loop in the probe */

struct exe_decision {
	__u64 exe_ino;
	__u64 cgroup_id;
	__u32 exe_dev;
	__u32 state;		/* enum target_state, 0: free */
};

/* Per-CPU counters, one `struct cpu_counters` per CPU. */
enum counter_slot {
	COUNTER_DATA_SUBMITTED = 0,
	COUNTER_CONTROL_SUBMITTED = 1,
	COUNTER_DATA_RING_FULL = 2,
	COUNTER_CONTROL_RING_FULL = 3,
	COUNTER_UNDECIDED = 4,		/* calls of tasks nobody decided about yet */
	COUNTER_SILENCED = 5,		/* calls while the heartbeat was late */
	COUNTER_CAPTURED_BYTES = 6,
	COUNTER_ORIGINAL_BYTES = 7,
	COUNTER_SOCKET_CALLS = 8,	/* calls of observed tasks that moved bytes */
	COUNTER_POLICY_DENIED = 9,	/* calls of observed tasks that the policy forbids to look at */
	COUNTER_NESTED_CALL = 10,	/* calls that began inside another one of the same task */
	COUNTER_UNNAMED_SOCKET = 11,	/* calls on sockets that no program gave a cookie: the one that does was missed */
	COUNTER_MISSING = 16,		/* + enum missing_reason: calls whose payload was not read */
	COUNTER_SLOTS = 32,
};

struct cpu_counters {
	__u64 slot[COUNTER_SLOTS];	/* 256 bytes: no cache line is shared between CPUs */
};

/* Words that user space changes while the probes run. */
struct control_words {
	__u64 heartbeat_ktime_ns;	/* written by `server` every 100 ms; 0: probes are silent */
	__u64 reserved[7];
};

#endif
