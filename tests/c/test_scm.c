/* Descriptors over a socket pair: they arrive, close-on-exec, exactly as many as asked for, and none leaks. */
#include "os/scm.h"
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_pair(int ends[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
}

static void close_both(int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

TEST(two_descriptors_arrive_in_order_and_close_on_exec)
{
    int ends[2], sent[2], got[2] = {-1, -1};
    make_pair(ends);
    CHECK_EQ(pipe(sent), 0);
    CHECK_EQ(cmp_scm_send(ends[0], sent, 2), 0);
    CHECK_EQ(cmp_scm_receive(ends[1], got, 2), 0);
    for (int i = 0; i < 2; i++) {
        struct stat a, b;
        CHECK_EQ(fstat(sent[i], &a) | fstat(got[i], &b), 0);
        CHECK_EQ(a.st_ino, b.st_ino);
        CHECK_EQ(fcntl(got[i], F_GETFD), FD_CLOEXEC);
    }
    CHECK_EQ(write(got[1], "x", 1), 1);
    char byte = 0;
    CHECK_EQ(read(sent[0], &byte, 1), 1);
    CHECK_EQ(byte, 'x');
    close_both(sent);
    close_both(got);
    close_both(ends);
}

TEST(a_wrong_number_of_descriptors_is_refused_and_closed)
{
    int ends[2], sent[2], got[1] = {-1};
    make_pair(ends);
    CHECK_EQ(pipe(sent), 0);
    CHECK_EQ(cmp_scm_send(ends[0], sent, 2), 0);
    CHECK_EQ(cmp_scm_receive(ends[1], got, 1), -EPROTO);
    CHECK_EQ(got[0], -1);
    close_both(sent);
    close_both(ends);
}

TEST(bytes_without_descriptors_are_refused)
{
    int ends[2], got[1] = {-1};
    make_pair(ends);
    CHECK_EQ(write(ends[0], "D", 1), 1);
    CHECK_EQ(cmp_scm_receive(ends[1], got, 1), -EPROTO);
    close_both(ends);
}

TEST(a_closed_peer_is_epipe_on_both_ends)
{
    int ends[2], got[1] = {-1};
    make_pair(ends);
    close(ends[0]);
    CHECK_EQ(cmp_scm_receive(ends[1], got, 1), -EPIPE);
    CHECK_EQ(cmp_scm_send(ends[1], ends + 1, 1), -EPIPE);
    close(ends[1]);
}

TEST(errno_stays_as_it_was)
{
    int ends[2], got[1] = {-1};
    make_pair(ends);
    close(ends[0]);
    errno = ENXIO;
    CHECK_EQ(cmp_scm_send(ends[1], ends + 1, 1), -EPIPE);
    CHECK_EQ(errno, ENXIO);
    CHECK_EQ(cmp_scm_receive(-1, got, 1), -EBADF);
    CHECK_EQ(errno, ENXIO);
    close(ends[1]);
}

TEST(counts_out_of_range_are_refused)
{
    int fds[CMP_SCM_MOST + 1] = {0};
    CHECK_EQ(cmp_scm_send(0, fds, 0), -EINVAL);
    CHECK_EQ(cmp_scm_send(0, fds, CMP_SCM_MOST + 1), -EINVAL);
    CHECK_EQ(cmp_scm_receive(0, fds, CMP_SCM_MOST + 1), -EINVAL);
}
