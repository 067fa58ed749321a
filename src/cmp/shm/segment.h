/* Segment: one memfd that grows by extents, its members, and the objects that live in it.
 *
 * The file: extent 0 holds the header, a root area for fixed objects (queues, a pool table), the member table (1024
 * slots) and the extent table; further extents (shm/extent.h) hold blocks (shm/block.h). An extent, once in the table,
 * never moves or changes size; each process maps it when it first meets a reference into it, MADV_DONTDUMP, and keeps
 * it until the handle closes. The file is sealed against shrinking. A reference is extent number and offset, checked
 * on every use. */
#ifndef CMP_SHM_SEGMENT_H
#define CMP_SHM_SEGMENT_H

#include "shm/member.h"

#include <stddef.h>
#include <stdint.h>

typedef uint64_t cmp_ref; /* extent in bits 48-63, byte offset in it in bits 0-47; 0 is none */

#define CMP_SEGMENT_EXTENTS 256
#define CMP_SEGMENT_MEMBERS 1024
#define CMP_SEGMENT_KNOWN 64

struct cmp_queue;       /* shm/queue.h */
struct cmp_segment_shm; /* shm/segment_layout.h */

/* Where this process has mapped the extents: NULL until first met. Sizes are as checked against the file then; what
 * the table says later no longer matters. */
struct cmp_segment_maps {
    _Atomic(char *) at[CMP_SEGMENT_EXTENTS];
    _Atomic uint64_t size[CMP_SEGMENT_EXTENTS];
    /* Blocks of which this process's page tables know the first so many bytes: a hint (shm/block.c). */
    _Atomic cmp_ref known[CMP_SEGMENT_KNOWN];
    _Atomic uint64_t known_bytes[CMP_SEGMENT_KNOWN];
};

/* This process's handle. Several threads may use it at once; it does not move while it is open. */
struct cmp_segment {
    struct cmp_segment_shm *shm;
    int fd;
    uint64_t identity;               /* of fd: user code that closes everything may have let the number be reused */
    uint64_t extents_offset;         /* as checked at attach, like the next two */
    uint64_t root_offset, root_bytes;
    struct cmp_members members;
    struct cmp_queue *queues;        /* this process's handles to the queues in it, linked by next */
    struct cmp_segment_maps *maps;   /* &own_maps; a twin's: those of the handle it is a twin of */
    struct cmp_segment_maps own_maps;
};

/* root_bytes: room for the fixed objects, zeroed. `name` shows in /proc only. -ENOMEM, -EMFILE, -ENFILE. */
int cmp_segment_create(struct cmp_segment *segment, size_t root_bytes, const char *name);
/* Takes over fd on success. -EPROTO: not such a segment, or another layout version; -EXDEV: other pid namespace. */
int cmp_segment_attach(struct cmp_segment *segment, int fd);
/* Another handle of this process, a member of its own, over the same mappings: how tests make threads play processes.
 * Closed before the handle it is a twin of. */
int cmp_segment_twin(struct cmp_segment *twin, struct cmp_segment *segment);
/* Gives this process's slot back, unmaps and closes. The process holds nothing in it any more. */
void cmp_segment_close(struct cmp_segment *segment);

/* The root area, 128-byte aligned. */
void *cmp_segment_root(struct cmp_segment *segment);
/* A queue was laid out in the root area. A sweep needs handles to all of them (shm/sweep.h). */
void cmp_segment_count_queue(struct cmp_segment *segment);

/* Is fd still this segment's? */
bool cmp_segment_owns_fd(const struct cmp_segment *segment);

#endif
