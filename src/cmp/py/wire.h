/* Wire: the form of encoded objects, known to the codec's own files only. Sender and receiver run the same cmp on one
 * machine, so numbers are native and there is no version.
 *
 * An object is a tag byte and what follows it:
 *   NONE FALSE TRUE              nothing
 *   INT1 INT2 INT4 INT8          a signed integer of so many bytes
 *   INT_BIG size bytes           two's complement, little endian
 *   FLOAT                        a double
 *   STR_ASCII, STR_UCS1/2/4      size (in characters), then the characters as CPython keeps them
 *   NAME size characters         a short ASCII str that is interned at the sender (dict keys mostly)
 *   BYTES size bytes
 *   TUPLE LIST SET FROZENSET     size, then so many objects
 *   DICT size                    then so many pairs of objects, key first
 *   LIST_INTS, TUPLE_INTS        width (1, 2, 4, 8), size, then the integers at that width
 *   LIST_FLOATS, TUPLE_FLOATS    size, then doubles
 *   REF size                     the object whose tag lies so many bytes after the first tag of the whole object
 *   GLOBAL size size             module and qualified name (both ASCII)
 *   INSTANCE                     an object that is the class, an object that holds the attributes: a DICT, or NONE
 *   PICKLE                       struct cmpy_wire_pickle, a size (8 bytes) for each buffer, the pickle, the buffers
 * A size is one byte up to 253, or 254 and four bytes, or 255 and eight.
 *
 * REF is how identity is kept. The encoder remembers where it wrote every object that could come again and whose
 * identity pickle keeps; when it does come again, it sets CMPY_WIRE_MARK in the tag written first, and writes a REF.
 * So the decoder remembers marked objects only, which in most messages means none. */
#ifndef CMP_PY_WIRE_H
#define CMP_PY_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum cmpy_wire_tag {
    CMPY_WIRE_NONE = 1, /* 0 is no tag: zeroed memory decodes to an error */
    CMPY_WIRE_FALSE,
    CMPY_WIRE_TRUE,
    CMPY_WIRE_INT1,
    CMPY_WIRE_INT2,
    CMPY_WIRE_INT4,
    CMPY_WIRE_INT8,
    CMPY_WIRE_INT_BIG,
    CMPY_WIRE_FLOAT,
    CMPY_WIRE_STR_ASCII,
    CMPY_WIRE_STR_UCS1,
    CMPY_WIRE_STR_UCS2,
    CMPY_WIRE_STR_UCS4,
    CMPY_WIRE_NAME,
    CMPY_WIRE_BYTES,
    CMPY_WIRE_TUPLE,
    CMPY_WIRE_LIST,
    CMPY_WIRE_DICT,
    CMPY_WIRE_SET,
    CMPY_WIRE_FROZENSET,
    CMPY_WIRE_LIST_INTS,
    CMPY_WIRE_TUPLE_INTS,
    CMPY_WIRE_LIST_FLOATS,
    CMPY_WIRE_TUPLE_FLOATS,
    CMPY_WIRE_REF,
    CMPY_WIRE_GLOBAL,
    CMPY_WIRE_PICKLE,
    CMPY_WIRE_INSTANCE,
};

#define CMPY_WIRE_MARK 0x80u

/* 254: a size of four bytes follows; 255: one of eight. */
#define CMPY_WIRE_SIZE4 254
#define CMPY_WIRE_SIZE8 255
#define CMPY_WIRE_SIZE_MAX 9 /* bytes that a size takes at most */

/* Containers nest no deeper here; deeper ones are pickled, and pickle has its own limit. Small, so that neither side
 * needs to ask the interpreter about its stack. */
#define CMPY_WIRE_DEPTH 100

/* Names longer than this are ordinary strings. */
#define CMPY_WIRE_NAME_MAX 32

struct cmpy_wire_pickle {
    uint64_t size;     /* of the pickle */
    uint64_t nbuffers;
};

/* Writes a size at `at`, where CMPY_WIRE_SIZE_MAX bytes are free; gives the place after it. Inline, as is reading: met
 * once or more for each object of a message. */
static inline unsigned char *cmpy_wire_put_size(unsigned char *at, uint64_t size)
{
    if (size < CMPY_WIRE_SIZE4) {
        *at = (unsigned char)size;
        return at + 1;
    }
    if (size <= UINT32_MAX) {
        uint32_t size4 = (uint32_t)size;
        *at = CMPY_WIRE_SIZE4;
        memcpy(at + 1, &size4, sizeof size4);
        return at + 1 + sizeof size4;
    }
    *at = CMPY_WIRE_SIZE8;
    memcpy(at + 1, &size, sizeof size);
    return at + 1 + sizeof size;
}

/* Reads a size at *at and moves *at behind it; false if it does not end before `end`. */
static inline bool cmpy_wire_get_size(const unsigned char **at, const unsigned char *end, uint64_t *size)
{
    if (*at == end) return false;
    unsigned first = *(*at)++;
    if (first < CMPY_WIRE_SIZE4) {
        *size = first;
        return true;
    }
    uint32_t size4;
    size_t wanted = first == CMPY_WIRE_SIZE4 ? sizeof size4 : sizeof *size;
    if ((size_t)(end - *at) < wanted) return false;
    if (wanted == sizeof size4) {
        memcpy(&size4, *at, sizeof size4);
        *size = size4;
    } else {
        memcpy(size, *at, sizeof *size);
    }
    *at += wanted;
    return true;
}

#endif
