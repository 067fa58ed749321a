#include "runner.h"
#include "peek.h"

#include "os/memfd.h"
#include "shm/extent.h"
#include "shm/segment.h"
#include "shm/segment_layout.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static struct cmp_segment segment; /* inherited by forked children, as in Python */

static void fresh(void)
{
    CHECK_EQ(cmp_segment_create(&segment, 700, "cmp-test"), 0);
}

TEST(new_segment_has_a_zeroed_root_and_no_extents)
{
    fresh();
    char *root = cmp_segment_root(&segment);
    CHECK_EQ((uintptr_t)root % 128, 0);
    for (int i = 0; i < 700; i++) CHECK_EQ(root[i], 0);
    CHECK_EQ(cmp_extent_count(&segment), 1);
    cmp_segment_close(&segment);
    cmp_segment_close(&segment); /* a second time is nothing */
}

TEST(descriptor_is_close_on_exec_and_sealed_against_shrinking)
{
    fresh();
    CHECK(fcntl(segment.fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(ftruncate(segment.fd, 4096), -1);
    CHECK_EQ(errno, EPERM);
    cmp_segment_close(&segment);
}

static void write_through_own_mapping(void *arg)
{
    struct cmp_segment own;
    CHECK_EQ(cmp_segment_attach(&own, dup(*(int *)arg)), 0);
    CHECK(cmp_segment_root(&own) != cmp_segment_root(&segment));
    strcpy(cmp_segment_root(&own), "hello");
    CHECK_EQ(cmp_extent_add(&own, 100, 1, false), 0);
    char *at = bytes_at(&own, CMP_REF(1, 4096), 6);
    CHECK(at != NULL);
    strcpy(at, "there");
    cmp_segment_close(&own);
}

TEST(what_one_process_writes_and_grows_another_sees)
{
    fresh();
    test_join(test_child(write_through_own_mapping, &segment.fd));
    CHECK_EQ(strcmp(cmp_segment_root(&segment), "hello"), 0);
    CHECK_EQ(strcmp(bytes_at(&segment, CMP_REF(1, 4096), 6), "there"), 0);
    cmp_segment_close(&segment);
}

TEST(what_is_no_segment_is_refused)
{
    struct cmp_segment other;
    int pipes[2], fd;
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(cmp_segment_attach(&other, pipes[0]), -EPROTO);
    CHECK_EQ(cmp_segment_attach(&other, -1), -EPROTO);
    CHECK_EQ(cmp_memfd_create("cmp-test", &fd), 0);
    CHECK_EQ(cmp_segment_attach(&other, fd), -EPROTO);
    CHECK_EQ(cmp_memfd_grow(fd, 1 << 20), 0);
    CHECK_EQ(cmp_memfd_seal(fd), 0);
    CHECK_EQ(cmp_segment_attach(&other, fd), -EPROTO);
    close(fd);
    close(pipes[0]);
    close(pipes[1]);
}

/* Writes one header word and says what attaching thinks of it. */
static int attach_with(size_t offset, const void *bytes, size_t size)
{
    struct cmp_segment other;
    char before[8];
    int fd = dup(segment.fd);
    CHECK_EQ(pread(segment.fd, before, size, (off_t)offset), (ssize_t)size);
    CHECK_EQ(pwrite(segment.fd, bytes, size, (off_t)offset), (ssize_t)size);
    int code = cmp_segment_attach(&other, fd);
    CHECK_EQ(pwrite(segment.fd, before, size, (off_t)offset), (ssize_t)size);
    if (code < 0) close(fd);
    else cmp_segment_close(&other);
    return code;
}

TEST(header_that_cannot_be_is_refused)
{
    fresh();
    uint64_t numbers[] = {0, 1, 4095, 1u << 20, UINT64_C(1) << 40, UINT64_MAX};
    static const size_t fields[] = {
        offsetof(struct cmp_segment_shm, head_bytes), offsetof(struct cmp_segment_shm, root_offset),
        offsetof(struct cmp_segment_shm, root_bytes), offsetof(struct cmp_segment_shm, members_offset),
        offsetof(struct cmp_segment_shm, extents_offset)};
    for (size_t field = 0; field < sizeof fields / sizeof *fields; field++)
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            CHECK_EQ(attach_with(fields[field], &numbers[i], 8), -EPROTO);
    uint32_t version = CMP_SEGMENT_VERSION + (1u << 16), magic = 0;
    CHECK_EQ(attach_with(offsetof(struct cmp_segment_shm, version), &version, 4), -EPROTO);
    CHECK_EQ(attach_with(offsetof(struct cmp_segment_shm, magic), &magic, 4), -EPROTO); /* killed before "born" */
    uint32_t most = CMP_MEMBERS_MOST;
    size_t nslots = segment.shm->members_offset + offsetof(struct cmp_members_shm, nslots);
    CHECK_EQ(attach_with(nslots, &most, sizeof most), -EPROTO);
    cmp_segment_close(&segment);
}

TEST(references_outside_the_extents_are_null)
{
    fresh();
    CHECK_EQ(cmp_extent_add(&segment, 4096, 1, false), 0);
    uint64_t size = cmp_segment_extents(&segment)[1].size;
    CHECK(bytes_at(&segment, CMP_REF(1, size - 8), 8) != NULL);
    CHECK(bytes_at(&segment, CMP_REF(1, size), 0) != NULL);
    CHECK(bytes_at(&segment, CMP_REF(1, size - 8), 9) == NULL);
    CHECK(bytes_at(&segment, CMP_REF(1, size + 1), 0) == NULL);
    CHECK(bytes_at(&segment, CMP_REF(1, 8), SIZE_MAX) == NULL);
    CHECK(bytes_at(&segment, CMP_REF(2, 0), 1) == NULL);
    CHECK(bytes_at(&segment, CMP_REF(0xffff, 0), 1) == NULL);
    CHECK(bytes_at(&segment, UINT64_MAX, 1) == NULL);
    CHECK(bytes_at(&segment, 0, 1) == NULL);
    cmp_segment_close(&segment);
}

TEST(extent_table_that_points_past_the_file_is_not_believed)
{
    fresh();
    struct cmp_extent_shm *row = &cmp_segment_extents(&segment)[1];
    char *at;
    uint64_t bytes;
    row->offset = segment.shm->head_bytes;
    row->size = UINT64_C(1) << 30;
    cmp_store(&segment.shm->nextents, 2, release, "test.set");
    CHECK_EQ(cmp_extent_map(&segment, 1, &at, &bytes), -EBADMSG);
    row->offset = UINT64_MAX - 4095;
    row->size = 8192;
    CHECK_EQ(cmp_extent_map(&segment, 1, &at, &bytes), -EBADMSG);
    row->offset = 1;
    row->size = 4096;
    CHECK_EQ(cmp_extent_map(&segment, 1, &at, &bytes), -EBADMSG);
    cmp_store(&segment.shm->nextents, UINT32_MAX, release, "test.set");
    CHECK_EQ(cmp_extent_count(&segment), CMP_SEGMENT_EXTENTS);
    CHECK(bytes_at(&segment, CMP_REF(255, 0), 1) == NULL);
    cmp_segment_close(&segment);
}

TEST(extents_double_and_large_blocks_get_exactly_their_size)
{
    fresh();
    uint64_t mib = 1 << 20, wanted[] = {1, 1, 2, 4, 8};
    for (uint32_t i = 0; i < 5; i++) {
        CHECK_EQ(cmp_extent_add(&segment, 4096, i + 1, false), 0);
        CHECK_EQ(cmp_segment_extents(&segment)[i + 1].size, wanted[i] * mib);
    }
    CHECK_EQ(cmp_extent_add(&segment, 100 * mib + 1, 6, false), 0);
    CHECK_EQ(cmp_segment_extents(&segment)[6].size, 100 * mib + 4096);
    CHECK_EQ(cmp_extent_add(&segment, 4096, 6, false), 0); /* another has grown it meanwhile: nothing to do */
    CHECK_EQ(cmp_extent_count(&segment), 7);
    cmp_segment_close(&segment);
}

TEST(table_of_extents_fills_up_with_an_error)
{
    fresh();
    cmp_store(&segment.shm->nextents, CMP_SEGMENT_EXTENTS, release, "test.set");
    CHECK_EQ(cmp_extent_add(&segment, 4096, CMP_SEGMENT_EXTENTS, false), -ENOMEM);
    cmp_segment_close(&segment);
}

TEST(growth_cut_short_is_done_again_by_the_next)
{
    fresh();
    /* Killed after the file was made longer, before the row showed. */
    CHECK_EQ(cmp_memfd_grow(segment.fd, 8 << 20), 0);
    CHECK_EQ(cmp_extent_add(&segment, 4096, 1, false), 0);
    CHECK_EQ(cmp_segment_extents(&segment)[1].offset, segment.shm->head_bytes);
    char *at = bytes_at(&segment, CMP_REF(1, 0), 1 << 20);
    CHECK(at != NULL);
    at[(1 << 20) - 1] = 1;
    cmp_segment_close(&segment);
}

TEST(file_size_limit_is_an_error_and_no_signal)
{
    fresh();
    /* Room for one extent of 1 MiB, and then for 300 KiB. */
    struct rlimit limit = {segment.shm->head_bytes + (1 << 20) + (300 << 10), RLIM_INFINITY};
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &(struct rlimit){0}), 0);
    limit.rlim_max = limit.rlim_cur;
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_EQ(cmp_extent_add(&segment, 4096, 1, false), 0);
    CHECK_EQ(cmp_extent_add(&segment, 4096, 2, false), 0); /* smaller than it would like to be */
    CHECK_EQ(cmp_segment_extents(&segment)[2].size, 256 << 10);
    CHECK_EQ(cmp_extent_add(&segment, 100 << 10, 3, false), -ENOMEM);
    cmp_segment_close(&segment);
}

