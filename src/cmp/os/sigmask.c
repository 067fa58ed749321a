#include "os/sigmask.h"

#include <pthread.h>
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

bool cmp_sigmask_block(void)
{
    sigset_t all;
    if (blocked) return false;
    fill(&all);
    return blocked = pthread_sigmask(SIG_BLOCK, &all, &before) == 0;
}

void cmp_sigmask_renew(void)
{
    sigset_t all;
    fill(&all);
    if (blocked) (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
}

void cmp_sigmask_unblock(void)
{
    if (blocked) (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    blocked = false;
}

/* Of the thread that forks: what the handlers below are to do, and what they have done. */
static _Thread_local bool holding, held;

static void before_fork(void)
{
    if (holding) held = cmp_sigmask_block();
}

static void after_fork_in_parent(void)
{
    if (held) cmp_sigmask_unblock();
    held = false;
}

__attribute__((constructor)) static void register_handlers(void)
{
    (void)pthread_atfork(before_fork, after_fork_in_parent, NULL);
}

void cmp_sigmask_hold_at_fork(bool hold)
{
    holding = hold;
    held = false;
}

void cmp_sigmask_open(void)
{
    sigset_t all, now, none;
    fill(&all);
    if (pthread_sigmask(SIG_BLOCK, NULL, &now) != 0) return;
    /* No program blocks them all for its children. These two the standard library has let in again if the thread that
     * started this process has started a resource tracker, too. */
    for (int number = 1; number < SIGSYS; number++) {
        if (number == SIGKILL || number == SIGSTOP || number == SIGINT || number == SIGTERM) continue;
        if (sigismember(&all, number) == 1 && sigismember(&now, number) != 1) return;
    }
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}
