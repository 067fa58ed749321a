/* Objects to bytes: our own encoding for plain objects, pickle 5 with out-of-band buffers for all others.
 *
 * The encoding may run any Python code (reducers, finalizers): it is done before any shared lock is touched. */
#ifndef CMP_PY_ENCODE_H
#define CMP_PY_ENCODE_H

#include "py/state.h"

#include <sys/uio.h>

#define CMPY_SINK_INLINE 1024
#define CMPY_SINK_PARTS 8

/* Lives on the caller's stack; holds the bytes of one message until cmpy_sink_clear. Large bytes objects and
 * out-of-band buffers are not copied but referred to (owners/views keep them alive). */
struct cmpy_sink {
    struct iovec *parts;      /* what to hand to struct cmp_message */
    int nparts;
    uint64_t size;
    /* The rest is encode.c's. */
    unsigned char *bytes;
    size_t used, allocated;
    size_t part_start;        /* where in `bytes` the part now being filled begins */
    int parts_allocated;
    Py_buffer *views;         /* held buffers, nviews of them */
    int nviews, views_allocated;
    struct iovec parts_inline[CMPY_SINK_PARTS];
    unsigned char bytes_inline[CMPY_SINK_INLINE];
};

void cmpy_sink_init(struct cmpy_sink *sink);
/* One object, whole. -1 with the pickling error set. May be called several times: objects follow one another. */
int cmpy_encode(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *object);
/* Raw bytes of a caller's own header (pool tasks) among the objects. */
int cmpy_sink_raw(struct cmpy_sink *sink, const void *bytes, size_t size);
/* Closes the last part: parts, nparts and size are valid from here on. */
int cmpy_sink_finish(struct cmpy_sink *sink);
void cmpy_sink_clear(struct cmpy_sink *sink);

#endif
