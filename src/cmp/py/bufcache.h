/* Buffer cache: private memory for the large buffers (arrays) that arrive, kept warm from one to the next.
 *
 * Fresh memory costs five times what the copy into it does (page faults), and glibc gives large memory back to the
 * kernel at each free. So a buffer that arrives gets a private anonymous mapping, huge pages asked for, owned by an
 * exporter object that the array keeps alive through the buffer protocol; at its last release the mapping goes to
 * this process's last-in first-out cache, and the next buffer of like size takes it.
 *
 * Bounded in number and bytes. What lies in the cache is MADV_FREE: the kernel takes it whenever memory is short,
 * without asking. It is MADV_DONTFORK: a child neither pays for its page tables nor makes the parent's next copy into
 * it a copy-on-write fault. A process that waits for long gives all of it up (cmpy_bufcache_idle). One cache for the
 * process; the GIL guards it, and builds without one keep nothing. */
#ifndef CMP_PY_BUFCACHE_H
#define CMP_PY_BUFCACHE_H

#include "py/state.h"

#include <stddef.h>

/* Makes the exporter type. */
int cmpy_bufcache_add(PyObject *module);

/* A writable bytes-like object of `size` bytes of undefined content, and where they lie. NULL with MemoryError. */
PyObject *cmpy_bufcache_new(struct cmpy_state *state, size_t size, void **memory);
/* Called now and then by whoever waits for long, with the GIL: gives the cache back to the kernel if nobody has used it
 * for a second. Costs nothing when it is empty. */
void cmpy_bufcache_idle(void);

#endif
