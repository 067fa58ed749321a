#include "os/pidfd.h"

#include "os/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on every architecture */
#endif

int cmp_pidfd_open(int32_t pid, int *fd)
{
    int saved = errno, code = 0;
    long made = syscall(SYS_pidfd_open, pid, 0);
    if (made < 0) code = -errno;
    errno = saved;
    switch (code) {
    case 0: *fd = (int)made; return 0;
    case -EINVAL: /* the pid is now that of a thread, which is no process (ENOENT on newer kernels) */
    case -ENOENT: return -ESRCH;
    case -EPERM: /* how a sandbox says it does not know the call */
    case -EACCES: return -ENOSYS;
    default: return code;
    }
}

bool cmp_pidfd_dead(int fd)
{
    int saved = errno, ready;
    struct pollfd look = {.fd = fd, .events = POLLIN};
    do ready = poll(&look, 1, 0);
    while (ready < 0 && errno == EINTR);
    errno = saved;
    return ready > 0 && (look.revents & (POLLIN | POLLHUP)) != 0;
}

int cmp_pidfd_wait(int fd, int64_t deadline_ns)
{
    int saved = errno, code = 0, ready;
    struct pollfd look = {.fd = fd, .events = POLLIN};
    if (deadline_ns == INT64_MAX) {
        ready = poll(&look, 1, -1);
    } else {
        int64_t left_ns = deadline_ns - cmp_now_ns();
        struct timespec timeout = cmp_timespec(left_ns);
        ready = ppoll(&look, 1, &timeout, NULL);
    }
    if (ready < 0) code = -errno;
    else if (ready == 0) code = -ETIMEDOUT;
    else if (look.revents & POLLNVAL) code = -EBADF;
    errno = saved;
    return code;
}
