/* Fork epoch: a number that differs in a process and in each child it forks.
 *
 * Handles remember the epoch they were set up in and compare; a child thus finds out at its first use that it is
 * somebody else, and the fork itself does nothing for any handle. */
#ifndef CMP_OS_FORKEPOCH_H
#define CMP_OS_FORKEPOCH_H

#include "os/atomics.h"

#include <stdint.h>

extern _Atomic uint32_t cmp_fork_epoch_word __attribute__((visibility("hidden"))); /* for the function below */

/* Never 0, so 0 may stand for "not yet". Raised in every child made by fork(), by whomever. Inline because each use of
 * a lock asks for it several times, and all of an uncontended lock's time is some forty nanoseconds. */
static inline uint32_t cmp_fork_epoch(void)
{
    /* Relaxed: the word changes only while its process has one thread. */
    return cmp_load(&cmp_fork_epoch_word, relaxed);
}

#endif
