/* What tests do with a segment and nobody else: look at bytes by their reference, wait for a lock whatever comes. */
#ifndef CMP_TESTS_PEEK_H
#define CMP_TESTS_PEEK_H

#include "shm/extent.h"
#include "shm/mutex.h"

#include <errno.h>

/* 0 or -EOWNERDEAD. */
static inline int wait_for_mutex(struct cmp_mutex *mutex)
{
    int code;
    do code = cmp_mutex_lock_slice(mutex);
    while (code == -ETIMEDOUT);
    return code;
}

/* `size` bytes at ref, mapped; NULL where they do not lie in an extent, or that cannot be mapped. */
static inline void *bytes_at(struct cmp_segment *segment, cmp_ref ref, size_t size)
{
    uint64_t offset = CMP_REF_OFFSET(ref), bytes;
    char *at;
    if (ref == 0 || cmp_extent_map(segment, (uint32_t)(ref >> CMP_REF_BITS), &at, &bytes) < 0) return NULL;
    return offset <= bytes && size <= bytes - offset ? at + offset : NULL;
}

#endif
