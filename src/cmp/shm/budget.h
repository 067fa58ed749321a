/* Budget: how much memory one segment may hold.
 *
 * CMP_MEMORY in the environment of whoever creates the segment says it in bytes (K, M, G, T may follow); otherwise it
 * is half of what there would be without the segment: min(MemAvailable, what the memory cgroup leaves). Grants go in
 * steps, so that /proc is read rarely. */
#ifndef CMP_SHM_BUDGET_H
#define CMP_SHM_BUDGET_H

#include "shm/segment.h"

/* CMP_MEMORY in bytes; 0 if unset or not a number. */
uint64_t cmp_budget_from_environment(void);

/* What a new segment may hold before anybody asks. */
uint64_t cmp_budget_first_grant(uint64_t memory_limit);

/* Raises what the segment has been granted so that it may hold held_bytes + more_bytes. -ENOMEM: that is too much. No
 * lock may be held. */
int cmp_budget_ask(struct cmp_segment *segment, uint64_t held_bytes, uint64_t more_bytes);

/* How much free memory is worth keeping warm at most. */
uint64_t cmp_budget_worth_keeping(const struct cmp_segment *segment);

#endif
