#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Far beyond what any test needs; CMP_TEST_TIMEOUT (seconds) stretches it for slow tools. */
#define TIMEOUT_S 30

static struct test *first, **last = &first;
static const char *running = "?";
static char note[160];

void test_register(struct test *test)
{
    *last = test;
    last = &test->next;
}

void test_fail(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s:%d: %s (pid %d)%s%s: %s\n", file, line, running, (int)getpid(), note[0] ? " at " : "", note,
            text);
    _exit(1);
}

void test_note(const char *text)
{
    snprintf(note, sizeof note, "%s", text);
}

pid_t test_child(void (*body)(void *), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) return pid;
    body(arg);
    _exit(0);
}

int test_reap(pid_t pid)
{
    int status;
    pid_t reaped;
    do reaped = waitpid(pid, &status, 0);
    while (reaped < 0 && errno == EINTR);
    CHECK_EQ(reaped, pid);
    return status;
}

void test_join(pid_t pid)
{
    int status = test_reap(pid);
    if (status != 0) test_fail(__FILE__, __LINE__, "child %d ended with status 0x%x", (int)pid, (unsigned)status);
}

void test_kill(pid_t pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
    (void)test_reap(pid);
}

struct part {
    void (*body)(int, void *);
    void *arg;
    int number;
};

static void run_part(void *arg)
{
    struct part *part = arg;
    part->body(part->number, part->arg);
}

static void *run_thread(void *arg)
{
    run_part(arg);
    return NULL;
}

void test_together(int n, bool threads, void (*body)(int, void *), void *arg)
{
    struct part parts[64];
    pthread_t thread[64];
    pid_t pid[64];
    CHECK(n <= 64);
    for (int i = 0; i < n; i++) {
        parts[i] = (struct part){body, arg, i};
        if (threads) CHECK_EQ(pthread_create(&thread[i], NULL, run_thread, &parts[i]), 0);
        else pid[i] = test_child(run_part, &parts[i]);
    }
    for (int i = 0; i < n; i++) {
        if (threads) CHECK_EQ(pthread_join(thread[i], NULL), 0);
        else test_join(pid[i]);
    }
}

void test_pause(void)
{
    struct timespec moment = {.tv_nsec = 200000};
    nanosleep(&moment, NULL);
}

void *test_shared(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(pages != MAP_FAILED);
    return pages;
}

static int count_descriptors(void)
{
    int n = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder) != NULL) n++;
    closedir(folder);
    return n;
}

static void run_one(const struct test *test)
{
    int before = count_descriptors();
    test->run();
    CHECK_EQ(count_descriptors(), before);
    /* waitpid with no child at all says ECHILD. */
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    exit(0); /* not _exit: the sanitizers look for leaks here */
}

/* 0 if the test did well. */
static int supervise(const struct test *test)
{
    const char *stretched = getenv("CMP_TEST_TIMEOUT");
    struct timespec limit = {.tv_sec = stretched != NULL ? atoi(stretched) : TIMEOUT_S};
    sigset_t child;
    int status = -1;
    running = test->name;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        sigprocmask(SIG_UNBLOCK, &child, NULL);
        run_one(test);
    }
    setpgid(pid, pid);
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (sigtimedwait(&child, NULL, &limit) >= 0 || errno != EAGAIN) continue;
        fprintf(stderr, "%s: no end within %ld s\n", test->name, (long)limit.tv_sec);
        kill(-pid, SIGKILL);
        waitpid(pid, &status, 0);
        break;
    }
    kill(-pid, SIGKILL); /* whom a failed test left behind */
    if (status != 0) fprintf(stderr, "FAILED %s (status 0x%x)\n", test->name, (unsigned)status);
    return status != 0;
}

static bool asked_for(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]) != NULL) return true;
    return argc == 1;
}

int main(int argc, char **argv)
{
    int ran = 0, failed = 0;
    const char *program = strrchr(argv[0], '/');
    program = program == NULL ? argv[0] : program + 1;
    for (const struct test *test = first; test != NULL; test = test->next) {
        if (!asked_for(test->name, argc, argv)) continue;
        ran++;
        failed += supervise(test);
    }
    printf("%-24s %3d tests, %d failed\n", program, ran, failed);
    return failed != 0 || ran == 0;
}
