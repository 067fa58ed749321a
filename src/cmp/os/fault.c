#include "os/fault.h"

/* An empty translation unit is not C, so a build without fault points keeps this. */
typedef int cmp_fault_points_are_off;

#ifdef CMP_FAULTS

#include "os/atomics.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The linker gathers every point of every file between these two. Weak, so that a program without a single point
 * links too; hidden, so that two modules in one process keep their own lists. */
extern const struct cmp_fault_point __start_cmp_faults[] __attribute__((weak, visibility("hidden")));
extern const struct cmp_fault_point __stop_cmp_faults[] __attribute__((weak, visibility("hidden")));

enum { UNREAD, OFF, ARMED, COUNTING };

/* Written by one thread before those that pass exist (arm, or the first pass); `left` counts down under many. */
static struct {
    _Atomic int state;
    enum cmp_fault_side side;
    int signal_number;
    _Atomic int left;
    char name[64];
    pid_t only;          /* ARMED, COUNTING: 0, or the one process that is meant */
    _Atomic unsigned *counters; /* COUNTING */
} armed;

const char *cmp_fault_name(size_t i)
{
    size_t n = (size_t)(__stop_cmp_faults - __start_cmp_faults);
    return i < n ? __start_cmp_faults[i].name : NULL;
}

static int known(const char *name)
{
    const char *other;
    for (size_t i = 0; (other = cmp_fault_name(i)) != NULL; i++)
        if (strcmp(name, other) == 0) return 1;
    return 0;
}

int cmp_fault_arm(const char *name, enum cmp_fault_side side, unsigned count, int signal_number)
{
    if (!known(name) || strlen(name) >= sizeof armed.name) return -ENOENT;
    strcpy(armed.name, name);
    armed.side = side;
    armed.signal_number = signal_number;
    armed.only = 0;
    cmp_private_store(&armed.left, (int)count, relaxed);
    cmp_private_store(&armed.state, ARMED, release);
    return 0;
}

int cmp_fault_arm_me(const char *name, enum cmp_fault_side side, unsigned count, int signal_number)
{
    int code = cmp_fault_arm(name, side, count, signal_number);
    if (code == 0) armed.only = getpid();
    return code;
}

void cmp_fault_count(_Atomic unsigned *counters)
{
    armed.counters = counters;
    armed.only = getpid();
    cmp_private_store(&armed.state, COUNTING, release);
}

void cmp_fault_disarm(void)
{
    cmp_private_store(&armed.state, OFF, release);
}

/* CMP_FAULT=name:before|after:count, once per process tree. Anything else, or a name that does not exist, leaves
 * the process unarmed. */
static void read_environment(void)
{
    char text[128], *rest = NULL;
    const char *value = getenv("CMP_FAULT");
    cmp_fault_disarm();
    if (value == NULL || strlen(value) >= sizeof text) return;
    strcpy(text, value);
    char *name = strtok_r(text, ":", &rest), *side = strtok_r(NULL, ":", &rest), *count = strtok_r(NULL, ":", &rest);
    if (name == NULL || side == NULL || count == NULL) return;
    (void)cmp_fault_arm(name, strcmp(side, "after") == 0 ? CMP_FAULT_AFTER : CMP_FAULT_BEFORE,
                        (unsigned)strtoul(count, NULL, 10), SIGKILL);
}

void cmp_fault_pass(const struct cmp_fault_point *point, enum cmp_fault_side side)
{
    int state = cmp_load(&armed.state, acquire);
    if (state == OFF) return;
    if (state == UNREAD) {
        read_environment();
        state = cmp_load(&armed.state, relaxed);
        if (state != ARMED) return;
    }
    if (armed.only != 0 && armed.only != getpid()) return;
    if (state == COUNTING) {
        if (side == CMP_FAULT_BEFORE || strncmp(point->name, "mutex.locked", 12) == 0)
            cmp_private_rmw(fetch_add, &armed.counters[point - __start_cmp_faults], 1, relaxed);
        return;
    }
    if (side != armed.side || strcmp(point->name, armed.name) != 0) return;
    if (cmp_private_rmw(fetch_sub, &armed.left, 1, relaxed) != 0) return;
    /* The system call itself: kill() is one too, but a build may interpose it. */
    (void)syscall(SYS_kill, getpid(), armed.signal_number);
}

#endif
