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

#endif
