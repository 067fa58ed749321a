/* Fork epoch: a number that differs in a process and in each child it forks.
 *
 * Handles remember the epoch they were set up in and compare; a child thus finds out at its first use that it is
 * somebody else, and the fork itself does nothing for any handle. */
#ifndef CMP_OS_FORKEPOCH_H
#define CMP_OS_FORKEPOCH_H

#include <stdint.h>

/* Never 0, so 0 may stand for "not yet". Raised in every child made by fork(), by whomever. */
uint32_t cmp_fork_epoch(void);

#endif
