// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* One global per struct of the ABI: compiled for its BTF (with -Wpadded -Werror), never loaded. */
#include "chunk.h"
#include "header.h"
#include "process.h"
#include "shared.h"
#include "socket.h"

struct record_header record_header;
struct socket_id socket_id;
struct conn_record conn_record;
struct chunk_record chunk_record;
struct process_record process_record;
struct process_info_record process_info_record;
struct exe_decision exe_decision;
struct cpu_counters cpu_counters;
struct control_words control_words;
