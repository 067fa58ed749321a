/* What the tests of blocks share: a segment of their own, and blocks of it. */
#ifndef CMP_TESTS_BLOCK_FIXTURE_H
#define CMP_TESTS_BLOCK_FIXTURE_H

#include "runner.h"

#include "shm/block.h"

#include <sys/stat.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

static struct cmp_segment segment;

static inline void fresh(void)
{
    CHECK_EQ(cmp_segment_create(&segment, 128, "cmp-test"), 0);
}

static inline void done(void)
{
    CHECK_EQ(cmp_block_check(&segment), 0);
    CHECK_EQ(cmp_block_use(&segment).busy_bytes, 0);
    cmp_segment_close(&segment);
}

static inline cmp_ref get(uint64_t size)
{
    cmp_ref block = 0;
    uint64_t warm;
    CHECK_EQ(cmp_block_alloc(&segment, size, false, &block, &warm), 0);
    return block;
}

static inline uint64_t pages_in_file(void)
{
    struct stat facts;
    CHECK_EQ(fstat(segment.fd, &facts), 0);
    return (uint64_t)facts.st_blocks * 512;
}

#endif
