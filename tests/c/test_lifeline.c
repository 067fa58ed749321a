/* The lifeline: who is armed ends with its parent process, and with nothing less. */
#include "os/lifeline.h"
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct family {
    int said[2];  /* what the armed one says */
    int asked[2]; /* what it is asked */
    int told[2];  /* what the parent tells the test */
    pid_t armed;  /* in shared memory */
    pid_t thread; /* or whoever else the test needs */
    int code;
};

static struct family *make_family(void)
{
    struct family *family = test_shared(sizeof *family);
    CHECK_EQ(pipe2(family->said, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(family->asked, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(family->told, O_CLOEXEC), 0);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0); /* orphans become this process's children: it reaps them */
    return family;
}

static void end_family(struct family *family)
{
    for (int i = 0; i < 2; i++) {
        close(family->said[i]);
        close(family->asked[i]);
        close(family->told[i]);
    }
}

static void echo(struct family *family)
{
    char byte;
    while (read(family->asked[0], &byte, 1) == 1) CHECK_EQ(write(family->said[1], &byte, 1), 1);
}

static void expect_echo(struct family *family)
{
    char byte = 'a';
    CHECK_EQ(write(family->asked[1], &byte, 1), 1);
    byte = 0;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    CHECK_EQ(byte, 'a');
}

/* TSan delivers a signal only when the process comes to a call that it knows. */
#define SIGNALS_COME_AT_ONCE (!TEST_TSAN)

static void parent_of_a_busy_one(void *arg)
{
    struct family *family = arg;
    pid_t parent = getpid();
    if (fork() == 0) {
        family->armed = getpid();
        CHECK_EQ(cmp_lifeline_arm(parent), 0);
        CHECK_EQ(write(family->said[1], "r", 1), 1);
        for (;;) continue; /* no system call to interrupt */
    }
    for (;;) pause();
}

TEST(it_ends_with_a_killed_parent_even_in_an_endless_loop)
{
    if (!SIGNALS_COME_AT_ONCE) return;
    struct family *family = make_family();
    pid_t parent = test_child(parent_of_a_busy_one, family);
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    test_kill(parent);
    int status = test_reap(family->armed);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), CMP_LIFELINE_STATUS);
    end_family(family);
}

static char left[64], left_in[64];

static void parent_of_one_that_leaves_files(void *arg)
{
    struct family *family = arg;
    pid_t parent = getpid();
    if (fork() == 0) {
        family->armed = getpid();
        CHECK_EQ(cmp_lifeline_arm(parent), 0);
        CHECK_EQ(cmp_lifeline_remove(left, left_in), 0);
        if (fork() == 0) _exit(raise(SIGURG)); /* has inherited the handler, and is not who was armed */
        (void)wait(NULL);
        CHECK_EQ(access(left, F_OK), 0);
        CHECK_EQ(write(family->said[1], "r", 1), 1);
        for (;;) pause();
    }
    for (;;) pause();
}

TEST(it_takes_its_file_and_folder_along)
{
    if (!SIGNALS_COME_AT_ONCE) return;
    strcpy(left_in, "/tmp/cmp-test-XXXXXX");
    CHECK(mkdtemp(left_in) != NULL);
    snprintf(left, sizeof left, "%s/socket", left_in);
    close(open(left, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    struct family *family = make_family();
    pid_t parent = test_child(parent_of_one_that_leaves_files, family);
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    test_kill(parent);
    (void)test_reap(family->armed);
    CHECK_EQ(access(left_in, F_OK), -1);
    end_family(family);
}

TEST(path_that_is_too_long_is_refused)
{
    char path[PATH_MAX + 1];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    CHECK_EQ(cmp_lifeline_remove(path, NULL), -ENAMETOOLONG);
    CHECK_EQ(cmp_lifeline_remove("/x", path), -ENAMETOOLONG);
}

static void *fork_and_end(void *arg)
{
    struct family *family = arg;
    pid_t parent = getpid();
    family->thread = (pid_t)syscall(SYS_gettid);
    if (fork() == 0) {
        family->armed = getpid();
        CHECK_EQ(cmp_lifeline_arm(parent), 0);
        CHECK_EQ(write(family->said[1], "r", 1), 1);
        echo(family);
        _exit(0);
    }
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    return NULL;
}

static bool thread_is_there(pid_t thread)
{
    return syscall(SYS_tgkill, getpid(), thread, 0) == 0;
}

static void parent_whose_thread_ends(void *arg)
{
    struct family *family = arg;
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, fork_and_end, family), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    WAIT_FOR(!thread_is_there(family->thread)); /* its children hear of its end before this */
    expect_echo(family);
    CHECK_EQ(write(family->told[1], "t", 1), 1);
    for (;;) pause();
}

TEST(it_survives_the_forking_thread_and_still_ends_with_the_process)
{
    if (!SIGNALS_COME_AT_ONCE) return;
    struct family *family = make_family();
    pid_t parent = test_child(parent_whose_thread_ends, family);
    char byte;
    CHECK_EQ(read(family->told[0], &byte, 1), 1);
    test_kill(parent);
    int status = test_reap(family->armed);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), CMP_LIFELINE_STATUS);
    end_family(family);
}

/* Ended, and perhaps not yet reaped. */
static bool has_ended(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return true;
    char *line = fgets(text, sizeof text, file);
    fclose(file);
    const char *at = line == NULL ? NULL : strrchr(text, ')');
    return at == NULL || at[2] == 'Z' || at[2] == 'X';
}

