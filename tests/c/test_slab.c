#include "runner.h"

#include "os/memfd.h"
#include "shm/lockword.h"
#include "shm/slab.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

TEST(slab_gives_each_cell_once_until_none_is_left)
{
    struct cmp_slab slab;
    uint32_t index = 0, last = 0;
    int code;
    CHECK_EQ(cmp_slab_create(&slab), 0);
    while ((code = cmp_slab_claim(&slab, &index)) == 0) CHECK_EQ(index, ++last);
    CHECK_EQ(code, -ENOSPC);
    CHECK(last > 200);
    CHECK_EQ(cmp_slab_claim(&slab, &index), -ENOSPC);
    cmp_slab_close(&slab);
}

TEST(cell_is_the_same_through_another_descriptor)
{
    struct cmp_slab slab, other;
    struct cmp_cell mine, theirs;
    uint32_t index;
    CHECK_EQ(cmp_slab_create(&slab), 0);
    CHECK_EQ(cmp_slab_claim(&slab, &index), 0);
    CHECK_EQ(cmp_cell_create_at(&mine, &slab, index, CMP_CELL_LOCK, 1), 0);
    CHECK_EQ(cmp_slab_attach(&other, dup(slab.fd)), 0);
    CHECK(fcntl(other.fd, F_GETFD) & FD_CLOEXEC);
    CHECK_EQ(cmp_cell_attach(&theirs, &other, index, CMP_CELL_RLOCK), -EPROTO);
    CHECK_EQ(cmp_cell_attach(&theirs, &other, index + 1, CMP_CELL_LOCK), -EPROTO);
    CHECK_EQ(cmp_cell_attach(&theirs, &other, 0, CMP_CELL_SLAB), -EPROTO);
    CHECK_EQ(cmp_cell_attach(&theirs, &other, 1u << 20, CMP_CELL_LOCK), -EPROTO);
    CHECK_EQ(cmp_cell_attach(&theirs, &other, index, CMP_CELL_LOCK), 0);
    struct cmp_lock_take take = {.cell = &mine};
    CHECK_EQ(cmp_lockword_take(&take, 0), 0);
    CHECK_EQ(cmp_lockword_owner(&theirs), take.me);
    cmp_cell_close(&theirs, false);
    cmp_cell_close(&mine, true);
    cmp_slab_close(&other);
    cmp_slab_close(&slab);
}

TEST(file_that_might_shrink_is_refused)
{
    struct cmp_slab slab, other;
    char page[CMP_CELL_BYTES];
    int fd;
    CHECK_EQ(cmp_slab_create(&slab), 0);
    CHECK_EQ(cmp_memfd_create("test", &fd), 0);
    CHECK_EQ(cmp_memfd_grow(fd, 256 * CMP_CELL_BYTES), 0);
    /* In all else it is one. */
    CHECK_EQ(pread(slab.fd, page, sizeof page, 0), (ssize_t)sizeof page);
    CHECK_EQ(pwrite(fd, page, sizeof page, 0), (ssize_t)sizeof page);
    errno = ENXIO;
    CHECK_EQ(cmp_slab_attach(&other, fd), -EPROTO);
    CHECK_EQ(errno, ENXIO);
    CHECK_EQ(cmp_memfd_seal(fd), 0);
    CHECK_EQ(cmp_slab_attach(&other, fd), 0);
    cmp_slab_close(&other);
    cmp_slab_close(&slab);
}

TEST(file_that_is_no_slab_is_refused)
{
    struct cmp_slab slab;
    int fd;
    CHECK_EQ(cmp_memfd_create("test", &fd), 0);
    CHECK_EQ(cmp_slab_attach(&slab, fd), -EPROTO); /* too short, and may yet shrink */
    CHECK_EQ(cmp_memfd_grow(fd, 256 * CMP_CELL_BYTES), 0);
    CHECK_EQ(cmp_memfd_seal(fd), 0);
    CHECK_EQ(cmp_slab_attach(&slab, fd), -EPROTO); /* all zeros */
    close(fd);
}

TEST(descriptor_number_that_others_reused_is_not_closed)
{
    struct cmp_slab slab;
    CHECK_EQ(cmp_slab_create(&slab), 0);
    CHECK_EQ(cmp_slab_check_fd(&slab), 0);
    int number = slab.fd;
    close(number);
    CHECK_EQ(cmp_slab_check_fd(&slab), -EBADF);
    int null = open("/dev/null", O_RDONLY);
    CHECK_EQ(null, number);
    CHECK_EQ(cmp_slab_check_fd(&slab), -EBADF);
    cmp_slab_close(&slab);
    CHECK(fcntl(null, F_GETFD) >= 0);
    close(null);
}

TEST(closing_gives_the_member_slot_back_unless_it_owns)
{
    struct cmp_slab slab;
    struct cmp_cell cell;
    uint32_t index;
    CHECK_EQ(cmp_slab_create(&slab), 0);
    CHECK_EQ(cmp_slab_claim(&slab, &index), 0);
    CHECK_EQ(cmp_cell_create_at(&cell, &slab, index, CMP_CELL_LOCK, 1), 0);
    struct cmp_cell_shm *shm = cell.shm;
    cmp_owner me = cmp_members_me(&cell.members);
    cmp_cell_close(&cell, true);
    CHECK_EQ(cmp_load(&shm->members.slots[0].generation, relaxed), (uint32_t)me);
    CHECK_EQ(cmp_cell_attach(&cell, &slab, index, CMP_CELL_LOCK), 0);
    CHECK_EQ(cmp_members_me(&cell.members) >> 32, 2);
    cmp_cell_close(&cell, false);
    CHECK_EQ(cmp_load(&shm->members.slots[1].who, relaxed), 0);
    cmp_slab_close(&slab);
}
