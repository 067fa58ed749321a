/* Copy: to memory that another processor is going to read. */
#ifndef CMP_OS_COPY_H
#define CMP_OS_COPY_H

#include <stddef.h>

/* memcpy, but from some size on past this processor's caches, where the machine has such stores: lines left behind in
 * one processor's cache are fetched by another one at a time, at a fraction of the speed of memory. What was written
 * is visible to whoever sees a later release store. */
void cmp_copy_away(void *to, const void *from, size_t size);

#endif