/* The sanitizers have memory of their own. */
#if !TEST_TSAN && !defined(__SANITIZE_ADDRESS__)
TEST(address_space_limit_is_an_error_and_smaller_extents_still_come)
{
    fresh();
    for (uint32_t i = 1; i <= 7; i++) CHECK_EQ(cmp_extent_add(&segment, 4096, i, false), 0); /* 64 MiB */
    char text[64] = {0};
    int fd = open("/proc/self/statm", O_RDONLY);
    CHECK(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    rlim_t now = strtoull(text, NULL, 10) * 4096;
    struct rlimit limit = {now + (20 << 20), now + (20 << 20)};
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQ(cmp_extent_add(&segment, UINT64_C(30) << 20, 8, false), -ENOMEM);
    CHECK_EQ(cmp_extent_add(&segment, 4096, 8, false), 0);
    CHECK_EQ(cmp_segment_extents(&segment)[8].size, 16 << 20);
    cmp_segment_close(&segment);
}

TEST(creation_touches_few_pages)
{
    struct rusage before, after;
    cmp_segment_create(&segment, 700, "cmp-test");
    cmp_segment_close(&segment);
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(cmp_segment_create(&segment, 700, "cmp-test"), 0);
        cmp_segment_close(&segment);
    }
    getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_minflt - before.ru_minflt <= 200);
}
#endif

