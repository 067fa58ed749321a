#include "py/bufcache.h"

#include "os/clock.h"
#include "os/forkepoch.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Below this malloc recycles memory well by itself, and a mapping's two madvise calls would show. */
#define MAPPED_FROM ((size_t)1 << 20)
#define HUGE_PAGE ((size_t)2 << 20)
/* A map's worth of results: with fewer, the next map of a pool finds part of its memory cold. */
#define KEPT_MAX 64
#define KEPT_BYTES_MAX ((size_t)512 << 20)
/* A wait's first slice of a second is enough, though it may end a tick of the clock early (py/wait.c). */
#define IDLE_NS (950 * CMP_MS)

struct mapping {
    void *memory;
    size_t size;
};

static struct {
    struct mapping kept[KEPT_MAX]; /* oldest first */
    int nkept;
    size_t kept_bytes, limit_bytes;
    int64_t used_ns;               /* when it was last taken from or given to */
    uint32_t epoch;                /* whose mappings these are: a forked child has none of its parent's */
} cache;

struct buffer {
    PyObject_HEAD
    struct mapping mapping; /* size 0: `memory` is PyMem_RawMalloc's */
    void *memory;
    Py_ssize_t size;
};

/* ---- mappings ---- */

/* Fresh memory, aligned so that huge pages fit. */
static void *mapping_new(size_t size)
{
    size_t room = size + HUGE_PAGE;
    char *memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    size_t before = (HUGE_PAGE - (size_t)((uintptr_t)memory % HUGE_PAGE)) % HUGE_PAGE;
    if (before > 0) munmap(memory, before);
    if (room - before > size) munmap(memory + before + size, room - before - size);
    (void)madvise(memory + before, size, MADV_HUGEPAGE);
    return memory + before;
}

/* Before each use. A forked child's cache is empty, since its parent's mappings did not follow it. */
static void cache_use(void)
{
    if (cache.epoch != cmp_fork_epoch()) {
        cache.epoch = cmp_fork_epoch();
        cache.nkept = 0;
        cache.kept_bytes = 0;
    }
    cache.used_ns = cmp_now_ns();
}

static struct mapping cache_remove(int i)
{
    struct mapping mapping = cache.kept[i];
    cache.nkept--;
    cache.kept_bytes -= mapping.size;
    memmove(&cache.kept[i], &cache.kept[i + 1], (size_t)(cache.nkept - i) * sizeof mapping);
    return mapping;
}

static void cache_drop_oldest(void)
{
    struct mapping oldest = cache_remove(0);
    munmap(oldest.memory, oldest.size);
}

static void cache_give(struct mapping mapping)
{
    cache_use();
    if (mapping.size > cache.limit_bytes || madvise(mapping.memory, mapping.size, MADV_DONTFORK) < 0) {
        munmap(mapping.memory, mapping.size);
        return;
    }
    while (cache.nkept == KEPT_MAX || cache.kept_bytes + mapping.size > cache.limit_bytes) cache_drop_oldest();
    (void)madvise(mapping.memory, mapping.size, MADV_FREE);
    cache.kept[cache.nkept++] = mapping;
    cache.kept_bytes += mapping.size;
}

/* The mapping last used that fits without wasting more than half of it; false if there is none. */
static bool cache_take(size_t size, struct mapping *mapping)
{
    cache_use();
    for (int i = cache.nkept - 1; i >= 0; i--) {
        if (cache.kept[i].size < size || cache.kept[i].size / 2 > size) continue;
        *mapping = cache_remove(i);
        /* It is about to hold an array, which a child must see. */
        if (madvise(mapping->memory, mapping->size, MADV_DOFORK) == 0) return true;
        munmap(mapping->memory, mapping->size);
    }
    return false;
}

void cmpy_bufcache_idle(void)
{
    if (cache.nkept == 0 || cache.epoch != cmp_fork_epoch() || cmp_now_ns() - cache.used_ns < IDLE_NS) return;
    while (cache.nkept > 0) cache_drop_oldest();
}

/* ---- the exporter ---- */

PyObject *cmpy_bufcache_new(struct cmpy_state *state, size_t size, void **memory)
{
    if (size > (size_t)PY_SSIZE_T_MAX - 2 * HUGE_PAGE) return PyErr_NoMemory();
    PyTypeObject *type = (PyTypeObject *)state->buffer_type;
    struct buffer *self = (struct buffer *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->size = (Py_ssize_t)size;
    if (size < MAPPED_FROM) {
        self->memory = PyMem_RawMalloc(size);
    } else {
        size_t whole = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
        if (!cache_take(whole, &self->mapping)) {
            self->mapping.memory = mapping_new(whole);
            self->mapping.size = self->mapping.memory == NULL ? 0 : whole;
        }
        self->memory = self->mapping.memory;
    }
    if (self->memory == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    *memory = self->memory;
    return (PyObject *)self;
}

static void buffer_dealloc(PyObject *object)
{
    struct buffer *self = (struct buffer *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->mapping.size != 0) {
        cache_give(self->mapping);
    } else {
        PyMem_RawFree(self->memory);
    }
    type->tp_free(object);
    Py_DECREF(type);
}

static int buffer_get(PyObject *object, Py_buffer *view, int flags)
{
    struct buffer *self = (struct buffer *)object;
    return PyBuffer_FillInfo(view, object, self->memory, self->size, 0, flags);
}

PyDoc_STRVAR(buffer_doc, "Memory under an array that arrived from another process; a writable bytes-like object.");

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, (void *)buffer_doc},
    {Py_tp_dealloc, buffer_dealloc},
    {Py_bf_getbuffer, buffer_get},
    {0, NULL},
};

static PyType_Spec buffer_spec = {
    .name = "cmp._core.Buffer",
    .basicsize = sizeof(struct buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = buffer_slots,
};

int cmpy_bufcache_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
#ifndef Py_GIL_DISABLED
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    cache.limit_bytes = KEPT_BYTES_MAX;
    /* An eighth of a small machine. */
    size_t eighth = pages > 0 && page > 0 ? (size_t)pages / 8 * (size_t)page : KEPT_BYTES_MAX;
    if (eighth < KEPT_BYTES_MAX) cache.limit_bytes = eighth;
#endif
    state->buffer_type = PyType_FromModuleAndSpec(module, &buffer_spec, NULL);
    return state->buffer_type == NULL ? -1 : 0;
}
