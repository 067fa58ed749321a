/* The decoder: where it stands in the bytes, and what its files share with each other and with nobody else. Strings and
 * bytes are read in decodetext.c, everything else in decode.c. */
#ifndef CMP_PY_DECODER_H
#define CMP_PY_DECODER_H

#include "py/marks.h"
#include "py/state.h"
#include "py/wire.h"

#include <stdbool.h>
#include <string.h>

struct decoder {
    struct cmpy_state *state;
    const unsigned char *start, *at, *end;
    size_t owed;          /* items promised by open containers and not yet begun: each takes a byte at least */
    int depth;
    struct cmpy_marks marks;
};

/* ValueError, which says that the bytes cannot be ours. NULL, as the compiler may see. */
static inline void *cmpy_decode_malformed(const char *what)
{
    PyErr_Format(PyExc_ValueError, "not an encoded object: %s", what);
    return NULL;
}

static inline size_t cmpy_decode_left(const struct decoder *decoder)
{
    return (size_t)(decoder->end - decoder->at);
}

static inline bool cmpy_decode_number(struct decoder *decoder, void *number, size_t size)
{
    if (cmpy_decode_left(decoder) < size) return false;
    memcpy(number, decoder->at, size);
    decoder->at += size;
    return true;
}

/* A size, and that many pieces of `each` bytes, which the caller then takes: where they lie. NULL with ValueError. */
static inline const unsigned char *cmpy_decode_payload(struct decoder *decoder, size_t each, size_t *count)
{
    uint64_t size;
    if (!cmpy_wire_get_size(&decoder->at, decoder->end, &size) || size > cmpy_decode_left(decoder) / each)
        return cmpy_decode_malformed("a size exceeds the bytes");
    const unsigned char *payload = decoder->at;
    decoder->at += size * each;
    *count = size;
    return payload;
}

/* --- decodetext.c: a new reference, NULL with an exception --- */

PyObject *cmpy_decode_ascii(struct decoder *decoder);
/* A string of characters of `kind` bytes, of which at least one usually needs as many. */
PyObject *cmpy_decode_wide(struct decoder *decoder, int kind);
/* A short string that comes often: a key, or an attribute's name, which is then interned. */
PyObject *cmpy_decode_name(struct decoder *decoder, bool interned);
PyObject *cmpy_decode_bytes(struct decoder *decoder);

#endif
