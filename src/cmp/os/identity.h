/* Identity: what a descriptor's number stands for. A program may close any descriptor, ours too, and its number may
 * come to be a file or a socket of its own: so a kept number is looked at before it is used, sent or closed. */
#ifndef CMP_OS_IDENTITY_H
#define CMP_OS_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

/* What the number stands for now; 0: nothing. Each memfd has one of its own. All eventfds share an inode of the
 * kernel's, so one of them is not told from another. */
uint64_t cmp_identity_of(int fd);
/* Does it still stand for that? */
bool cmp_identity_is(int fd, uint64_t identity);

#endif
