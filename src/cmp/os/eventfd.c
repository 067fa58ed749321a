#include "os/eventfd.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
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

uint64_t cmp_eventfd_identity(int fd)
{
    struct stat facts;
    int saved = errno;
    uint64_t identity = 0;
    if (fd >= 0 && fstat(fd, &facts) == 0) identity = ((uint64_t)facts.st_dev << 32 ^ (uint64_t)facts.st_ino) | 1;
    errno = saved;
    return identity;
}

bool cmp_eventfd_is(int fd, uint64_t identity)
{
    return identity != 0 && cmp_eventfd_identity(fd) == identity;
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
