#include "shm/extent.h"

#include "os/memfd.h"
#include "shm/segment_layout.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE UINT64_C(4096)
#define FIRST_BYTES (UINT64_C(1) << 20)
#define MOST_BYTES (UINT64_C(1) << 30) /* beyond this a bigger step saves nothing */

uint32_t cmp_extent_count(const struct cmp_segment *segment)
{
    /* acquire: the rows are whole; pairs with [extent.publish]. */
    uint32_t count = cmp_load(&segment->shm->nextents, acquire);
    return count < CMP_SEGMENT_EXTENTS ? count : CMP_SEGMENT_EXTENTS;
}

/* Maps a range of the file and keeps it as extent `number`; if another thread was first, its mapping stands. */
static int map_range(struct cmp_segment *segment, uint32_t number, uint64_t offset, uint64_t bytes)
{
    struct cmp_segment_maps *maps = segment->maps;
    struct stat facts;
    if (!cmp_segment_owns_fd(segment) || fstat(segment->fd, &facts) < 0) return -EBADF;
    /* The table is shared memory: beyond the file's end a touch would be SIGBUS. */
    if (bytes == 0 || offset % PAGE != 0 || bytes % PAGE != 0 || bytes > (uint64_t)facts.st_size ||
        offset > (uint64_t)facts.st_size - bytes)
        return -EBADMSG;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, segment->fd, (off_t)offset);
    if (at == MAP_FAILED) return -ENOMEM;
    (void)madvise(at, bytes, MADV_DONTDUMP);
    char *nobody = NULL;
    /* The size is the same whoever maps, and is there before the address is: pairs with the loads in cmp_extent_map. */
    cmp_private_store(&maps->size[number], bytes, relaxed);
    if (!cmp_private_cas(&maps->at[number], &nobody, at, release)) munmap(at, bytes);
    return 0;
}

int cmp_extent_map(struct cmp_segment *segment, uint32_t number, char **at, uint64_t *bytes)
{
    struct cmp_segment_maps *maps = segment->maps;
    if (number >= CMP_SEGMENT_EXTENTS) return -EBADMSG;
    char *known = cmp_load(&maps->at[number], acquire);
    if (known == NULL) {
        if (number >= cmp_extent_count(segment)) return -EBADMSG;
        const struct cmp_extent_shm *row = &cmp_segment_extents(segment)[number];
        int saved = errno;
        int code = map_range(segment, number, row->offset, row->size);
        errno = saved;
        if (code < 0) return code;
        known = cmp_load(&maps->at[number], acquire);
    }
    *at = known;
    *bytes = cmp_load(&maps->size[number], relaxed);
    return 0;
}

/* Where the file's next extent begins, and how much extents hold so far. */
static uint64_t end_of_file(const struct cmp_segment *segment, uint32_t count, uint64_t *in_extents)
{
    const struct cmp_extent_shm *rows = cmp_segment_extents(segment);
    *in_extents = 0;
    for (uint32_t i = 1; i < count; i++) *in_extents += rows[i].size;
    return count == 1 ? segment->shm->head_bytes : rows[count - 1].offset + rows[count - 1].size;
}

/* Makes the file long enough and maps the range, so that a row is shown only when its maker could use it. A file made
 * longer in vain stays so: it cannot shrink, and holes cost nothing. */
static int try_size(struct cmp_segment *segment, uint32_t number, uint64_t offset, uint64_t bytes)
{
    struct stat facts;
    if (!cmp_segment_owns_fd(segment) || fstat(segment->fd, &facts) < 0) return -EBADF;
    int code = 0;
    if ((uint64_t)facts.st_size < offset + bytes) code = cmp_memfd_grow(segment->fd, offset + bytes);
    return code < 0 ? code : map_range(segment, number, offset, bytes);
}

static int add(struct cmp_segment *segment, uint64_t least)
{
    uint32_t number = cmp_extent_count(segment);
    uint64_t in_extents, offset = end_of_file(segment, number, &in_extents);
    if (number >= CMP_SEGMENT_EXTENTS) return -ENOMEM;
    uint64_t bytes = in_extents < FIRST_BYTES ? FIRST_BYTES : in_extents < MOST_BYTES ? in_extents : MOST_BYTES;
    bytes = bytes / PAGE * PAGE;
    if (bytes < least) bytes = least;
    int code = try_size(segment, number, offset, bytes);
    while (code < 0 && code != -EBADF && bytes > least) {
        bytes = bytes / 2 / PAGE * PAGE;
        if (bytes < least) bytes = least;
        code = try_size(segment, number, offset, bytes);
    }
    if (code < 0) return code == -EBADF ? code : -ENOMEM;
    struct cmp_extent_shm *row = &cmp_segment_extents(segment)[number];
    row->offset = offset;
    row->size = bytes;
    cmp_store(&row->used, 0, relaxed, "extent.used");
    /* Release: the row is whole before it shows; pairs with the load in cmp_extent_count. A kill before this leaves a
     * longer file and a row that the next one overwrites. */
    cmp_store(&segment->shm->nextents, number + 1, release, "extent.publish");
    return 0;
}

int cmp_extent_add(struct cmp_segment *segment, uint64_t bytes, uint32_t seen, bool try_only)
{
    struct cmp_mutex *growth = &segment->shm->growth;
    int code = try_only ? cmp_mutex_try(growth) : cmp_mutex_lock_patiently(growth);
    if (code == -EOWNERDEAD) {
        (void)cmp_rmw(fetch_add, &segment->shm->repairs, 1, relaxed, "segment.repairs");
        cmp_mutex_repaired(growth); /* every step before the publishing store is as if it had not been */
        code = 0;
    }
    if (code < 0) return code;
    int saved = errno;
    if (cmp_extent_count(segment) == seen) code = add(segment, (bytes + PAGE - 1) / PAGE * PAGE);
    errno = saved;
    cmp_mutex_unlock(growth);
    return code;
}
