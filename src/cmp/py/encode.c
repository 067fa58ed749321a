#include "py/encode.h"

#include "py/bulk.h"
#include "py/codec.h"
#include "py/global.h"
#include "py/instance.h"
#include "py/integers.h"
#include "py/pickle.h"
#include "py/wire.h"

#include <string.h>

/* How one value went. */
enum outcome {
    FAILED = -1, /* an exception is set (memory) */
    WRITTEN = 0,
    FOREIGN,     /* not ours to encode: the whole object goes to pickle */
};

/* Payloads from this size on are referred to instead of copied. */
#define REFER_FROM 1024
/* What a tag and its size take at most: every value starts by making room for that. */
#define HEADER_MAX (1 + CMPY_WIRE_SIZE_MAX)

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
};

static enum outcome encode_value(struct encoder *encoder, PyObject *object);

/* ---- small pieces; the caller has reserved HEADER_MAX ---- */

static inline void write_byte(struct cmpy_sink *sink, unsigned byte)
{
    sink->bytes[sink->used++] = (unsigned char)byte;
}

static inline void write_number(struct cmpy_sink *sink, const void *number, size_t size)
{
    memcpy(sink->bytes + sink->used, number, size);
    sink->used += size;
}

static inline void write_size(struct cmpy_sink *sink, uint64_t size)
{
    sink->used = (size_t)(cmpy_wire_put_size(sink->bytes + sink->used, size) - sink->bytes);
}

/* ---- identity ---- */

enum seen {
    SEEN_FAILED,  /* an exception is set */
    SEEN_NEW,     /* to be written where the sink is now */
    SEEN_WRITTEN, /* a reference to it has been written */
    SEEN_FOREIGN,
};

/* A tuple or frozenset that is being written. */
static bool is_open_constant(const struct encoder *encoder, PyObject *object)
{
    if (!PyTuple_CheckExact(object) && !PyFrozenSet_CheckExact(object)) return false;
    for (struct enclosing *one = encoder->enclosing; one != NULL; one = one->outer) {
        if (one->object == object) return true;
    }
    return false;
}

/* Asked before each object whose identity pickle keeps. */
static enum seen look(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
#ifndef Py_GIL_DISABLED
    /* Whoever led here holds the only reference, so nobody else can lead here again. */
    if (Py_REFCNT(object) == 1) return SEEN_NEW;
#endif
    if (encoder->memo == NULL) {
#ifdef Py_GIL_DISABLED
        cmpy_memo_init(encoder->memo = &encoder->own_memo);
#else
        /* One is enough: no Python code runs until we are done, but for a key's __eq__ where a class or function is
         * looked up. What such code encodes in its turn goes to pickle. */
        if (encoder->state->codec->memo_taken) return SEEN_FOREIGN;
        encoder->state->codec->memo_taken = true;
        encoder->memo = &encoder->state->codec->memo;
#endif
        cmpy_memo_begin(encoder->memo);
    }
    struct cmpy_memo_entry *entry = cmpy_memo_find(encoder->memo, object);
    if (entry == NULL) return SEEN_FAILED;
    size_t at = sink->used - encoder->start.used;
    if (entry->generation != encoder->memo->generation) {
        if (at > UINT32_MAX) return SEEN_FOREIGN;
        uint64_t outside = sink->outside - encoder->start.outside;
        *entry = (struct cmpy_memo_entry){object, at + outside, (uint32_t)at, encoder->memo->generation};
        encoder->memo->used++;
        return SEEN_NEW;
    }
    /* A tuple inside itself (through a list): the decoder cannot refer to a tuple that it has not made yet. */
    if (is_open_constant(encoder, object)) return SEEN_FOREIGN;
    sink->bytes[encoder->start.used + entry->at] |= CMPY_WIRE_MARK;
    write_byte(sink, CMPY_WIRE_REF);
    write_size(sink, entry->where);
    return SEEN_WRITTEN;
}

#define RETURN_UNLESS_NEW(encoder, object)                        \
    do {                                                          \
        enum seen seen_ = look(encoder, object);                  \
        if (seen_ == SEEN_WRITTEN) return WRITTEN;                \
        if (seen_ != SEEN_NEW) return seen_ == SEEN_FAILED ? FAILED : FOREIGN; \
    } while (0)

/* ---- scalars ---- */

