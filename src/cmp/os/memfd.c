#include "os/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int cmp_memfd_create(const char *name, int *fd)
{
    int saved = errno, code = 0;
    int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    /* Before Linux 6.3 the flag is unknown. */
    if (made < 0 && errno == EINVAL) made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0) code = -errno;
    errno = saved;
    if (code == 0) *fd = made;
    return code;
}

int cmp_memfd_seal(int fd)
{
    int saved = errno, code = 0;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) code = -errno;
    errno = saved;
    return code;
}

int cmp_memfd_inspect(int fd, uint64_t *size)
{
    int saved = errno, code = 0, seals = fcntl(fd, F_GET_SEALS);
    struct stat facts;
    if (seals < 0 && errno == EPERM) code = -EPERM; /* which says nothing about the file */
    else if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &facts) < 0) code = -EPROTO;
    errno = saved;
    if (code == 0) *size = (uint64_t)facts.st_size;
    return code;
}

/* Past RLIMIT_FSIZE the kernel sends SIGXFSZ, whose default kills: so the limit is asked first. */
static bool within_file_limit(uint64_t end)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return true;
    return end <= limit.rlim_cur;
}

int cmp_memfd_grow(int fd, uint64_t size)
{
    if (size > INT64_MAX || !within_file_limit(size)) return -ENOMEM;
    int saved = errno, code;
    do code = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
    while (code == -EINTR);
    errno = saved;
    return code;
}

int cmp_memfd_write(int fd, uint64_t offset, const void *bytes, uint64_t size)
{
    if (!within_file_limit(offset + size)) return -EFBIG;
    int saved = errno, code = 0;
    const char *from = bytes;
    while (size > 0) {
        ssize_t written = pwrite(fd, from, size, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            code = written < 0 ? -errno : -ENOSPC;
            break;
        }
        from += written;
        offset += (uint64_t)written;
        size -= (uint64_t)written;
    }
    errno = saved;
    return code;
}
