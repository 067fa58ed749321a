#include "os/sigmask.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

/* Of each thread; a forked child has the forking thread's. */
static _Thread_local bool blocked;
static _Thread_local sigset_t before;

static void fill(sigset_t *all)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigfillset(all);
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++) sigdelset(all, own[i]);
}

void cmp_sigmask_block(void)
{
    sigset_t all;
    fill(&all);
    if (!blocked) blocked = pthread_sigmask(SIG_BLOCK, &all, &before) == 0;
}

void cmp_sigmask_unblock(void)
{
    if (blocked) (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    blocked = false;
}

void cmp_sigmask_open(void)
{
    sigset_t all, now, none;
    fill(&all);
    if (pthread_sigmask(SIG_BLOCK, NULL, &now) != 0) return;
    /* No program blocks them all for its children. */
    for (int number = 1; number < SIGSYS; number++)
        if (number != SIGKILL && number != SIGSTOP && sigismember(&all, number) == 1 && sigismember(&now, number) != 1) return;
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}