static enum outcome encode_int(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    int64_t value;
    if (cmpy_integer_small(object, &value)) {
        if (value == (int8_t)value) {
            write_byte(sink, CMPY_WIRE_INT1);
            write_byte(sink, (uint8_t)value);
        } else if (value == (int16_t)value) {
            int16_t value2 = (int16_t)value;
            write_byte(sink, CMPY_WIRE_INT2);
            write_number(sink, &value2, sizeof value2);
        } else if (value == (int32_t)value) {
            int32_t value4 = (int32_t)value;
            write_byte(sink, CMPY_WIRE_INT4);
            write_number(sink, &value4, sizeof value4);
        } else {
            write_byte(sink, CMPY_WIRE_INT8);
            write_number(sink, &value, sizeof value);
        }
        return WRITTEN;
    }
    Py_ssize_t size = cmpy_integer_size(object);
    if (size < 0 || cmpy_sink_reserve(sink, HEADER_MAX + (size_t)size) < 0) return FAILED;
    write_byte(sink, CMPY_WIRE_INT_BIG);
    write_size(sink, (uint64_t)size);
    if (cmpy_integer_write(object, sink->bytes + sink->used, size) < 0) return FAILED;
    sink->used += (size_t)size;
    return WRITTEN;
}

/* `size` bytes at `bytes` that belong to `owner`, which never changes them. The header is written. */
static enum outcome write_payload(struct cmpy_sink *sink, PyObject *owner, const void *bytes, size_t size)
{
    if (size < REFER_FROM) return cmpy_sink_raw(sink, bytes, size) < 0 ? FAILED : WRITTEN;
    Py_buffer view;
    if (PyBuffer_FillInfo(&view, owner, (void *)bytes, (Py_ssize_t)size, 1, PyBUF_SIMPLE) < 0) return FAILED;
    return cmpy_sink_refer(sink, &view) < 0 ? FAILED : WRITTEN;
}

static enum outcome encode_str(struct encoder *encoder, PyObject *object, bool is_key)
{
    struct cmpy_sink *sink = encoder->sink;
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(object) < 0) return FAILED; /* made by an old C interface, perhaps not laid out yet */
#endif
    size_t length = (size_t)PyUnicode_GET_LENGTH(object);
    unsigned kind = (unsigned)PyUnicode_KIND(object);
    /* Empty and one-character Latin strings are one object each in every process: there is nothing to remember. */
    if (length > 1 || kind != PyUnicode_1BYTE_KIND) RETURN_UNLESS_NEW(encoder, object);
    if (PyUnicode_IS_ASCII(object)) {
        bool is_name = is_key && length > 1 && length <= CMPY_WIRE_NAME_MAX && PyUnicode_CHECK_INTERNED(object);
        write_byte(sink, is_name ? CMPY_WIRE_NAME : CMPY_WIRE_STR_ASCII);
    } else {
        write_byte(sink, kind == PyUnicode_1BYTE_KIND   ? CMPY_WIRE_STR_UCS1
                         : kind == PyUnicode_2BYTE_KIND ? CMPY_WIRE_STR_UCS2
                                                        : CMPY_WIRE_STR_UCS4);
    }
    write_size(sink, length);
    return write_payload(sink, object, PyUnicode_DATA(object), length * kind);
}

static enum outcome encode_bytes(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    size_t size = (size_t)PyBytes_GET_SIZE(object);
    if (size > 1) RETURN_UNLESS_NEW(encoder, object);
    write_byte(sink, CMPY_WIRE_BYTES);
    write_size(sink, size);
    return write_payload(sink, object, PyBytes_AS_STRING(object), size);
}

static enum outcome encode_global(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    PyObject *names[2];
    Py_INCREF(object); /* in case the lookups run code after all: a key of sys.modules may have an __eq__ */
    int found = cmpy_global_names(encoder->state, object, &names[0], &names[1]);
    Py_DECREF(object);
    if (found <= 0) return found < 0 ? FAILED : FOREIGN;
    int failed = cmpy_sink_reserve(sink, 1 + 2 * (CMPY_WIRE_SIZE_MAX + 255));
    if (failed == 0) write_byte(sink, CMPY_WIRE_GLOBAL);
    for (int i = 0; i < 2; i++) {
        if (failed == 0) {
            size_t size = (size_t)PyUnicode_GET_LENGTH(names[i]);
            write_size(sink, size);
            write_number(sink, PyUnicode_1BYTE_DATA(names[i]), size);
        }
        Py_DECREF(names[i]);
    }
    return failed == 0 ? WRITTEN : FAILED;
}

/* ---- containers ---- */

/* Between enter and leave the container is held: should any code run that changes it, it cannot go away. */
static bool enter(struct encoder *encoder, struct enclosing *here, PyObject *object)
{
    if (encoder->depth == CMPY_WIRE_DEPTH) return false;
    encoder->depth++;
    *here = (struct enclosing){Py_NewRef(object), encoder->enclosing};
    encoder->enclosing = here;
    return true;
}

static void leave(struct encoder *encoder, struct enclosing *here)
{
    encoder->depth--;
    encoder->enclosing = here->outer;
    Py_DECREF(here->object);
}

