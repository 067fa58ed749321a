/* Eventfd: a descriptor that is readable while it is raised. Close-on-exec, never blocks. */
#ifndef CMP_OS_EVENTFD_H
#define CMP_OS_EVENTFD_H

#include <stdbool.h>
#include <stdint.h>

/* -EMFILE, -ENFILE, -ENOMEM. */
int cmp_eventfd_create(int *fd);
/* Readable from now on; raising twice is raising once. */
void cmp_eventfd_raise(int fd);
/* Not readable any more; whether it was. */
bool cmp_eventfd_lower(int fd);

#endif
