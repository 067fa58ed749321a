/* The encoder: where it stands in an object, and what its files share with each other and with nobody else. Functions,
 * classes and instances are written in encodeinstance.c, everything else in encode.c. */
#ifndef CMP_PY_ENCODER_H
#define CMP_PY_ENCODER_H

#include "py/memo.h"
#include "py/sink.h"
#include "py/state.h"
#include "py/wire.h"

#include <stdbool.h>
#include <string.h>

/* How one value went. */
enum cmpy_outcome {
    CMPY_FAILED = -1, /* an exception is set (memory) */
    CMPY_WRITTEN = 0,
    CMPY_FOREIGN, /* not ours to encode: the whole object goes to pickle */
};

/* What a tag and its size take at most: every value starts by making room for that. */
#define CMPY_ENCODE_HEADER_MAX (1 + CMPY_WIRE_SIZE_MAX)

/* The containers that are being written, innermost first. */
struct enclosing {
    PyObject *object;
    struct enclosing *outer;
};

struct encoder {
    struct cmpy_state *state;
    struct cmpy_sink *sink;
    struct cmpy_memo *memo; /* NULL until needed */
#ifdef Py_GIL_DISABLED
    struct cmpy_memo own_memo;
#endif
    struct cmpy_sink_mark start;
    struct enclosing *enclosing;
    int depth;
    bool may_be_ours; /* it is known that no other pickler is in ForkingPickler's place, which none is meanwhile */
};

/* ---- small pieces; the caller has reserved CMPY_ENCODE_HEADER_MAX ---- */

static inline void cmpy_encode_byte(struct cmpy_sink *sink, unsigned byte)
{
    sink->bytes[sink->used++] = (unsigned char)byte;
}

static inline void cmpy_encode_number(struct cmpy_sink *sink, const void *number, size_t size)
{
    memcpy(sink->bytes + sink->used, number, size);
    sink->used += size;
}

static inline void cmpy_encode_size(struct cmpy_sink *sink, uint64_t size)
{
    sink->used = (size_t)(cmpy_wire_put_size(sink->bytes + sink->used, size) - sink->bytes);
}

/* ---- identity ---- */

enum cmpy_seen {
    CMPY_SEEN_FAILED,  /* an exception is set */
    CMPY_SEEN_NEW,     /* to be written where the sink is now */
    CMPY_SEEN_WRITTEN, /* a reference to it has been written */
    CMPY_SEEN_FOREIGN,
};

/* Asked before each object whose identity pickle keeps. */
enum cmpy_seen cmpy_encode_look(struct encoder *encoder, PyObject *object);

/* Goes on only with an object that has to be written. */
#define CMPY_ENCODE_UNLESS_NEW(encoder, object)                                                     \
    do {                                                                                            \
        enum cmpy_seen seen_ = cmpy_encode_look(encoder, object);                                   \
        if (seen_ == CMPY_SEEN_WRITTEN) return CMPY_WRITTEN;                                        \
        if (seen_ != CMPY_SEEN_NEW) return seen_ == CMPY_SEEN_FAILED ? CMPY_FAILED : CMPY_FOREIGN;  \
    } while (0)

/* ---- containers ---- */

/* Between enter and leave a container is held: should any code run that changes it, it cannot go away. False: it lies
 * too deep. */
static inline bool cmpy_encode_enter(struct encoder *encoder, struct enclosing *here, PyObject *object)
{
    if (encoder->depth == CMPY_WIRE_DEPTH) return false;
    encoder->depth++;
    *here = (struct enclosing){Py_NewRef(object), encoder->enclosing};
    encoder->enclosing = here;
    return true;
}

static inline void cmpy_encode_leave(struct encoder *encoder, struct enclosing *here)
{
    encoder->depth--;
    encoder->enclosing = here->outer;
    Py_DECREF(here->object);
}

/* ---- encode.c ---- */

/* A dict itself, or with `is_state` the attributes of an instance. */
enum cmpy_outcome cmpy_encode_items(struct encoder *encoder, PyObject *dict, bool is_state);

/* ---- encodeinstance.c ---- */

/* A function or a class, by its name. */
enum cmpy_outcome cmpy_encode_global(struct encoder *encoder, PyObject *object);
/* Whatever is left. */
enum cmpy_outcome cmpy_encode_instance(struct encoder *encoder, PyObject *object);

#endif