static enum outcome encode_tuple(struct encoder *encoder, PyObject *object)
{
    Py_ssize_t count = PyTuple_GET_SIZE(object);
    if (count > 0) RETURN_UNLESS_NEW(encoder, object);
    if (count >= CMPY_BULK_FROM) {
        int written = cmpy_bulk_write(encoder->sink, ((PyTupleObject *)object)->ob_item, count, false);
        if (written != 0) return written < 0 ? FAILED : WRITTEN;
    }
    write_byte(encoder->sink, CMPY_WIRE_TUPLE);
    write_size(encoder->sink, (uint64_t)count);
    struct enclosing here;
    if (!enter(encoder, &here, object)) return FOREIGN;
    enum outcome outcome = WRITTEN;
    for (Py_ssize_t i = 0; i < count && outcome == WRITTEN; i++) {
        outcome = encode_value(encoder, PyTuple_GET_ITEM(object, i));
    }
    leave(encoder, &here);
    return outcome;
}

static enum outcome encode_list(struct encoder *encoder, PyObject *object)
{
    RETURN_UNLESS_NEW(encoder, object);
    Py_ssize_t count = PyList_GET_SIZE(object);
    if (count >= CMPY_BULK_FROM) {
        int written = cmpy_bulk_write(encoder->sink, ((PyListObject *)object)->ob_item, count, true);
        if (written != 0) return written < 0 ? FAILED : WRITTEN;
    }
    write_byte(encoder->sink, CMPY_WIRE_LIST);
    write_size(encoder->sink, (uint64_t)count);
    struct enclosing here;
    if (!enter(encoder, &here, object)) return FOREIGN;
    enum outcome outcome = WRITTEN;
    for (Py_ssize_t i = 0; i < count && outcome == WRITTEN; i++) {
        outcome = i < PyList_GET_SIZE(object) ? encode_value(encoder, PyList_GET_ITEM(object, i)) : FOREIGN;
    }
    if (PyList_GET_SIZE(object) != count && outcome == WRITTEN) outcome = FOREIGN;
    leave(encoder, &here);
    return outcome;
}

/* The dict itself, or with `is_state` the attributes of an instance. */
static enum outcome write_dict(struct encoder *encoder, PyObject *object, bool is_state)
{
    struct cmpy_sink *sink = encoder->sink;
    Py_ssize_t count = PyDict_GET_SIZE(object), written = 0, position = 0;
    write_byte(sink, CMPY_WIRE_DICT);
    write_size(sink, (uint64_t)count);
    struct enclosing here;
    if (!enter(encoder, &here, object)) return FOREIGN;
    enum outcome outcome = WRITTEN;
    PyObject *key, *value;
    while (outcome == WRITTEN && PyDict_Next(object, &position, &key, &value)) {
        written++;
        if (is_state && (!PyUnicode_CheckExact(key) || cmpy_instance_is_hook(key))) {
            outcome = FOREIGN;
        } else if (PyUnicode_CheckExact(key)) {
            outcome = cmpy_sink_reserve(sink, HEADER_MAX) < 0 ? FAILED : encode_str(encoder, key, true);
            if (outcome == WRITTEN) outcome = encode_value(encoder, value);
        } else {
            Py_INCREF(value); /* a key that is a function takes lookups in dicts that are anybody's */
            outcome = encode_value(encoder, key);
            if (outcome == WRITTEN) outcome = encode_value(encoder, value);
            Py_DECREF(value);
        }
    }
    if (outcome == WRITTEN && (written != count || PyDict_GET_SIZE(object) != count)) outcome = FOREIGN;
    leave(encoder, &here);
    return outcome;
}

static enum outcome encode_dict(struct encoder *encoder, PyObject *object)
{
    RETURN_UNLESS_NEW(encoder, object);
    return write_dict(encoder, object, false);
}

static enum outcome encode_set(struct encoder *encoder, PyObject *object)
{
    RETURN_UNLESS_NEW(encoder, object);
    PySetObject *set = (PySetObject *)object;
    Py_ssize_t count = PySet_GET_SIZE(object), written = 0;
    write_byte(encoder->sink, Py_IS_TYPE(object, &PySet_Type) ? CMPY_WIRE_SET : CMPY_WIRE_FROZENSET);
    write_size(encoder->sink, (uint64_t)count);
    struct enclosing here;
    if (!enter(encoder, &here, object)) return FOREIGN;
    enum outcome outcome = WRITTEN;
    /* Read where it lies: an iterator would be a new object, whose making may collect garbage and run finalizers.
     * An entry without a key was never used, one with hash -1 was and holds a placeholder. */
    for (Py_ssize_t i = 0; i <= set->mask && outcome == WRITTEN; i++) {
        PyObject *key = set->table[i].key;
        if (key == NULL || set->table[i].hash == -1) continue;
        written++;
        outcome = encode_value(encoder, key);
    }
    if (outcome == WRITTEN && written != count) outcome = FOREIGN;
    leave(encoder, &here);
    return outcome;
}

