/* Memfd: shared memory without a name. The kernel frees it with its last user, so nothing can leak. */
#ifndef CMP_OS_MEMFD_H
#define CMP_OS_MEMFD_H

#include <stdint.h>

/* An empty memfd, close-on-exec, never executable where the kernel knows that. `name` shows in /proc only.
 * -EMFILE, -ENFILE, -ENOMEM. */
int cmp_memfd_create(const char *name, int *fd);

/* Lets it never shrink again: under a mapping a shrunk file is SIGBUS. */
int cmp_memfd_seal(int fd);

/* How large is it, for whoever maps what another process has sent: 0; -EPROTO: no memfd, or one that may still shrink;
 * -EPERM: a sandbox does not let us ask. */
int cmp_memfd_inspect(int fd, uint64_t *size);

/* Grows the file to `size` bytes; -ENOMEM, without SIGXFSZ, past RLIMIT_FSIZE. */
int cmp_memfd_grow(int fd, uint64_t size);

/* Writes all bytes at an offset inside the file: into pages that were never touched this is about twice as fast as
 * stores, for they are neither zeroed nor faulted one by one. -EFBIG past RLIMIT_FSIZE, -ENOSPC, -ENOMEM: part may
 * have been written. */
int cmp_memfd_write(int fd, uint64_t offset, const void *bytes, uint64_t size);

#endif
