/* Record: one item's place in a chunk. An 8-byte header, then what it announces, padded to 8 bytes.
 *
 *   header bits 0-31   bytes that follow (at most CMP_RECORD_INLINE), or one of two marks
 *          bits 32-63  the tag of the one who put it
 *   CMP_RECORD_BLOCK   the payload lies in a block: a cmp_record_block follows
 *   CMP_RECORD_END     nothing further in this chunk: go on in the next one
 *
 * A record is written under the put lock and never again; it shows when the queue's tail passes it. A reader trusts
 * nothing in it: the header is read once, and what it says is checked against the chunk. */
#ifndef CMP_SHM_RECORD_H
#define CMP_SHM_RECORD_H

#include "os/atomics.h"
#include "shm/segment.h"

#include <stdint.h>
#include <sys/uio.h>

#define CMP_RECORD_INLINE 4096 /* copied while a lock is held: some 100 ns */
#define CMP_RECORD_BLOCK UINT32_C(0xfffffffe)
#define CMP_RECORD_END UINT32_C(0xffffffff)
#define CMP_RECORD_HEADER sizeof(uint64_t)

struct cmp_record_block {
    cmp_ref block;
    uint64_t size;
};

enum cmp_record_kind { CMP_RECORD_IS_INLINE, CMP_RECORD_IS_BLOCK, CMP_RECORD_IS_END };

struct cmp_record_view {
    enum cmp_record_kind kind;
    uint32_t tag;
    uint32_t step;      /* bytes from this record to the next */
    uint64_t size;      /* of the payload */
    const char *bytes;  /* inline payload */
    cmp_ref block;
};

/* Bytes a record takes in the chunk. */
uint32_t cmp_record_step_inline(uint64_t size);
#define CMP_RECORD_STEP_BLOCK ((uint32_t)(CMP_RECORD_HEADER + sizeof(struct cmp_record_block)))

/* The caller has made sure of the room, and holds the put lock. */
void cmp_record_write_inline(char *at, const struct iovec *parts, int nparts, uint64_t size, uint32_t tag);
void cmp_record_write_block(char *at, cmp_ref block, uint64_t size, uint32_t tag);
void cmp_record_write_end(char *at);

/* What lies at `at`, `room` bytes before the chunk's end; -EBADMSG if it cannot be a record. */
int cmp_record_read(const char *at, uint32_t room, struct cmp_record_view *view);

#endif
