#include "os/eventfd.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

int cmp_eventfd_create(int *fd)
{
    int saved = errno, code = 0;
    int made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made < 0) code = -errno;
    errno = saved;
    if (code == 0) *fd = made;
    return code;
}

void cmp_eventfd_raise(int fd)
{
    int saved = errno;
    uint64_t one = 1;
    /* EAGAIN: the counter is at its top, so it is readable already. */
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {}
    errno = saved;
}

bool cmp_eventfd_lower(int fd)
{
    int saved = errno;
    uint64_t count;
    ssize_t got;
    /* One read takes the whole counter; EAGAIN: it was not raised. */
    do got = read(fd, &count, sizeof count);
    while (got < 0 && errno == EINTR);
    errno = saved;
    return got == (ssize_t)sizeof count;
}
