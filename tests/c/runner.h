/* Runner of the C tests: each TEST runs in a fork of its own, with a timeout, and has to leave the number of open
 * descriptors as it found it and no child behind. A test's name is a claim.
 *
 *     TEST(get_times_out_on_an_empty_queue) { CHECK_EQ(cmp_..., -ETIMEDOUT); }
 *
 * A program takes names (or parts of names) of tests as arguments; none means all. */
#ifndef CMP_TESTS_RUNNER_H
#define CMP_TESTS_RUNNER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

void test_register(struct test *test);

#define TEST(claim)                                                                \
    static void claim(void);                                                       \
    __attribute__((constructor)) static void register_##claim(void)               \
    {                                                                              \
        static struct test test_ = {#claim, claim, NULL};                          \
        test_register(&test_);                                                     \
    }                                                                              \
    static void claim(void)

/* Ends the test, in whichever process or thread of it. */
__attribute__((noreturn, format(printf, 3, 4))) void test_fail(const char *file, int line, const char *format, ...);

/* What the test is at, for the message of a CHECK that fails from here on. */
void test_note(const char *text);

#define CHECK(fact)                                                            \
    do {                                                                       \
        if (!(fact)) test_fail(__FILE__, __LINE__, "not so: %s", #fact);       \
    } while (0)

#define CHECK_EQ(is, wanted)                                                                               \
    do {                                                                                                   \
        long long is_ = (long long)(is), wanted_ = (long long)(wanted);                                    \
        if (is_ != wanted_) test_fail(__FILE__, __LINE__, "%s is %lld, not %s = %lld", #is, is_, #wanted, wanted_); \
    } while (0)

/* A child process that runs body(arg) and ends with 0, or 1 if a CHECK in it fails. */
pid_t test_child(void (*body)(void *), void *arg);
/* Waits for a child; its wait status. */
int test_reap(pid_t pid);
/* The same, and it has to have ended with 0. */
void test_join(pid_t pid);
/* Kills a child with SIGKILL and reaps it. */
void test_kill(pid_t pid);

/* Runs n bodies at once, body(i, arg), as processes or (`threads`) as threads, and waits for all of them to end
 * well. TSan sees threads only. */
void test_together(int n, bool threads, void (*body)(int, void *), void *arg);

/* Polls until the fact holds (the runner's timeout ends it otherwise). */
#define WAIT_FOR(fact)                      \
    do {                                    \
        while (!(fact)) test_pause();       \
    } while (0)
void test_pause(void);

/* Zeroed pages shared with children, for what a test itself counts. Freed with the process. */
void *test_shared(size_t size);

/* Under TSan: prefer threads, and smaller numbers. */
#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

#endif