/* ---- instances ---- */

static enum outcome encode_class(struct encoder *encoder, PyObject *class)
{
    if (cmpy_sink_reserve(encoder->sink, HEADER_MAX) < 0) return FAILED;
    RETURN_UNLESS_NEW(encoder, class);
    return encode_global(encoder, class);
}

static enum outcome encode_attributes(struct encoder *encoder, PyObject *instance)
{
    PyObject *dict;
    if (cmpy_instance_dict(instance, &dict) < 0 || cmpy_sink_reserve(encoder->sink, HEADER_MAX) < 0) return FAILED;
    if (dict == NULL || PyDict_GET_SIZE(dict) == 0) {
        Py_XDECREF(dict);
        write_byte(encoder->sink, CMPY_WIRE_NONE);
        return WRITTEN;
    }
    /* Two references, the instance's and ours: nobody else can lead here. */
    enum seen seen = Py_REFCNT(dict) == 2 ? SEEN_NEW : look(encoder, dict);
    enum outcome outcome = seen == SEEN_NEW       ? write_dict(encoder, dict, true)
                           : seen == SEEN_WRITTEN ? WRITTEN
                           : seen == SEEN_FAILED  ? FAILED
                                                  : FOREIGN;
    Py_DECREF(dict);
    return outcome;
}

static enum outcome encode_instance(struct encoder *encoder, PyObject *object)
{
    int plain = cmpy_instance_plain(encoder->state, Py_TYPE(object));
    if (plain <= 0) return plain < 0 ? FAILED : FOREIGN;
    RETURN_UNLESS_NEW(encoder, object);
    write_byte(encoder->sink, CMPY_WIRE_INSTANCE);
    struct enclosing here;
    if (!enter(encoder, &here, object)) return FOREIGN;
    enum outcome outcome = encode_class(encoder, (PyObject *)Py_TYPE(object));
    if (outcome == WRITTEN) outcome = encode_attributes(encoder, object);
    leave(encoder, &here);
    return outcome;
}

/* ---- one value ---- */

static enum outcome encode_value(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    PyTypeObject *type = Py_TYPE(object);

    if (cmpy_sink_reserve(sink, HEADER_MAX) < 0) return FAILED;
    if (type == &PyLong_Type) return encode_int(encoder, object);
    if (type == &PyUnicode_Type) return encode_str(encoder, object, false);
    if (type == &PyFloat_Type) {
        double value = PyFloat_AS_DOUBLE(object);
        write_byte(sink, CMPY_WIRE_FLOAT);
        write_number(sink, &value, sizeof value);
        return WRITTEN;
    }
    if (object == Py_None || type == &PyBool_Type) {
        write_byte(sink, object == Py_None ? CMPY_WIRE_NONE : object == Py_True ? CMPY_WIRE_TRUE : CMPY_WIRE_FALSE);
        return WRITTEN;
    }
    if (type == &PyTuple_Type) return encode_tuple(encoder, object);
    if (type == &PyBytes_Type) return encode_bytes(encoder, object);
#ifndef Py_GIL_DISABLED
    /* Without a GIL other threads may change these under our hands; pickle locks them. */
    if (type == &PyList_Type) return encode_list(encoder, object);
    if (type == &PyDict_Type) return encode_dict(encoder, object);
    if (type == &PySet_Type || type == &PyFrozenSet_Type) return encode_set(encoder, object);
#endif
    if (type == &PyFunction_Type || type == &PyType_Type || type == &PyCFunction_Type) {
        return encode_global(encoder, object);
    }
#ifdef Py_GIL_DISABLED
    return FOREIGN;
#else
    return encode_instance(encoder, object);
#endif
}

int cmpy_encode(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *object)
{
    struct encoder encoder;
    encoder.state = state;
    encoder.sink = sink;
    encoder.memo = NULL;
    encoder.start = cmpy_sink_mark(sink);
    encoder.enclosing = NULL;
    encoder.depth = 0;
    enum outcome outcome = encode_value(&encoder, object);
    if (encoder.memo != NULL) {
        cmpy_memo_end(encoder.memo);
        state->codec->memo_taken = false;
    }
    if (outcome == WRITTEN) return 0;
    cmpy_sink_rewind(sink, &encoder.start);
    if (outcome == FAILED) return -1;
    if (cmpy_pickle_dump(state, sink, object) == 0) return 0;
    cmpy_sink_rewind(sink, &encoder.start);
    return -1;
}
