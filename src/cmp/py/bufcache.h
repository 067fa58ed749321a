/* Buffer cache: private memory for the large buffers (arrays) that arrive, kept warm from one to the next.
 *
 * Fresh memory costs five times what the copy into it does (page faults), and glibc gives large memory back to the
 * kernel at each free. So a buffer that arrives gets a private anonymous mapping, huge pages asked for, owned by an
 * exporter object that the array keeps alive through the buffer protocol; at its last release the mapping goes to
 * this process's last-in first-out cache, and the next buffer of like size takes it.
 *
 * Bounded by CMPY_BUFCACHE_SLOTS and a share of the machine's memory. What lies in the cache is MADV_FREE: the kernel
 * takes it whenever memory is short, without asking. It is MADV_DONTFORK: a child neither pays for its page tables
 * nor makes the parent's next copy into it a copy-on-write fault. cmpy_bufcache_trim gives all of it up. */
#ifndef CMP_PY_BUFCACHE_H
#define CMP_PY_BUFCACHE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <sys/types.h>

struct cmpy_state;

#define CMPY_BUFCACHE_SLOTS 16

struct cmpy_mapping {
    void *memory;
    size_t size;
};

struct cmpy_bufcache {
    struct cmpy_mapping kept[CMPY_BUFCACHE_SLOTS]; /* oldest first */
    int nkept;
    size_t kept_bytes, limit_bytes;
    pid_t pid;                                     /* whose mappings these are: a forked child has none of them */
};

/* Makes the exporter type. */
int cmpy_bufcache_add(PyObject *module);

/* A writable bytes-like object of `size` bytes of undefined content, and where they lie. NULL with MemoryError. */
PyObject *cmpy_bufcache_new(struct cmpy_state *state, size_t size, void **memory);
/* Gives every unused mapping back to the kernel: for a process that goes idle. */
void cmpy_bufcache_trim(struct cmpy_bufcache *cache);

#endif
