/* Sigmask: a helper thread that takes no signals.
 *
 * A signal to the process is for the main thread, which runs the handlers, and which it has to wake from its sleep. But
 * the kernel lets any thread have it that forks, or changes its mask, between its arrival and the moment the main
 * thread gets to run (it then looks anew at what is pending for the process): Ctrl-C, which ends idle workers too and
 * so has them replaced just then, would be noticed whenever the main thread next wakes by itself. */
#ifndef CMP_OS_SIGMASK_H
#define CMP_OS_SIGMASK_H

#include <stdbool.h>

/* This thread takes no signals from now on but those it causes itself (SIGSEGV and its like). False: nor has it
 * before. */
bool cmp_sigmask_block(void);
/* What somebody has let in again in a thread that blocks them is blocked anew. */
void cmp_sigmask_renew(void);
/* It takes those again that it took before; nothing where none were blocked. Also for a child that such a thread has
 * forked. Async-signal-safe. */
void cmp_sigmask_unblock(void);
/* While this is on, children that this thread forks begin with all signals blocked, until they call
 * cmp_sigmask_unblock(): what is sent to them before they are ready for it comes then. */
void cmp_sigmask_hold_at_fork(bool hold);
/* For a process that was started by way of a new program: if that began with the mask of a helper thread, nothing is
 * blocked from now on. What such a thread had let in again for a moment does not matter. */
void cmp_sigmask_open(void);

#endif
