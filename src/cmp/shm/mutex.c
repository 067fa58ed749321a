#include "shm/mutex.h"

#include "os/atomics.h"

#include <errno.h>
#include <time.h>

/* The kernel's bits; its headers are a package of their own beside musl. */
#define FUTEX_OWNER_DIED 0x40000000
#define HOLDER_MASK 0x3fffffff

#define SLICE_NS 50000000L

/* Older TSan run-times do not know the call and would see races between what it guards. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ) && !defined(__SANITIZE_THREAD__) && !defined(UNDER_TSAN)
#if __GLIBC_PREREQ(2, 30)
#define HAVE_CLOCKLOCK 1
#endif
#endif

int cmp_mutex_init(struct cmp_mutex *mutex)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error != 0) return -error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (error == 0) error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (error == 0) error = pthread_mutex_init(&mutex->raw, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}

int cmp_mutex_try(struct cmp_mutex *mutex)
{
    int error = pthread_mutex_trylock(&mutex->raw);
    CMP_FAULT("mutex.locked", CMP_FAULT_AFTER);
    return -error;
}

/* At most a slice of sleep. The realtime clock where the C library offers no other: a clock that is set meanwhile
 * makes one slice longer or shorter, and the caller looks at its own deadline anyway. */
static int lock_for_a_slice(pthread_mutex_t *raw)
{
    struct timespec until;
#ifdef HAVE_CLOCKLOCK
    const clockid_t clock = CLOCK_MONOTONIC;
#else
    const clockid_t clock = CLOCK_REALTIME;
#endif
    (void)clock_gettime(clock, &until);
    until.tv_nsec += SLICE_NS;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
#ifdef HAVE_CLOCKLOCK
    return pthread_mutex_clocklock(raw, clock, &until);
#else
    return pthread_mutex_timedlock(raw, &until);
#endif
}

int cmp_mutex_lock_slice(struct cmp_mutex *mutex)
{
    /* No spinning before the sleep: with sections this short it was measured slower than the kernel's queue as soon
     * as more than two compete, and the uncontended way is the same one CAS. */
    int error = pthread_mutex_trylock(&mutex->raw);
    if (error == EBUSY) error = lock_for_a_slice(&mutex->raw);
    CMP_FAULT("mutex.locked", CMP_FAULT_AFTER);
    return -error;
}

int cmp_mutex_lock_patiently(struct cmp_mutex *mutex)
{
    /* More than one: a holder that is merely kept from running on a loaded machine is no reason to start over. */
    int code = -ETIMEDOUT;
    for (int slices = 4; code == -ETIMEDOUT && slices > 0; slices--) code = cmp_mutex_lock_slice(mutex);
    return code == -ETIMEDOUT ? -EINTR : code;
}

void cmp_mutex_repaired(struct cmp_mutex *mutex)
{
    CMP_FAULT("mutex.repaired", CMP_FAULT_BEFORE);
    (void)pthread_mutex_consistent(&mutex->raw);
    CMP_FAULT("mutex.repaired", CMP_FAULT_AFTER);
}

void cmp_mutex_unlock(struct cmp_mutex *mutex)
{
    CMP_FAULT("mutex.unlock", CMP_FAULT_BEFORE);
    (void)pthread_mutex_unlock(&mutex->raw);
    CMP_FAULT("mutex.unlock", CMP_FAULT_AFTER);
}

/* Where the futex word of a robust mutex lies in the opaque type is part of each C library's ABI: glibc's first word,
 * musl's second. The kernel reads the holder's thread id from it and writes FUTEX_OWNER_DIED to it. */
static int load_word(const struct cmp_mutex *mutex)
{
#ifdef __GLIBC__
    const void *word = &mutex->raw.__data.__lock;
#else
    const void *word = (const int *)&mutex->raw + 1;
#endif
    return cmp_load((const _Atomic int *)word, acquire);
}

int32_t cmp_mutex_holder(const struct cmp_mutex *mutex)
{
    return load_word(mutex) & HOLDER_MASK;
}

bool cmp_mutex_owner_died(const struct cmp_mutex *mutex)
{
    return (load_word(mutex) & FUTEX_OWNER_DIED) != 0;
}
