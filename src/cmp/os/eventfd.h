/* Eventfd: a descriptor that is readable while it is raised. Close-on-exec, never blocks. */
#ifndef CMP_OS_EVENTFD_H
#define CMP_OS_EVENTFD_H

#include <stdbool.h>
#include <stdint.h>

/* -EMFILE, -ENFILE, -ENOMEM. */
int cmp_eventfd_create(int *fd);
/* What the number stands for now; 0: nothing. A program may close any descriptor, and its number may come to be a file
 * or a socket: that is told apart. (All eventfds share an inode of the kernel's, so another eventfd is not.) */
uint64_t cmp_eventfd_identity(int fd);
/* Does it still stand for that? */
bool cmp_eventfd_is(int fd, uint64_t identity);
/* Readable from now on; raising twice is raising once. */
void cmp_eventfd_raise(int fd);
/* Not readable any more; whether it was. */
bool cmp_eventfd_lower(int fd);

#endif
