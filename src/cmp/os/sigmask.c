#include "os/sigmask.h"

#include <signal.h>
#include <stdbool.h>

/* Of each thread; a forked child has the forking thread's. */
static _Thread_local bool blocked;
static _Thread_local sigset_t before;

void cmp_sigmask_block(void)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t all;
    sigfillset(&all);
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) sigdelset(&all, own[i]);
    if (!blocked) blocked = pthread_sigmask(SIG_BLOCK, &all, &before) == 0;
}

void cmp_sigmask_unblock(void)
{
    if (blocked) (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    blocked = false;
}