TEST(reused_descriptor_number_is_noticed_and_left_alone)
{
    fresh();
    int other = open("/dev/null", O_RDWR);
    int kept = dup(segment.fd);
    CHECK_EQ(dup2(other, segment.fd), segment.fd); /* user code closed everything and opened something else */
    int reused = segment.fd;
    CHECK(!cmp_segment_owns_fd(&segment));
    CHECK_EQ(cmp_extent_add(&segment, 4096, 1, false), -EBADF);
    cmp_segment_close(&segment);
    CHECK(fcntl(reused, F_GETFD) >= 0);
    close(reused);
    close(other);
    close(kept);
}

TEST(mappings_are_left_out_of_core_dumps)
{
    fresh();
    CHECK_EQ(cmp_extent_add(&segment, 4096, 1, false), 0);
    char line[256];
    int found = 0, marked = 0;
    bool ours = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "memfd:cmp-test") != NULL) ours = true, found++;
        if (strncmp(line, "VmFlags:", 8) != 0) continue;
        if (ours && strstr(line, " dd") != NULL) marked++;
        ours = false;
    }
    fclose(maps);
    CHECK_EQ(found, 2);
    CHECK_EQ(marked, 2);
    cmp_segment_close(&segment);
}

#define GROWERS 4

static void grow_and_mark(int number, void *arg)
{
    struct cmp_segment *own = &segment, twin;
    if (arg != NULL) {
        CHECK_EQ(cmp_segment_twin(&twin, &segment), 0);
        own = &twin;
    }
    for (int i = 0; i < 20; i++) {
        uint32_t seen = cmp_extent_count(own);
        CHECK_EQ(cmp_extent_add(own, 4096, seen, false), 0);
        uint32_t count = cmp_extent_count(own);
        CHECK(count > seen);
        for (uint32_t e = 1; e < count; e++) {
            _Atomic uint32_t *word = bytes_at(own, CMP_REF(e, 64 * number), 4);
            CHECK(word != NULL);
            cmp_rmw(fetch_add, word, 1, relaxed, "test.mark");
        }
        if (count > 40) break;
    }
}

TEST(many_grow_at_once_and_all_see_the_same)
{
    fresh();
    test_together(GROWERS, TEST_TSAN, grow_and_mark, TEST_TSAN ? &segment : NULL);
    for (uint32_t e = 2; e < cmp_extent_count(&segment); e++) {
        const struct cmp_extent_shm *row = &cmp_segment_extents(&segment)[e];
        CHECK_EQ(row->offset, row[-1].offset + row[-1].size);
    }
    cmp_segment_close(&segment);
}
