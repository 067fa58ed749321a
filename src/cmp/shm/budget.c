#include "shm/budget.h"

#include "os/meminfo.h"
#include "shm/segment_layout.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#define MIB (UINT64_C(1) << 20)

/* Touching this much for the first time takes some 20 ms; asking takes 0.1. */
#define STEP_BYTES (64 * MIB)

/* So that a thousand small queues read /proc never. */
#define FIRST_GRANT_BYTES (4 * MIB)

/* Some 60 ms of first touches are saved by keeping it; more is not worth a machine's memory. */
#define KEEP_BYTES (256 * MIB)

uint64_t cmp_budget_from_environment(void)
{
    const char *text = getenv("CMP_MEMORY");
    char *end = NULL;
    if (text == NULL || *text < '0' || *text > '9') return 0;
    int saved = errno;
    uint64_t bytes = strtoull(text, &end, 10);
    errno = saved;
    static const char units[] = "KMGT";
    for (int i = 0; units[i] != '\0'; i++) {
        if (strncasecmp(end, &units[i], 1) != 0) continue;
        int shift = 10 * (i + 1);
        bytes = bytes > UINT64_MAX >> shift ? UINT64_MAX : bytes << shift;
        end++;
        break;
    }
    return *end == '\0' ? bytes : 0;
}

uint64_t cmp_budget_first_grant(uint64_t memory_limit)
{
    return memory_limit != 0 && memory_limit < FIRST_GRANT_BYTES ? memory_limit : FIRST_GRANT_BYTES;
}

int cmp_budget_ask(struct cmp_segment *segment, uint64_t held_bytes, uint64_t more_bytes)
{
    uint64_t limit = segment->shm->memory_limit;
    if (limit == 0) {
        /* Half of it all with the segment's own share counted as free: the limit then stays where it is while the
         * segment fills, and sinks when others take memory. */
        uint64_t available = cmp_meminfo_available();
        if (available > UINT64_MAX - held_bytes) available = UINT64_MAX - held_bytes;
        limit = (available + held_bytes) / 2;
    }
    cmp_store(&segment->shm->limit, limit, relaxed, "budget.limit");
    if (held_bytes > limit || more_bytes > limit - held_bytes) return -ENOMEM;
    uint64_t wanted = held_bytes + more_bytes;
    wanted = limit - wanted > STEP_BYTES ? wanted + STEP_BYTES : limit;
    /* Two who ask at once: either answer was right a moment ago. */
    cmp_store(&segment->shm->granted, wanted, relaxed, "budget.grant");
    return 0;
}

uint64_t cmp_budget_worth_keeping(const struct cmp_segment *segment)
{
    /* A small budget keeps little: what is kept for one size should not starve another, nor the neighbours. */
    uint64_t limit = cmp_load(&segment->shm->limit, relaxed);
    return limit != 0 && limit / 4 < KEEP_BYTES ? limit / 4 : KEEP_BYTES;
}
