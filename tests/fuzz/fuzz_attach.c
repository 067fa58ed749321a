/* Hostile segments: a header and an extent table with some bytes changed, attached to and used. Whatever they say,
 * nothing outside the file's mappings may be touched, and every call comes back.
 *
 * Input: patches of {2 bytes place, 1 byte length 1-8, that many bytes} over the constant part of the header and the
 * extent table. (Words that live, such as mutexes, are not hostile bytes but another process's misbehaviour.) */
#include "shm/block.h"
#include "shm/extent.h"
#include "shm/segment_layout.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONSTANT_PART offsetof(struct cmp_segment_shm, granted)

static void must(bool fact)
{
    if (!fact) abort();
}

static void patch(struct cmp_segment *segment, const uint8_t *data, size_t size)
{
    size_t rows = 4 * sizeof(struct cmp_extent_shm), end = CONSTANT_PART + rows;
    for (size_t at = 0; at + 3 < size;) {
        size_t place = (size_t)(data[at] | data[at + 1] << 8) % end, n = data[at + 2] % 8 + 1;
        at += 3;
        for (size_t i = 0; i < n && at < size && place + i < end; i++, at++) {
            size_t offset = place + i;
            uint64_t in_file = offset < CONSTANT_PART ? offset : segment->extents_offset + offset - CONSTANT_PART;
            must(pwrite(segment->fd, data + at, 1, (off_t)in_file) == 1);
        }
    }
}

static void touch(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    uint64_t capacity;
    char *payload = cmp_block_payload(arg, block, &capacity);
    (void)tenure;
    if (payload == NULL || capacity == 0) return;
    /* Reading the ends is enough for SIGBUS or SIGSEGV. */
    (void)*(volatile char *)payload;
    (void)*(volatile char *)(payload + capacity - 1);
}

static void use(struct cmp_segment *segment)
{
    memset(cmp_segment_root(segment), 1, 128);
    for (uint32_t number = 0; number < 5; number++) {
        char *at;
        uint64_t bytes;
        if (cmp_extent_map(segment, number, &at, &bytes) < 0) continue;
        (void)*(volatile char *)at;
        (void)*(volatile char *)(at + bytes - 1);
    }
    (void)cmp_block_walk(segment, touch, segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmp_segment *segment = calloc(2, sizeof *segment), *other = segment + 1;
    cmp_ref block;
    uint64_t warm;
    must(cmp_segment_create(segment, 256, "cmp-fuzz") == 0);
    must(cmp_block_alloc(segment, 5000, false, &block, &warm) == 0);
    must(cmp_block_alloc(segment, 1500000, false, &block, &warm) == 0);
    patch(segment, data, size);
    int fd = dup(segment->fd);
    must(fd >= 0);
    if (cmp_segment_attach(other, fd) == 0) {
        use(other);
        cmp_segment_close(other);
    } else {
        close(fd);
    }
    cmp_segment_close(segment);
    free(segment);
    return 0;
}
