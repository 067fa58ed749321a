/* Futex: sleep on a 32-bit word in shared memory until it may have changed.
 *
 * Never FUTEX_PRIVATE_FLAG: the sleeper and its waker are different processes. */
#ifndef CMP_OS_FUTEX_H
#define CMP_OS_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* Sleeps while *word is `expected`. 0: woken (or for no reason), -EAGAIN: the word differs, -ETIMEDOUT: deadline_ns
 * (absolute CLOCK_MONOTONIC; INT64_MAX is never) has passed, -EINTR: a signal handler ran. A wake-up that reached
 * this sleeper is always 0, never reported as a timeout or a signal. */
int cmp_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns);

/* Wakes at most `most` sleepers and says how many. */
int cmp_futex_wake(_Atomic uint32_t *word, int most);

#endif
