#include "shm/block.h"

#include "os/copy.h"
#include "os/memfd.h"
#include "shm/block_layout.h"
#include "shm/extent.h"

#include <errno.h>
#include <sys/mman.h>

/* Below these a system call costs more than it saves. */
#define PWRITE_LEAST (16 * 1024)
#define KNOWN_LEAST (1024 * 1024)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* The block at ref and its size, read once and checked. 0; -EBADMSG: none is there; -ENOMEM, -EBADF as
 * cmp_extent_map. */
static int look_up(struct cmp_segment *segment, cmp_ref ref, struct cmp_block_shm **found, uint64_t *size)
{
    uint32_t number = (uint32_t)(ref >> CMP_REF_BITS);
    uint64_t offset = CMP_REF_OFFSET(ref), bytes;
    char *at;
    if (number == 0 || offset % CMP_BLOCK_PAGE != 0) return -EBADMSG;
    int code = cmp_extent_map(segment, number, &at, &bytes);
    if (code < 0) return code;
    if (offset > bytes || sizeof(struct cmp_block_shm) > bytes - offset) return -EBADMSG;
    struct cmp_block_shm *block = (struct cmp_block_shm *)(at + offset);
    /* Nothing to be ordered: who has the reference got it through something that was published after the header. */
    uint64_t claimed = *(volatile const uint64_t *)&block->size;
    if (block->magic != CMP_BLOCK_MAGIC || claimed < CMP_BLOCK_PAGE || claimed > bytes - offset) return -EBADMSG;
    *found = block;
    *size = claimed;
    return 0;
}

static struct cmp_block_shm *find_sized(struct cmp_segment *segment, cmp_ref ref, uint64_t *size)
{
    struct cmp_block_shm *block;
    return look_up(segment, ref, &block, size) == 0 ? block : NULL;
}

struct cmp_block_shm *cmp_block_find(struct cmp_segment *segment, cmp_ref ref)
{
    uint64_t size;
    return find_sized(segment, ref, &size);
}

void *cmp_block_payload(struct cmp_segment *segment, cmp_ref ref, uint64_t *capacity)
{
    uint64_t size;
    struct cmp_block_shm *block = find_sized(segment, ref, &size);
    if (block == NULL) return NULL;
    *capacity = size - sizeof *block;
    return block + 1;
}

_Atomic uint64_t *cmp_block_tenure(struct cmp_segment *segment, cmp_ref ref)
{
    struct cmp_block_shm *block = cmp_block_find(segment, ref);
    return block == NULL ? NULL : &block->tenure;
}

int cmp_block_reach(struct cmp_segment *segment, cmp_ref ref, _Atomic uint64_t **tenure)
{
    struct cmp_block_shm *block;
    uint64_t size;
    int code = look_up(segment, ref, &block, &size);
    if (code == 0) *tenure = &block->tenure;
    return code;
}

/* Pages may be in memory and yet not in this process's page tables, because another wrote them, or pwrite did. Stores
 * would fault them in one by one at 2 us a page; asked for together they cost a quarter of that. */
static void make_known(struct cmp_segment *segment, cmp_ref ref, char *block, uint64_t bytes)
{
    struct cmp_segment_maps *maps = segment->maps;
    size_t i = (size_t)((ref / CMP_BLOCK_PAGE * UINT64_C(0x9e3779b97f4a7c15)) >> 58) % CMP_SEGMENT_KNOWN;
    if (cmp_load(&maps->known[i], relaxed) == ref && cmp_load(&maps->known_bytes[i], relaxed) >= bytes) return;
    int saved = errno;
    /* Unknown before Linux 5.14: then they fault. */
    (void)madvise(block, cmp_block_whole_pages(bytes), MADV_POPULATE_WRITE);
    errno = saved;
    cmp_private_store(&maps->known[i], ref, relaxed);
    cmp_private_store(&maps->known_bytes[i], bytes, relaxed);
}

int cmp_block_write(struct cmp_segment *segment, cmp_ref ref, uint64_t offset, const void *bytes, uint64_t size)
{
    uint64_t capacity;
    struct cmp_block_shm *block = find_sized(segment, ref, &capacity);
    if (block == NULL) return -EBADMSG;
    capacity -= sizeof *block;
    if (offset > capacity || size > capacity - offset) return -EBADMSG;
    const char *from = bytes;
    char *to = (char *)(block + 1) + offset;
    uint64_t at = sizeof *block + offset, cold_from = cmp_load(&block->cold_from, relaxed);
    uint64_t warm_size = at >= cold_from ? 0 : cold_from - at < size ? cold_from - at : size;
    if (size - warm_size < PWRITE_LEAST || !cmp_segment_owns_fd(segment)) warm_size = size;
    if (warm_size >= KNOWN_LEAST) make_known(segment, ref, (char *)block, at + warm_size);
    cmp_copy_away(to, from, warm_size);
    if (warm_size == size) return 0;
    const struct cmp_extent_shm *row = &cmp_segment_extents(segment)[ref >> CMP_REF_BITS];
    int code = cmp_memfd_write(segment->fd, row->offset + CMP_REF_OFFSET(ref) + at + warm_size, from + warm_size,
                               size - warm_size);
    if (code == -EFBIG || code == -EPERM || code == -ENOSYS) {
        /* RLIMIT_FSIZE, or a sandbox, forbids writing, not storing. */
        cmp_copy_away(to + warm_size, from + warm_size, size - warm_size);
        code = 0;
    }
    return code < 0 ? -ENOMEM : 0;
}

int cmp_block_walk(struct cmp_segment *segment, void (*visit)(void *arg, cmp_ref block, _Atomic uint64_t *tenure),
                   void *arg)
{
    uint32_t count = cmp_extent_count(segment);
    for (uint32_t number = 1; number < count; number++) {
        char *at;
        uint64_t bytes;
        int code = cmp_extent_map(segment, number, &at, &bytes);
        if (code < 0) return code;
        uint64_t used = cmp_load(&cmp_segment_extents(segment)[number].used, acquire); /* pairs with [block.carve] */
        for (uint64_t offset = 0; offset < used;) {
            uint64_t size;
            struct cmp_block_shm *block = find_sized(segment, CMP_REF(number, offset), &size);
            if (block == NULL) return -EUCLEAN;
            visit(arg, CMP_REF(number, offset), &block->tenure);
            offset += size;
        }
    }
    return 0;
}

struct cmp_block_use cmp_block_use(const struct cmp_segment *segment)
{
    const struct cmp_blocks_shm *blocks = cmp_block_books(segment);
    return (struct cmp_block_use){cmp_load(&blocks->busy_bytes, relaxed), cmp_load(&blocks->idle_bytes, relaxed)};
}
