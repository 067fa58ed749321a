/* Extents: how a segment grows. Each is a range of the file, in the table for ever; this process maps it on demand. */
#ifndef CMP_SHM_EXTENT_H
#define CMP_SHM_EXTENT_H

#include "shm/segment.h"

#include <stdbool.h>

#define CMP_REF_BITS 48
#define CMP_REF(extent, offset) ((cmp_ref)(extent) << CMP_REF_BITS | (offset))
#define CMP_REF_OFFSET(ref) ((ref) & ((UINT64_C(1) << CMP_REF_BITS) - 1))

/* How many there are, extent 0 included. */
uint32_t cmp_extent_count(const struct cmp_segment *segment);

/* Where this process sees an extent, mapping it if need be. -EBADMSG: there is no such extent, -ENOMEM: no address
 * space (RLIMIT_AS), -EBADF: the descriptor was closed behind our back. Nothing is touched. */
int cmp_extent_map(struct cmp_segment *segment, uint32_t number, char **at, uint64_t *bytes);

/* Adds an extent of at least `bytes`: as much as there is already, or, where that much is refused, less. `seen` is the
 * count the caller found no room in: if there are more by now, nothing is added. No lock of the segment may be held;
 * survives a kill anywhere. 0; -ENOMEM; with try_only -EBUSY when another is at it, without -EINTR when
 * that one stands still. */
int cmp_extent_add(struct cmp_segment *segment, uint64_t bytes, uint32_t seen, bool try_only);

#endif
