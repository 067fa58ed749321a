/* Segment: one memfd that grows by extents, its members, and the objects that live in it.
 *
 * The file: extent 0 holds the header page, the member table (1024 slots) and a root area for fixed objects
 * (queues, a pool table); further extents hold blocks. An extent, once in the table, never moves or changes size;
 * each process maps it when it first meets a reference into it, MADV_DONTDUMP, and keeps it until the handle closes.
 * The file is sealed against shrinking. A reference is extent number and offset, checked on every use. */
#ifndef CMP_SHM_SEGMENT_H
#define CMP_SHM_SEGMENT_H

#include "shm/member.h"

#include <stddef.h>
#include <stdint.h>

typedef uint64_t cmp_ref; /* extent in bits 48-63, byte offset in it in bits 0-47; 0 is none */

#define CMP_SEGMENT_EXTENTS 256

struct cmp_queue;       /* shm/queue.h */
struct cmp_segment_shm; /* in segment.c's own header part */

struct cmp_segment {
    struct cmp_segment_shm *shm;
    int fd;                                       /* -1: an anonymous mapping (tests) */
    struct cmp_members members;
    struct cmp_queue *queues;                     /* this process's handles to the queues in it, linked by next; the
                                                     sweep leaves alone what belongs to a queue not listed here */
    _Atomic(char *) maps[CMP_SEGMENT_EXTENTS];    /* NULL until first met */
};

/* root_bytes: room for the fixed objects. -ENOMEM, -EMFILE, -ENFILE, ... */
int cmp_segment_create(struct cmp_segment *segment, size_t root_bytes, const char *name);
/* Takes over fd on success. -EPROTO: not such a segment, or another layout version; -EXDEV: other pid namespace. */
int cmp_segment_attach(struct cmp_segment *segment, int fd);
/* Unmaps and closes. Members' slots are given back if nothing is owned. */
void cmp_segment_close(struct cmp_segment *segment);
/* The root area, 64-byte aligned. */
void *cmp_segment_root(struct cmp_segment *segment);

/* `size` bytes at ref, mapped; NULL if ref does not lie in an extent (hostile or torn bytes) or mapping failed. */
void *cmp_segment_at(struct cmp_segment *segment, cmp_ref ref, size_t size);

#endif
