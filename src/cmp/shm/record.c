#include "shm/record.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(struct cmp_record_block) == 16, "part of the layout");

static uint32_t padded(uint32_t size)
{
    return (size + 7) & ~UINT32_C(7);
}

uint32_t cmp_record_step_inline(uint64_t size)
{
    return (uint32_t)CMP_RECORD_HEADER + padded((uint32_t)size);
}

/* Relaxed: the tail's release store shows the whole record. One store, so that a reader sees a header or none. */
static void write_header(char *at, uint32_t size, uint32_t tag)
{
    cmp_store((_Atomic uint64_t *)(void *)at, (uint64_t)tag << 32 | size, relaxed, "record.header");
}

void cmp_record_write_inline(char *at, const struct iovec *parts, int nparts, uint64_t size, uint32_t tag)
{
    char *to = at + CMP_RECORD_HEADER;
    for (int i = 0; i < nparts; i++) {
        if (parts[i].iov_len == 0) continue;
        memcpy(to, parts[i].iov_base, parts[i].iov_len);
        to += parts[i].iov_len;
    }
    write_header(at, (uint32_t)size, tag);
}

void cmp_record_write_block(char *at, cmp_ref block, uint64_t size, uint32_t tag)
{
    struct cmp_record_block body = {.block = block, .size = size};
    memcpy(at + CMP_RECORD_HEADER, &body, sizeof body);
    write_header(at, CMP_RECORD_BLOCK, tag);
}

void cmp_record_write_end(char *at)
{
    write_header(at, CMP_RECORD_END, 0);
}

int cmp_record_read(const char *at, uint32_t room, struct cmp_record_view *view)
{
    if (room < CMP_RECORD_HEADER) return -EBADMSG;
    uint64_t header = cmp_load((const _Atomic uint64_t *)(const void *)at, relaxed);
    uint32_t size = (uint32_t)header;
    view->tag = (uint32_t)(header >> 32);
    room -= (uint32_t)CMP_RECORD_HEADER;
    if (size <= CMP_RECORD_INLINE) {
        if (padded(size) > room) return -EBADMSG;
        view->kind = CMP_RECORD_IS_INLINE;
        view->size = size;
        view->bytes = at + CMP_RECORD_HEADER;
        view->block = 0;
        view->step = cmp_record_step_inline(size);
        return 0;
    }
    if (size == CMP_RECORD_BLOCK) {
        struct cmp_record_block body;
        if (room < sizeof body) return -EBADMSG;
        memcpy(&body, at + CMP_RECORD_HEADER, sizeof body);
        view->kind = CMP_RECORD_IS_BLOCK;
        view->size = body.size;
        view->bytes = NULL;
        view->block = body.block;
        view->step = CMP_RECORD_STEP_BLOCK;
        return 0;
    }
    if (size == CMP_RECORD_END) {
        view->kind = CMP_RECORD_IS_END;
        view->size = 0;
        view->bytes = NULL;
        view->block = 0;
        view->step = 0;
        return 0;
    }
    return -EBADMSG;
}
