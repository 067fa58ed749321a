#include "os/forkepoch.h"

#include "os/atomics.h"

#include <pthread.h>

_Atomic uint32_t cmp_fork_epoch_word = 1;

/* In the child, before fork() returns there: one store, async-signal-safe. */
static void raise_epoch(void)
{
    uint32_t next = cmp_load(&cmp_fork_epoch_word, relaxed) + 1;
    cmp_private_store(&cmp_fork_epoch_word, next == 0 ? 1 : next, relaxed);
}

/* When the library is loaded, so that no fork can come first. It fails only without memory for a few words; the
 * process would not get as far as a queue then. */
__attribute__((constructor)) static void register_handler(void)
{
    (void)pthread_atfork(NULL, NULL, raise_epoch);
}
