/* Pidfd: a descriptor that stands for one process, whatever becomes of its pid. */
#ifndef CMP_OS_PIDFD_H
#define CMP_OS_PIDFD_H

#include <stdbool.h>
#include <stdint.h>

/* Close-on-exec. -ESRCH: no such process (a zombie is one), -ENOSYS: this kernel or sandbox has none, -EMFILE,
 * -ENFILE, -ENOMEM. */
int cmp_pidfd_open(int32_t pid, int *fd);
/* Has it ended? An unreaped zombie has. */
bool cmp_pidfd_dead(int fd);
/* Waits for that, until `deadline_ns` (CLOCK_MONOTONIC; INT64_MAX: for ever). Takes any descriptor that becomes
 * readable at the end. 0, -ETIMEDOUT, -EINTR, -EBADF. */
int cmp_pidfd_wait(int fd, int64_t deadline_ns);

#endif
