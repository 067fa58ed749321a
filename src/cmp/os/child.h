/* Child: how a process learns of the end of a child of its own.
 *
 * Waiting and reaping are two steps. Waiting leaves the zombie alone, so that any number of threads may wait for one
 * child; who then reaps does so in one system call that never blocks. -ECHILD from either means that somebody else
 * has reaped it (a foreign wait(), or SIGCHLD ignored): it has ended, and its status is lost. */
#ifndef CMP_OS_CHILD_H
#define CMP_OS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Blocks until the child has ended. 0, -EINTR when a signal came, -ECHILD. */
int cmp_child_wait(pid_t pid);
/* The same until a moment of CLOCK_MONOTONIC, for who has no descriptor to wait with: it looks now and then, every 10
 * ms at last. -ETIMEDOUT. */
int cmp_child_watch(pid_t pid, int64_t deadline_ns);
/* Reaps it: 0 and the exit code (-n for signal n), -EAGAIN while it lives, -ECHILD. */
int cmp_child_reap(pid_t pid, int *exitcode);

/* Is it a child of ours that has ended and that nobody has reaped? Needs no descriptor. */
bool cmp_child_has_ended(pid_t pid);

#endif