static void middleman(void *arg)
{
    struct family *family = arg;
    pid_t parent = family->thread; /* the pid of the one to end with */
    if (fork() == 0) {
        family->armed = getpid();
        close(family->told[1]);
        CHECK_EQ(cmp_lifeline_arm_by_pipe(parent, family->told[0]), 0);
        CHECK_EQ(write(family->said[1], "r", 1), 1);
        for (;;) continue;
    }
    for (;;) pause();
}

static void parent_of_nobody(void *arg)
{
    (void)arg;
    for (;;) pause(); /* holds the write end */
}

TEST(a_process_of_other_parentage_ends_with_the_holder_of_the_pipe)
{
    if (!SIGNALS_COME_AT_ONCE) return;
    struct family *family = make_family();
    family->thread = test_child(parent_of_nobody, family);
    close(family->told[1]);
    family->told[1] = dup(family->told[0]); /* something for the end of this test to close */
    pid_t server = test_child(middleman, family);
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    test_kill(family->thread);
    WAIT_FOR(has_ended(family->armed));
    test_kill(server);
    int status = test_reap(family->armed);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), CMP_LIFELINE_STATUS);
    end_family(family);
}

TEST(a_process_of_other_parentage_ends_with_who_forked_it)
{
    if (!SIGNALS_COME_AT_ONCE) return;
    struct family *family = make_family();
    family->thread = test_child(parent_of_nobody, family);
    close(family->told[1]);
    family->told[1] = dup(family->told[0]);
    pid_t server = test_child(middleman, family);
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    test_kill(server);
    int status = test_reap(family->armed);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), CMP_LIFELINE_STATUS);
    test_kill(family->thread);
    end_family(family);
}

static void arm_and_fork(void *arg)
{
    struct family *family = arg;
    pid_t us = getpid();
    CHECK_EQ(cmp_lifeline_arm_by_pipe(family->thread, family->told[0]), 0);
    if (fork() == 0) {
        family->armed = getpid();
        CHECK_EQ(cmp_lifeline_arm(us), 0);
        for (;;) {
            CHECK_EQ(write(family->said[1], "r", 1), 1);
            pause(); /* until a signal */
        }
    }
    for (;;) pause();
}

TEST(a_fork_of_one_of_other_parentage_ends_with_its_own_parent_only)
{
    if (!SIGNALS_COME_AT_ONCE) return;
    struct family *family = make_family(); /* this process holds the write end, too, so nobody is told */
    family->thread = test_child(parent_of_nobody, family);
    pid_t parent = test_child(arm_and_fork, family);
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    kill(family->thread, SIGKILL);
    WAIT_FOR(has_ended(family->thread));
    kill(family->armed, SIGURG);
    struct pollfd said = {.fd = family->said[0], .events = POLLIN};
    WAIT_FOR(poll(&said, 1, 0) == 1 || has_ended(family->armed));
    CHECK(!has_ended(family->armed));
    test_kill(parent);
    test_reap(family->armed);
    test_reap(family->thread);
    end_family(family);
}

static void server_that_ends_at_once(void *arg)
{
    struct family *family = arg;
    cmp_lifeline_serve();
    pid_t us = getpid();
    if (fork() == 0) {
        family->armed = getpid();
        WAIT_FOR(getppid() != us);
        family->code = cmp_lifeline_arm_by_pipe(family->thread, family->told[0]);
        CHECK_EQ(write(family->said[1], "r", 1), 1);
    }
}

TEST(a_server_that_is_gone_already_is_said_so)
{
    struct family *family = make_family();
    family->thread = test_child(parent_of_nobody, family);
    test_join(test_child(server_that_ends_at_once, family));
    char byte;
    CHECK_EQ(read(family->said[0], &byte, 1), 1);
    (void)test_reap(family->armed);
    CHECK_EQ(family->code, -ESRCH);
    test_kill(family->thread);
    end_family(family);
}

static void believes_a_stranger(void *arg)
{
    ((struct family *)arg)->code = cmp_lifeline_arm(getpid());
}

TEST(a_parent_that_is_gone_already_is_said_so)
{
    struct family *family = make_family();
    test_join(test_child(believes_a_stranger, family));
    CHECK_EQ(family->code, -ESRCH);
    end_family(family);
}

static void nothing(int number)
{
    (void)number;
}

TEST(a_signal_that_the_program_uses_is_left_alone)
{
    struct sigaction own = {.sa_handler = nothing}, after;
    CHECK_EQ(sigaction(SIGURG, &own, NULL), 0);
    CHECK_EQ(sigaction(SIGRTMAX, &own, NULL), 0);
    CHECK_EQ(cmp_lifeline_arm(getppid()), 0);
    CHECK_EQ(sigaction(SIGURG, NULL, &after), 0);
    CHECK(after.sa_handler == nothing);
    CHECK_EQ(sigaction(SIGRTMAX, NULL, &after), 0);
    CHECK(after.sa_handler == nothing);
}

TEST(a_program_with_handlers_everywhere_is_told)
{
    struct sigaction own = {.sa_handler = nothing};
    CHECK_EQ(sigaction(SIGURG, &own, NULL), 0);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) CHECK_EQ(sigaction(number, &own, NULL), 0);
    CHECK_EQ(cmp_lifeline_arm(getppid()), -EBUSY);
}
