#include "py/sink.h"

#include <string.h>

/* Until it is finished, `parts` alternates strictly: even ones are runs of `bytes` (iov_base holds an offset, since
 * `bytes` may still move), odd ones lie outside. Runs may be empty; finishing drops those. */

void cmpy_sink_init(struct cmpy_sink *sink)
{
    sink->parts = sink->parts_inline;
    sink->nparts = 0;
    sink->parts_allocated = CMPY_SINK_PARTS;
    sink->size = 0;
    sink->bytes = sink->bytes_inline;
    sink->used = 0;
    sink->allocated = CMPY_SINK_INLINE;
    sink->part_start = 0;
    sink->outside = 0;
    sink->views = sink->views_inline;
    sink->nviews = 0;
    sink->views_allocated = CMPY_SINK_VIEWS;
}

void cmpy_sink_give_back(struct cmpy_sink *sink)
{
    while (sink->nviews > 0) PyBuffer_Release(&sink->views[--sink->nviews]);
    if (sink->views != sink->views_inline) PyMem_Free(sink->views);
    if (sink->bytes != sink->bytes_inline) PyMem_Free(sink->bytes);
    if (sink->parts != sink->parts_inline) PyMem_Free(sink->parts);
    cmpy_sink_init(sink);
}

int cmpy_sink_grow(struct cmpy_sink *sink, size_t size)
{
    if (size > (size_t)PY_SSIZE_T_MAX / 2 - sink->used) {
        PyErr_NoMemory();
        return -1;
    }
    size_t wanted = sink->used + size;
    size_t allocated = sink->allocated + sink->allocated / 2;
    if (allocated < wanted) allocated = wanted;
    unsigned char *bytes = PyMem_Realloc(sink->bytes == sink->bytes_inline ? NULL : sink->bytes, allocated);
    if (bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (sink->bytes == sink->bytes_inline) memcpy(bytes, sink->bytes_inline, sink->used);
    sink->bytes = bytes;
    sink->allocated = allocated;
    return 0;
}

int cmpy_sink_raw(struct cmpy_sink *sink, const void *bytes, size_t size)
{
    if (cmpy_sink_reserve(sink, size) < 0) return -1;
    memcpy(sink->bytes + sink->used, bytes, size);
    sink->used += size;
    return 0;
}

static int reserve_parts(struct cmpy_sink *sink, int more)
{
    if (sink->parts_allocated - sink->nparts >= more) return 0;
    if (sink->parts_allocated > INT_MAX / 4) return -1;
    int allocated = 2 * sink->parts_allocated;
    struct iovec *parts = sink->parts == sink->parts_inline ? NULL : sink->parts;
    parts = PyMem_Realloc(parts, (size_t)allocated * sizeof *parts);
    if (parts == NULL) return -1;
    if (sink->parts == sink->parts_inline) memcpy(parts, sink->parts_inline, (size_t)sink->nparts * sizeof *parts);
    sink->parts = parts;
    sink->parts_allocated = allocated;
    return 0;
}

static int reserve_view(struct cmpy_sink *sink)
{
    if (sink->nviews < sink->views_allocated) return 0;
    if (sink->views_allocated > INT_MAX / 4) return -1;
    int allocated = 4 * sink->views_allocated;
    Py_buffer *views = sink->views == sink->views_inline ? NULL : sink->views;
    views = PyMem_Realloc(views, (size_t)allocated * sizeof *views);
    if (views == NULL) return -1;
    if (sink->views == sink->views_inline) memcpy(views, sink->views_inline, (size_t)sink->nviews * sizeof *views);
    sink->views = views;
    sink->views_allocated = allocated;
    return 0;
}

int cmpy_sink_refer(struct cmpy_sink *sink, Py_buffer *view)
{
    /* Room for the run before, the part itself and the run that finishing closes. */
    if (reserve_view(sink) < 0 || reserve_parts(sink, 3) < 0) {
        PyBuffer_Release(view);
        PyErr_NoMemory();
        return -1;
    }
    struct iovec *part = &sink->parts[sink->nparts];
    part[0] = (struct iovec){(void *)(uintptr_t)sink->part_start, sink->used - sink->part_start};
    part[1] = (struct iovec){view->buf, (size_t)view->len};
    sink->nparts += 2;
    sink->part_start = sink->used;
    sink->outside += (uint64_t)view->len;
    /* A Py_buffer may be moved: only its own consumer (PyBuffer_Release) looks at it. One whose shape points into
     * itself (PyBuffer_FillInfo) is never asked for its shape again. */
    sink->views[sink->nviews++] = *view;
    return 0;
}

void cmpy_sink_gather(struct cmpy_sink *sink)
{
    int kept = 0;
    struct iovec last = {(void *)(uintptr_t)sink->part_start, sink->used - sink->part_start};
    sink->parts[sink->nparts++] = last;
    for (int i = 0; i < sink->nparts; i++) {
        struct iovec part = sink->parts[i];
        if (part.iov_len == 0) continue;
        if (i % 2 == 0) part.iov_base = sink->bytes + (uintptr_t)part.iov_base;
        sink->parts[kept++] = part;
    }
    sink->nparts = kept;
    sink->size = sink->used + sink->outside;
}

struct cmpy_sink_mark cmpy_sink_mark(const struct cmpy_sink *sink)
{
    return (struct cmpy_sink_mark){sink->used, sink->part_start, sink->outside, sink->nparts, sink->nviews};
}

void cmpy_sink_rewind(struct cmpy_sink *sink, const struct cmpy_sink_mark *mark)
{
    while (sink->nviews > mark->nviews) PyBuffer_Release(&sink->views[--sink->nviews]);
    sink->used = mark->used;
    sink->part_start = mark->part_start;
    sink->outside = mark->outside;
    sink->nparts = mark->nparts;
}
