/* For crash tests: a scenario is run once for every fault point there is, before and after the store, at its first and
 * some later passes; in each run one child is killed there, and the scenario looks at what is left.
 *
 *     static bool once(const struct crash *crash, void *arg)
 *     {
 *         ... set up ...
 *         bool killed = crash_child(crash, body, &scene);    the child that dies, if it comes that far
 *         ... the survivors go on, and everything is whole ...
 *         return killed;
 *     }
 *     TEST(somebody_killed_at_every_store) { crash_everywhere(once, NULL, 40); }
 *
 * Only in builds with CMP_FAULTS (make crash). */
#ifndef CMP_TESTS_CRASH_H
#define CMP_TESTS_CRASH_H

#include "runner.h"

#include "os/fault.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct crash {
    const char *name;
    enum cmp_fault_side side;
    unsigned count; /* passes that go by first */
};

struct crash_part {
    const struct crash *crash;
    void (*body)(void *);
    void *arg;
};

static inline void crash_run_armed(void *arg)
{
    struct crash_part *part = arg;
    CHECK_EQ(cmp_fault_arm(part->crash->name, part->crash->side, part->crash->count, SIGKILL), 0);
    part->body(part->arg);
    cmp_fault_disarm();
}

/* Runs body in a child with the point armed. Says whether it was killed; otherwise it has to have ended well. */
static inline bool crash_child(const struct crash *crash, void (*body)(void *), void *arg)
{
    struct crash_part part = {crash, body, arg};
    int status = test_reap(test_child(crash_run_armed, &part));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    if (status != 0) test_fail(__FILE__, __LINE__, "%s: child's status 0x%x", crash->name, (unsigned)status);
    return false;
}

/* How many runs found their point; at least at_least, or the test fails: a scenario that reaches nothing shows
 * nothing. CMP_CRASH=name:side:count runs that one only. */
static inline void crash_everywhere(bool (*once)(const struct crash *, void *), void *arg, int at_least)
{
    static const unsigned counts[] = {0, 1, 2, 5, 17, 60};
    const char *name, *only = getenv("CMP_CRASH");
    int kills = 0;
    for (size_t i = 0; (name = cmp_fault_name(i)) != NULL; i++) {
        bool seen = strncmp(name, "test.", 5) == 0;
        for (size_t k = 0; k < i && !seen; k++) seen = strcmp(name, cmp_fault_name(k)) == 0;
        for (int side = CMP_FAULT_BEFORE; side <= CMP_FAULT_AFTER && !seen; side++)
            for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
                struct crash crash = {name, (enum cmp_fault_side)side, counts[k]};
                char text[128];
                snprintf(text, sizeof text, "%s:%s:%u", name, side == CMP_FAULT_BEFORE ? "before" : "after", counts[k]);
                if (only != NULL && strcmp(only, text) != 0) continue;
                test_note(text);
                if (!once(&crash, arg)) break;
                kills++;
            }
    }
    test_note("");
    if (kills < at_least && only == NULL) test_fail(__FILE__, __LINE__, "only %d kills found their point", kills);
    if (getenv("CMP_TEST_VERBOSE") != NULL) fprintf(stderr, "%d kills found their point\n", kills);
}

#endif
