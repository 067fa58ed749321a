/* A child's end, by waitid and by pidfd. */
#include "os/child.h"
#include "os/clock.h"
#include "os/pidfd.h"
#include "runner.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end_with_three(void *arg)
{
    (void)arg;
    _exit(3);
}

static void never_end(void *arg)
{
    (void)arg;
    for (;;) pause();
}

TEST(waiting_leaves_the_child_to_be_reaped)
{
    int exitcode = -1;
    pid_t child = test_child(end_with_three, NULL);
    CHECK_EQ(cmp_child_wait(child), 0);
    CHECK_EQ(cmp_child_wait(child), 0);
    CHECK_EQ(cmp_child_reap(child, &exitcode), 0);
    CHECK_EQ(exitcode, 3);
}

TEST(a_living_child_is_not_reaped)
{
    int exitcode = -1;
    pid_t child = test_child(never_end, NULL);
    CHECK_EQ(cmp_child_reap(child, &exitcode), -EAGAIN);
    CHECK_EQ(exitcode, -1);
    test_kill(child);
}

TEST(a_signal_is_a_negative_exit_code)
{
    int exitcode = 0;
    pid_t child = test_child(never_end, NULL);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(cmp_child_wait(child), 0);
    CHECK_EQ(cmp_child_reap(child, &exitcode), 0);
    CHECK_EQ(exitcode, -SIGKILL);
}

TEST(who_was_reaped_elsewhere_is_said_so)
{
    int exitcode = -1;
    pid_t child = test_child(end_with_three, NULL);
    (void)test_reap(child);
    CHECK_EQ(cmp_child_wait(child), -ECHILD);
    CHECK_EQ(cmp_child_reap(child, &exitcode), -ECHILD);
    CHECK_EQ(exitcode, -1);
}

TEST(a_pidfd_says_when_a_child_has_ended)
{
    int fd = -1;
    pid_t child = test_child(never_end, NULL);
    CHECK_EQ(cmp_pidfd_open(child, &fd), 0);
    CHECK(!cmp_pidfd_dead(fd));
    CHECK_EQ(cmp_pidfd_wait(fd, cmp_now_ns() + 2 * CMP_MS), -ETIMEDOUT);
    CHECK_EQ(cmp_pidfd_wait(fd, 0), -ETIMEDOUT);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(cmp_pidfd_wait(fd, INT64_MAX), 0);
    CHECK(cmp_pidfd_dead(fd)); /* a zombie is dead */
    (void)test_reap(child);
    CHECK(cmp_pidfd_dead(fd));
    close(fd);
}

TEST(a_pidfd_of_nobody_is_refused)
{
    int fd = -1;
    pid_t child = test_child(end_with_three, NULL);
    (void)test_reap(child);
    CHECK_EQ(cmp_pidfd_open(child, &fd), -ESRCH);
    CHECK_EQ(fd, -1);
}

TEST(a_closed_descriptor_is_no_end)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    close(ends[0]);
    close(ends[1]);
    CHECK_EQ(cmp_pidfd_wait(ends[0], INT64_MAX), -EBADF);
}

TEST(whether_a_child_has_ended_is_seen_without_reaping_it)
{
    int exitcode = -1;
    pid_t living = test_child(never_end, NULL), ended = test_child(end_with_three, NULL);
    CHECK_EQ(cmp_child_wait(ended), 0);
    CHECK(cmp_child_has_ended(ended));
    CHECK(!cmp_child_has_ended(living));
    CHECK(!cmp_child_has_ended(getpid()));
    CHECK_EQ(cmp_child_reap(ended, &exitcode), 0);
    CHECK_EQ(exitcode, 3);
    CHECK(!cmp_child_has_ended(ended));
    test_kill(living);
}
