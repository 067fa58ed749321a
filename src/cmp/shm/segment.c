#include "shm/segment.h"

#include "os/identity.h"
#include "os/memfd.h"
#include "shm/budget.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE 128
#define PAGE UINT64_C(4096)
#define ROOT_MOST (UINT64_C(1) << 30)

static_assert(sizeof(struct cmp_extent_shm) == 32, "part of the layout");

static uint64_t round_up(uint64_t n, uint64_t step)
{
    return (n + step - 1) / step * step;
}

/* Everything a segment needs at first lies in its first page or two: header, root, then the member table, of which
 * the first slots share the root's last page, and at the end the extent table, needed only to grow. */
static struct cmp_segment_shm plan(size_t root_bytes)
{
    struct cmp_segment_shm header = {.version = CMP_SEGMENT_VERSION};
    header.root_offset = round_up(sizeof header, LINE);
    header.root_bytes = round_up(root_bytes, LINE);
    header.members_offset = header.root_offset + header.root_bytes;
    header.extents_offset = round_up(header.members_offset + CMP_MEMBERS_SIZE(CMP_SEGMENT_MEMBERS), LINE);
    header.head_bytes =
        round_up(header.extents_offset + CMP_SEGMENT_EXTENTS * sizeof(struct cmp_extent_shm), PAGE);
    return header;
}

/* Do these numbers, which came from another process, describe a header inside a file of file_bytes? */
static bool plausible(const struct cmp_segment_shm *header, uint64_t file_bytes)
{
    if (header->version != CMP_SEGMENT_VERSION || header->root_bytes > ROOT_MOST) return false;
    struct cmp_segment_shm wanted = plan(header->root_bytes);
    return header->root_offset == wanted.root_offset && header->members_offset == wanted.members_offset &&
           header->extents_offset == wanted.extents_offset && header->head_bytes == wanted.head_bytes &&
           header->head_bytes <= file_bytes;
}

static void remember_fd(struct cmp_segment *segment, int fd)
{
    segment->fd = fd;
    segment->identity = cmp_identity_of(fd);
}

bool cmp_segment_owns_fd(const struct cmp_segment *segment)
{
    return cmp_identity_is(segment->fd, segment->identity);
}

static void sweep_full_table(void *segment)
{
    (void)cmp_sweep_dead(segment);
}

/* The handle over a mapped, plausible header. */
static int settle(struct cmp_segment *segment, char *at, const struct cmp_segment_shm *header)
{
    segment->shm = (struct cmp_segment_shm *)at;
    segment->root_offset = header->root_offset;
    segment->root_bytes = header->root_bytes;
    segment->extents_offset = header->extents_offset;
    segment->maps = &segment->own_maps;
    cmp_private_store(&segment->own_maps.size[0], header->head_bytes, relaxed);
    cmp_private_store(&segment->own_maps.at[0], at, release);
    int code = cmp_members_attach(&segment->members, (struct cmp_members_shm *)(at + header->members_offset));
    /* Beyond these slots lies something else, and beyond the extent nothing. */
    if (code == 0 && segment->members.nslots != CMP_SEGMENT_MEMBERS) code = -EPROTO;
    segment->members.on_full = sweep_full_table;
    segment->members.on_full_arg = segment;
    return code;
}

static int map_head(int fd, uint64_t bytes, char **at)
{
    void *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (made == MAP_FAILED) return -errno;
    (void)madvise(made, bytes, MADV_DONTDUMP);
    *at = made;
    return 0;
}

