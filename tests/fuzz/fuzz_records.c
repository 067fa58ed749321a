/* Hostile chunks: a queue with a few items of each kind, some bytes of its blocks changed, and then taken from and put
 * into again. What cannot be read is passed over; nothing outside the mappings is touched, every call comes back, and
 * there are never more items than were put. (A length that is wrong but possible cannot be told from a right one.)
 *
 * Input: patches of {3 bytes place, 1 byte length 1-8, that many bytes} over the queue's first extent, in which lie its
 * chunks with their records, and the payloads' block headers. The words of the allocator's lists are left alone: they
 * are the allocator's, under its lock. */
#include "shm/queue.h"

#include "shm/block_layout.h"
#include "shm/extent.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#define ITEMS 16

static void must(bool fact)
{
    if (!fact) abort();
}

static void put(struct cmp_queue *queue, const char *bytes, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)bytes, size};
    struct cmp_message message = {.parts = &part, .nparts = 1, .size = size, .tag = 3};
    must(cmp_queue_put(queue, &message, 1) == 0);
}

static void fill(struct cmp_queue *queue)
{
    static const size_t sizes[] = {0, 1, 8, 100, 4096, 4097, 9000, 17, 4096, 4000, 3, 70000, 4096, 12, 4096, 4096};
    static char bytes[70000];
    _Static_assert(sizeof sizes / sizeof *sizes == ITEMS, "counted");
    for (size_t i = 0; i < ITEMS; i++) put(queue, bytes, sizes[i]);
}

static bool allocators(uint64_t offset)
{
    uint64_t in_page = offset % CMP_BLOCK_PAGE;
    return in_page >= offsetof(struct cmp_block_shm, next) && in_page < sizeof(struct cmp_block_shm);
}

static void patch(struct cmp_segment *segment, const uint8_t *data, size_t size)
{
    char *extent;
    uint64_t bytes;
    must(cmp_extent_map(segment, 1, &extent, &bytes) == 0);
    uint64_t used = cmp_load(&cmp_segment_extents(segment)[1].used, relaxed);
    for (size_t at = 0; at + 4 < size;) {
        uint64_t place = (uint64_t)(data[at] | data[at + 1] << 8 | data[at + 2] << 16) % used;
        size_t n = data[at + 3] % 8 + 1;
        at += 4;
        for (size_t i = 0; i < n && at < size && place + i < used; i++, at++)
            if (!allocators(place + i)) extent[place + i] = (char)data[at];
    }
}

/* As many calls as there can be items; each gives one, or passes something over. */
static void drain(struct cmp_queue *queue, struct cmp_taken *taken, int items)
{
    volatile char seen = 0;
    for (int calls = 2 * items + 2; calls > 0; calls--) {
        int code = cmp_queue_take(queue, taken, NULL, 1);
        if (code == -ETIMEDOUT) return;
        must(code == 0 || code == -EBADMSG);
        if (code < 0) continue;
        must(items-- > 0);
        for (uint64_t k = 0; k < taken->size; k += 997) seen = ((const char *)taken->data)[k];
        if (taken->size > 0) seen = ((const char *)taken->data)[taken->size - 1];
        cmp_queue_release(queue, taken);
    }
    (void)seen;
    abort(); /* it does not come to an end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cmp_segment *segment = calloc(1, sizeof *segment);
    struct cmp_taken *taken = malloc(sizeof *taken);
    struct cmp_queue queue;
    must(cmp_segment_create(segment, cmp_queue_shm_size(), "cmp-fuzz") == 0);
    must(cmp_queue_init(&queue, segment, cmp_segment_root(segment), 0) == 0);
    fill(&queue);
    patch(segment, data, size);
    drain(&queue, taken, ITEMS);
    fill(&queue);
    drain(&queue, taken, ITEMS);
    cmp_segment_close(segment);
    free(taken);
    free(segment);
    return 0;
}
