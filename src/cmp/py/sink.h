/* Sink: the bytes of one message while it is being written.
 *
 * Small things are copied into one growing run of bytes; large ones (a long bytes object, an array's buffer) are
 * only referred to, and kept alive by a buffer view until the sink is cleared. Lives on its user's stack. */
#ifndef CMP_PY_SINK_H
#define CMP_PY_SINK_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <sys/uio.h>

#define CMPY_SINK_INLINE 1024
#define CMPY_SINK_PARTS 8
#define CMPY_SINK_VIEWS 2

struct cmpy_sink {
    struct iovec *parts;      /* valid after cmpy_sink_finish: what to hand to struct cmp_message */
    int nparts;
    uint64_t size;
    /* The rest is sink.c's and encode.c's. */
    unsigned char *bytes;
    size_t used, allocated;
    size_t part_start;        /* where in `bytes` the run now being filled begins */
    uint64_t outside;         /* sum of the sizes referred to */
    int parts_allocated;
    int nviews, views_allocated;
    Py_buffer *views;         /* one for each thing referred to */
    struct iovec parts_inline[CMPY_SINK_PARTS];
    Py_buffer views_inline[CMPY_SINK_VIEWS];
    unsigned char bytes_inline[CMPY_SINK_INLINE];
};

/* A place in a sink to come back to. */
struct cmpy_sink_mark {
    size_t used, part_start;
    uint64_t outside;
    int nparts, nviews;
};

void cmpy_sink_init(struct cmpy_sink *sink);
/* For cmpy_sink_clear, where there is something to give back. */
void cmpy_sink_give_back(struct cmpy_sink *sink);
/* For cmpy_sink_finish, where there is more than one run of bytes. */
void cmpy_sink_gather(struct cmpy_sink *sink);

/* Copies raw bytes: a caller's own header among the objects (cmpy_source_raw reads it). -1 with MemoryError. */
int cmpy_sink_raw(struct cmpy_sink *sink, const void *bytes, size_t size);
/* Refers to `view->buf`; the sink owns the view from now on, also on failure. -1 with MemoryError. */
int cmpy_sink_refer(struct cmpy_sink *sink, Py_buffer *view);
struct cmpy_sink_mark cmpy_sink_mark(const struct cmpy_sink *sink);
/* Forgets all that was written since the mark. */
void cmpy_sink_rewind(struct cmpy_sink *sink, const struct cmpy_sink_mark *mark);

/* Room for `size` more bytes at bytes + used, made by cmpy_sink_reserve (inline: it is met several times for each
 * object of a message). -1 with MemoryError. */
int cmpy_sink_grow(struct cmpy_sink *sink, size_t size);

/* Closes the last run: parts, nparts and size are valid from here on, and nothing more may be written. Inline, as is
 * clearing: most messages are one short run, and then both are a few stores. */
static inline void cmpy_sink_finish(struct cmpy_sink *sink)
{
    if (sink->nparts > 0 || sink->used == 0) {
        cmpy_sink_gather(sink);
        return;
    }
    sink->parts[0].iov_base = sink->bytes;
    sink->parts[0].iov_len = sink->used;
    sink->nparts = 1;
    sink->size = sink->used;
}

/* Gives back all memory and views. Any Python code may run (a released buffer's owner may die). */
static inline void cmpy_sink_clear(struct cmpy_sink *sink)
{
    if (sink->bytes != sink->bytes_inline || sink->parts != sink->parts_inline || sink->nviews > 0 ||
        sink->views != sink->views_inline) {
        cmpy_sink_give_back(sink);
        return;
    }
    sink->nparts = 0;
    sink->used = 0;
    sink->part_start = 0;
    sink->outside = 0;
}

static inline int cmpy_sink_reserve(struct cmpy_sink *sink, size_t size)
{
    return sink->allocated - sink->used >= size ? 0 : cmpy_sink_grow(sink, size);
}

#endif