int cmp_segment_create(struct cmp_segment *segment, size_t root_bytes, const char *name)
{
    if (root_bytes > ROOT_MOST) return -EINVAL;
    struct cmp_segment_shm header = plan(root_bytes);
    int saved = errno, fd = -1;
    char *at = NULL;
    memset(segment, 0, sizeof *segment);
    int code = cmp_memfd_create(name, &fd);
    if (code < 0) goto out;
    code = cmp_memfd_grow(fd, header.head_bytes);
    if (code == 0) code = cmp_memfd_seal(fd);
    if (code == 0) code = map_head(fd, header.head_bytes, &at);
    if (code < 0) goto out;

    struct cmp_segment_shm *shm = (struct cmp_segment_shm *)at;
    shm->version = header.version;
    shm->head_bytes = header.head_bytes;
    shm->root_offset = header.root_offset;
    shm->root_bytes = header.root_bytes;
    shm->members_offset = header.members_offset;
    shm->extents_offset = header.extents_offset;
    shm->memory_limit = cmp_budget_from_environment();
    cmp_store(&shm->granted, cmp_budget_first_grant(shm->memory_limit), relaxed, "budget.grant");
    /* Row 0 of the extent table is never read, so its page need not be touched yet. */
    cmp_store(&shm->nextents, 1, relaxed, "segment.nextents");
    cmp_members_init((struct cmp_members_shm *)(at + header.members_offset), CMP_SEGMENT_MEMBERS);
    code = cmp_mutex_init(&shm->growth);
    if (code == 0) code = cmp_mutex_init(&shm->sweeping);
    if (code == 0) code = cmp_mutex_init(&shm->blocks.lock);
    if (code == 0) code = settle(segment, at, &header);
    if (code < 0) goto out;
    remember_fd(segment, fd);
    /* Release: whoever sees the magic sees a whole header; pairs with the load in attach. */
    cmp_store(&shm->magic, CMP_SEGMENT_MAGIC, release, "segment.born");
out:
    if (code < 0) {
        if (at != NULL) munmap(at, header.head_bytes);
        if (fd >= 0) close(fd);
        segment->fd = -1;
    }
    errno = saved;
    return code;
}

/* Reads the header as plain bytes, before anything is mapped by its word. */
static int read_header(int fd, struct cmp_segment_shm *header)
{
    uint64_t file_bytes;
    int code = cmp_memfd_inspect(fd, &file_bytes);
    if (code < 0) return code;
    if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header) return -EPROTO;
    if (cmp_load(&header->magic, acquire) != CMP_SEGMENT_MAGIC) return -EPROTO;
    return plausible(header, file_bytes) ? 0 : -EPROTO;
}

int cmp_segment_attach(struct cmp_segment *segment, int fd)
{
    struct cmp_segment_shm header;
    int saved = errno;
    char *at = NULL;
    memset(segment, 0, sizeof *segment);
    segment->fd = -1;
    int code = read_header(fd, &header);
    if (code == 0) code = map_head(fd, header.head_bytes, &at);
    if (code == 0) code = settle(segment, at, &header);
    if (code == 0) remember_fd(segment, fd);
    else if (at != NULL) munmap(at, header.head_bytes);
    if (code < 0) segment->shm = NULL;
    errno = saved;
    return code;
}

int cmp_segment_twin(struct cmp_segment *twin, struct cmp_segment *segment)
{
    memset(twin, 0, sizeof *twin);
    twin->shm = segment->shm;
    twin->fd = segment->fd;
    twin->identity = segment->identity;
    twin->root_offset = segment->root_offset;
    twin->root_bytes = segment->root_bytes;
    twin->extents_offset = segment->extents_offset;
    twin->maps = segment->maps;
    int code = cmp_members_attach(&twin->members, segment->members.shm);
    twin->members.on_full = sweep_full_table;
    twin->members.on_full_arg = twin;
    return code;
}

void cmp_segment_close(struct cmp_segment *segment)
{
    if (segment->shm == NULL) return;
    cmp_members_leave(&segment->members);
    if (segment->maps == &segment->own_maps) {
        for (int i = CMP_SEGMENT_EXTENTS - 1; i >= 0; i--) {
            char *at = cmp_load(&segment->maps->at[i], relaxed);
            if (at != NULL) munmap(at, cmp_load(&segment->maps->size[i], relaxed));
        }
        if (cmp_segment_owns_fd(segment)) close(segment->fd);
    }
    segment->shm = NULL;
    segment->fd = -1;
}

void *cmp_segment_root(struct cmp_segment *segment)
{
    return (char *)segment->shm + segment->root_offset;
}

void cmp_segment_count_queue(struct cmp_segment *segment)
{
    (void)cmp_rmw(fetch_add, &segment->shm->nqueues, 1, relaxed, "segment.nqueues");
}
