#include "os/identity.h"

#include <errno.h>
#include <sys/stat.h>

uint64_t cmp_identity_of(int fd)
{
    struct stat facts;
    int saved = errno;
    uint64_t identity = 0;
    if (fd >= 0 && fstat(fd, &facts) == 0) identity = ((uint64_t)facts.st_dev << 32 ^ (uint64_t)facts.st_ino) << 1 | 1;
    errno = saved;
    return identity;
}

bool cmp_identity_is(int fd, uint64_t identity)
{
    return identity != 0 && cmp_identity_of(fd) == identity;
}
