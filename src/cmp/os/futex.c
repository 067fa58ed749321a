#include "os/futex.h"

#include "os/clock.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The kernel's numbers; its headers are a package of their own beside musl. */
enum { FUTEX_WAKE = 1, FUTEX_WAIT_BITSET = 9 };
#define EVERY_BIT 0xffffffffu

int cmp_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns)
{
    struct timespec deadline, *until = NULL;
    if (deadline_ns != INT64_MAX) {
        deadline = cmp_timespec(deadline_ns);
        until = &deadline;
    }
    /* WAIT_BITSET because only it takes an absolute monotonic time: a retry then needs no arithmetic. */
    int saved = errno, code = 0;
    if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL, EVERY_BIT) < 0) code = -errno;
    errno = saved;
    return code;
}

int cmp_futex_wake(_Atomic uint32_t *word, int most)
{
    int saved = errno;
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, most, NULL, NULL, 0);
    errno = saved;
    return woken < 0 ? 0 : (int)woken;
}
