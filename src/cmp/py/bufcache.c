#include "py/bufcache.h"

#include "py/codec.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Below this malloc recycles memory well by itself, and a mapping's two madvise calls would show. */
#define MAPPED_FROM ((size_t)1 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

struct buffer {
    PyObject_HEAD
    struct cmpy_mapping mapping; /* size 0: `memory` is PyMem_RawMalloc's */
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

/* The cache of this process: a forked child's is empty, since the parent's mappings did not follow it. */
static void cache_own(struct cmpy_bufcache *cache)
{
    pid_t pid = getpid();
    if (cache->pid == pid) return;
    cache->pid = pid;
    cache->nkept = 0;
    cache->kept_bytes = 0;
}

static struct cmpy_mapping cache_remove(struct cmpy_bufcache *cache, int i)
{
    struct cmpy_mapping mapping = cache->kept[i];
    cache->nkept--;
    cache->kept_bytes -= mapping.size;
    memmove(&cache->kept[i], &cache->kept[i + 1], (size_t)(cache->nkept - i) * sizeof mapping);
    return mapping;
}

static void cache_give(struct cmpy_bufcache *cache, struct cmpy_mapping mapping)
{
    cache_own(cache);
    if (mapping.size > cache->limit_bytes || madvise(mapping.memory, mapping.size, MADV_DONTFORK) < 0) {
        munmap(mapping.memory, mapping.size);
        return;
    }
    while (cache->nkept == CMPY_BUFCACHE_SLOTS || cache->kept_bytes + mapping.size > cache->limit_bytes) {
        struct cmpy_mapping oldest = cache_remove(cache, 0);
        munmap(oldest.memory, oldest.size);
    }
    (void)madvise(mapping.memory, mapping.size, MADV_FREE);
    cache->kept[cache->nkept++] = mapping;
    cache->kept_bytes += mapping.size;
}

/* The mapping last used that fits without wasting more than half of it. */
static int cache_take(struct cmpy_bufcache *cache, size_t size, struct cmpy_mapping *mapping)
{
    cache_own(cache);
    for (int i = cache->nkept - 1; i >= 0; i--) {
        if (cache->kept[i].size < size || cache->kept[i].size / 2 > size) continue;
        *mapping = cache_remove(cache, i);
        /* It is about to hold an array, which a child must see. */
        if (madvise(mapping->memory, mapping->size, MADV_DOFORK) == 0) return 0;
        munmap(mapping->memory, mapping->size);
    }
    return -1;
}

void cmpy_bufcache_trim(struct cmpy_bufcache *cache)
{
    cache_own(cache);
    while (cache->nkept > 0) {
        struct cmpy_mapping mapping = cache_remove(cache, cache->nkept - 1);
        munmap(mapping.memory, mapping.size);
    }
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
        if (cache_take(&state->codec->bufcache, whole, &self->mapping) < 0) {
            self->mapping = (struct cmpy_mapping){mapping_new(whole), whole};
            if (self->mapping.memory == NULL) self->mapping.size = 0;
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
        cache_give(&cmpy_state_of_type(type)->codec->bufcache, self->mapping);
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
    /* An eighth of the machine, 1 GiB at most: enough for a few large arrays in flight. */
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    size_t limit = (size_t)1 << 30;
    if (pages > 0 && page > 0 && (size_t)pages / 8 * (size_t)page < limit) limit = (size_t)pages / 8 * (size_t)page;
#ifdef Py_GIL_DISABLED
    limit = 0; /* no lock guards the cache */
#endif
    state->codec->bufcache.limit_bytes = limit;

    state->buffer_type = PyType_FromModuleAndSpec(module, &buffer_spec, NULL);
    return state->buffer_type == NULL ? -1 : 0;
}
