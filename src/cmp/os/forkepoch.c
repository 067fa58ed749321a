#include "os/forkepoch.h"

#include "os/atomics.h"

#include <pthread.h>

static _Atomic uint32_t epoch = 1;

/* In the child, before fork() returns there: one store, async-signal-safe. */
static void raise_epoch(void)
{
    uint32_t next = cmp_load(&epoch, relaxed) + 1;
    cmp_private_store(&epoch, next == 0 ? 1 : next, relaxed);
}

/* When the library is loaded, so that no fork can come first. It fails only without memory for a few words; the
 * process would not get as far as a queue then. */
__attribute__((constructor)) static void register_handler(void)
{
    (void)pthread_atfork(NULL, NULL, raise_epoch);
}

uint32_t cmp_fork_epoch(void)
{
    /* Relaxed: the word changes only while its process has one thread. */
    return cmp_load(&epoch, relaxed);
}
