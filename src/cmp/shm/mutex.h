/* Internal lock: a robust process-shared pthread mutex for sections of tens of nanoseconds.
 *
 * Inside a section nothing blocks, allocates, faults in a cold page or runs Python. A user's Lock is not this:
 * see shm/lockword.h. If the holder dies, the next to lock gets -EOWNERDEAD *with the lock held*: it repairs what
 * the lock guards, calls cmp_mutex_repaired(), and goes on. If it too dies first, the next gets -EOWNERDEAD again.
 * A forked child holds none of its parent's locks. Not recursive.
 *
 * Fault points: "mutex.locked" (after), "mutex.repaired", "mutex.unlock" (before and after). */
#ifndef CMP_SHM_MUTEX_H
#define CMP_SHM_MUTEX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct cmp_mutex {
    pthread_mutex_t raw;
};

int cmp_mutex_init(struct cmp_mutex *mutex);

/* 0, -EBUSY, or -EOWNERDEAD (locked, repair first). The only form allowed with the GIL held. */
int cmp_mutex_try(struct cmp_mutex *mutex);

/* 0, -EOWNERDEAD, or -ETIMEDOUT: sleeps in slices of at most 50 ms, so at least every 50 ms the caller can look at
 * its deadline and its signals and call again. */
int cmp_mutex_lock_slice(struct cmp_mutex *mutex);

/* 0, -EOWNERDEAD, or -EINTR after some slices: the holder stands still (SIGSTOP), so it is time that the caller's
 * caller looks at its deadline and its signals. */
int cmp_mutex_lock_patiently(struct cmp_mutex *mutex);

void cmp_mutex_repaired(struct cmp_mutex *mutex);
void cmp_mutex_unlock(struct cmp_mutex *mutex);

/* The thread id of the holder, dead or alive, 0: nobody. A plain load, and old news at once. */
int32_t cmp_mutex_holder(const struct cmp_mutex *mutex);

/* Has the holder's thread ended with the mutex locked? A plain load of the word in which the kernel says so; locks
 * nothing, and says no once somebody has taken the mutex over. */
bool cmp_mutex_owner_died(const struct cmp_mutex *mutex);

#endif
