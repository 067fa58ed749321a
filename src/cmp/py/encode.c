#include "py/encode.h"

#include "py/bulk.h"
#include "py/codec.h"
#include "py/encoder.h"
#include "py/instance.h"
#include "py/integers.h"
#include "py/otherpickler.h"
#include "py/pickle.h"

/* Payloads from this size on are referred to instead of copied. */
#define REFER_FROM 1024

static enum cmpy_outcome encode_value(struct encoder *encoder, PyObject *object);

/* ---- identity ---- */

/* A tuple or frozenset that is being written. */
static bool is_open_constant(const struct encoder *encoder, PyObject *object)
{
    if (!PyTuple_CheckExact(object) && !PyFrozenSet_CheckExact(object)) return false;
    for (struct enclosing *one = encoder->enclosing; one != NULL; one = one->outer) {
        if (one->object == object) return true;
    }
    return false;
}

enum cmpy_seen cmpy_encode_look(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
#ifndef Py_GIL_DISABLED
    /* Whoever led here holds the only reference, so nobody else can lead here again. */
    if (Py_REFCNT(object) == 1) return CMPY_SEEN_NEW;
#endif
    if (encoder->memo == NULL) {
#ifdef Py_GIL_DISABLED
        cmpy_memo_init(encoder->memo = &encoder->own_memo);
#else
        /* One is enough: no Python code runs until we are done, but for a key's __eq__ where a class or function is
         * looked up. What such code encodes in its turn goes to pickle. */
        if (encoder->state->codec->memo_taken) return CMPY_SEEN_FOREIGN;
        encoder->state->codec->memo_taken = true;
        encoder->memo = &encoder->state->codec->memo;
#endif
        cmpy_memo_begin(encoder->memo);
    }
    struct cmpy_memo_entry *entry = cmpy_memo_find(encoder->memo, object);
    if (entry == NULL) return CMPY_SEEN_FAILED;
    size_t at = sink->used - encoder->start.used;
    if (entry->generation != encoder->memo->generation) {
        if (at > UINT32_MAX) return CMPY_SEEN_FOREIGN;
        uint64_t outside = sink->outside - encoder->start.outside;
        *entry = (struct cmpy_memo_entry){object, at + outside, (uint32_t)at, encoder->memo->generation};
        encoder->memo->used++;
        return CMPY_SEEN_NEW;
    }
    /* A tuple inside itself (through a list): the decoder cannot refer to a tuple that it has not made yet. */
    if (is_open_constant(encoder, object)) return CMPY_SEEN_FOREIGN;
    sink->bytes[encoder->start.used + entry->at] |= CMPY_WIRE_MARK;
    cmpy_encode_byte(sink, CMPY_WIRE_REF);
    cmpy_encode_size(sink, entry->where);
    return CMPY_SEEN_WRITTEN;
}

/* ---- scalars ---- */

static enum cmpy_outcome encode_int(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    int64_t value;
    if (cmpy_integer_small(object, &value)) {
        if (value == (int8_t)value) {
            cmpy_encode_byte(sink, CMPY_WIRE_INT1);
            cmpy_encode_byte(sink, (uint8_t)value);
        } else if (value == (int16_t)value) {
            int16_t value2 = (int16_t)value;
            cmpy_encode_byte(sink, CMPY_WIRE_INT2);
            cmpy_encode_number(sink, &value2, sizeof value2);
        } else if (value == (int32_t)value) {
            int32_t value4 = (int32_t)value;
            cmpy_encode_byte(sink, CMPY_WIRE_INT4);
            cmpy_encode_number(sink, &value4, sizeof value4);
        } else {
            cmpy_encode_byte(sink, CMPY_WIRE_INT8);
            cmpy_encode_number(sink, &value, sizeof value);
        }
        return CMPY_WRITTEN;
    }
    Py_ssize_t size = cmpy_integer_size(object);
    if (size < 0 || cmpy_sink_reserve(sink, CMPY_ENCODE_HEADER_MAX + (size_t)size) < 0) return CMPY_FAILED;
    cmpy_encode_byte(sink, CMPY_WIRE_INT_BIG);
    cmpy_encode_size(sink, (uint64_t)size);
    if (cmpy_integer_write(object, sink->bytes + sink->used, size) < 0) return CMPY_FAILED;
    sink->used += (size_t)size;
    return CMPY_WRITTEN;
}

/* `size` bytes at `bytes` that belong to `owner`, which never changes them. The header is written. */
static enum cmpy_outcome write_payload(struct cmpy_sink *sink, PyObject *owner, const void *bytes, size_t size)
{
    if (size < REFER_FROM) return cmpy_sink_raw(sink, bytes, size) < 0 ? CMPY_FAILED : CMPY_WRITTEN;
    Py_buffer view;
    if (PyBuffer_FillInfo(&view, owner, (void *)bytes, (Py_ssize_t)size, 1, PyBUF_SIMPLE) < 0) return CMPY_FAILED;
    return cmpy_sink_refer(sink, &view) < 0 ? CMPY_FAILED : CMPY_WRITTEN;
}

static enum cmpy_outcome encode_str(struct encoder *encoder, PyObject *object, bool is_key)
{
    struct cmpy_sink *sink = encoder->sink;
#if PY_VERSION_HEX < 0x030c0000
    if (PyUnicode_READY(object) < 0) return CMPY_FAILED; /* made by an old C interface, perhaps not laid out yet */
#endif
    size_t length = (size_t)PyUnicode_GET_LENGTH(object);
    unsigned kind = (unsigned)PyUnicode_KIND(object);
    /* Empty and one-character Latin strings are one object each in every process: there is nothing to remember. */
    if (length > 1 || kind != PyUnicode_1BYTE_KIND) CMPY_ENCODE_UNLESS_NEW(encoder, object);
    if (PyUnicode_IS_ASCII(object)) {
        bool is_name = is_key && length > 1 && length <= CMPY_WIRE_NAME_MAX && PyUnicode_CHECK_INTERNED(object);
        cmpy_encode_byte(sink, is_name ? CMPY_WIRE_NAME : CMPY_WIRE_STR_ASCII);
    } else {
        cmpy_encode_byte(sink, kind == PyUnicode_1BYTE_KIND   ? CMPY_WIRE_STR_UCS1
                         : kind == PyUnicode_2BYTE_KIND ? CMPY_WIRE_STR_UCS2
                                                        : CMPY_WIRE_STR_UCS4);
    }
    cmpy_encode_size(sink, length);
    return write_payload(sink, object, PyUnicode_DATA(object), length * kind);
}

static enum cmpy_outcome encode_bytes(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    size_t size = (size_t)PyBytes_GET_SIZE(object);
    if (size > 1) CMPY_ENCODE_UNLESS_NEW(encoder, object);
    cmpy_encode_byte(sink, CMPY_WIRE_BYTES);
    cmpy_encode_size(sink, size);
    return write_payload(sink, object, PyBytes_AS_STRING(object), size);
}

/* ---- containers ---- */

static enum cmpy_outcome encode_tuple(struct encoder *encoder, PyObject *object)
{
    Py_ssize_t count = PyTuple_GET_SIZE(object);
    if (count > 0) CMPY_ENCODE_UNLESS_NEW(encoder, object);
    if (count >= CMPY_BULK_FROM) {
        int written = cmpy_bulk_write(encoder->sink, ((PyTupleObject *)object)->ob_item, count, false);
        if (written != 0) return written < 0 ? CMPY_FAILED : CMPY_WRITTEN;
    }
    cmpy_encode_byte(encoder->sink, CMPY_WIRE_TUPLE);
    cmpy_encode_size(encoder->sink, (uint64_t)count);
    struct enclosing here;
    if (!cmpy_encode_enter(encoder, &here, object)) return CMPY_FOREIGN;
    enum cmpy_outcome outcome = CMPY_WRITTEN;
    for (Py_ssize_t i = 0; i < count && outcome == CMPY_WRITTEN; i++) {
        outcome = encode_value(encoder, PyTuple_GET_ITEM(object, i));
    }
    cmpy_encode_leave(encoder, &here);
    return outcome;
}

static enum cmpy_outcome encode_list(struct encoder *encoder, PyObject *object)
{
    CMPY_ENCODE_UNLESS_NEW(encoder, object);
    Py_ssize_t count = PyList_GET_SIZE(object);
    if (count >= CMPY_BULK_FROM) {
        int written = cmpy_bulk_write(encoder->sink, ((PyListObject *)object)->ob_item, count, true);
        if (written != 0) return written < 0 ? CMPY_FAILED : CMPY_WRITTEN;
    }
    cmpy_encode_byte(encoder->sink, CMPY_WIRE_LIST);
    cmpy_encode_size(encoder->sink, (uint64_t)count);
    struct enclosing here;
    if (!cmpy_encode_enter(encoder, &here, object)) return CMPY_FOREIGN;
    enum cmpy_outcome outcome = CMPY_WRITTEN;
    for (Py_ssize_t i = 0; i < count && outcome == CMPY_WRITTEN; i++) {
        outcome = i < PyList_GET_SIZE(object) ? encode_value(encoder, PyList_GET_ITEM(object, i)) : CMPY_FOREIGN;
    }
    if (PyList_GET_SIZE(object) != count && outcome == CMPY_WRITTEN) outcome = CMPY_FOREIGN;
    cmpy_encode_leave(encoder, &here);
    return outcome;
}

enum cmpy_outcome cmpy_encode_items(struct encoder *encoder, PyObject *object, bool is_state)
{
    struct cmpy_sink *sink = encoder->sink;
    Py_ssize_t count = PyDict_GET_SIZE(object), written = 0, position = 0;
    cmpy_encode_byte(sink, CMPY_WIRE_DICT);
    cmpy_encode_size(sink, (uint64_t)count);
    struct enclosing here;
    if (!cmpy_encode_enter(encoder, &here, object)) return CMPY_FOREIGN;
    enum cmpy_outcome outcome = CMPY_WRITTEN;
    PyObject *key, *value;
    while (outcome == CMPY_WRITTEN && PyDict_Next(object, &position, &key, &value)) {
        written++;
        if (is_state && (!PyUnicode_CheckExact(key) || cmpy_instance_is_hook(key))) {
            outcome = CMPY_FOREIGN;
        } else if (PyUnicode_CheckExact(key)) {
            outcome = cmpy_sink_reserve(sink, CMPY_ENCODE_HEADER_MAX) < 0 ? CMPY_FAILED
                                                                          : encode_str(encoder, key, true);
            if (outcome == CMPY_WRITTEN) outcome = encode_value(encoder, value);
        } else {
            Py_INCREF(value); /* a key that is a function takes lookups in dicts that are anybody's */
            outcome = encode_value(encoder, key);
            if (outcome == CMPY_WRITTEN) outcome = encode_value(encoder, value);
            Py_DECREF(value);
        }
    }
    if (outcome == CMPY_WRITTEN && (written != count || PyDict_GET_SIZE(object) != count)) outcome = CMPY_FOREIGN;
    cmpy_encode_leave(encoder, &here);
    return outcome;
}

static enum cmpy_outcome encode_dict(struct encoder *encoder, PyObject *object)
{
    CMPY_ENCODE_UNLESS_NEW(encoder, object);
    return cmpy_encode_items(encoder, object, false);
}

static enum cmpy_outcome encode_set(struct encoder *encoder, PyObject *object)
{
    CMPY_ENCODE_UNLESS_NEW(encoder, object);
    PySetObject *set = (PySetObject *)object;
    Py_ssize_t count = PySet_GET_SIZE(object), written = 0;
    cmpy_encode_byte(encoder->sink, Py_IS_TYPE(object, &PySet_Type) ? CMPY_WIRE_SET : CMPY_WIRE_FROZENSET);
    cmpy_encode_size(encoder->sink, (uint64_t)count);
    struct enclosing here;
    if (!cmpy_encode_enter(encoder, &here, object)) return CMPY_FOREIGN;
    enum cmpy_outcome outcome = CMPY_WRITTEN;
    /* Read where it lies: an iterator would be a new object, whose making may collect garbage and run finalizers.
     * An entry without a key was never used, one with hash -1 was and holds a placeholder. */
    for (Py_ssize_t i = 0; i <= set->mask && outcome == CMPY_WRITTEN; i++) {
        PyObject *key = set->table[i].key;
        if (key == NULL || set->table[i].hash == -1) continue;
        written++;
        outcome = encode_value(encoder, key);
    }
    if (outcome == CMPY_WRITTEN && written != count) outcome = CMPY_FOREIGN;
    cmpy_encode_leave(encoder, &here);
    return outcome;
}

/* ---- one value ---- */

static enum cmpy_outcome encode_value(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    PyTypeObject *type = Py_TYPE(object);

    if (cmpy_sink_reserve(sink, CMPY_ENCODE_HEADER_MAX) < 0) return CMPY_FAILED;
    if (type == &PyLong_Type) return encode_int(encoder, object);
    if (type == &PyUnicode_Type) return encode_str(encoder, object, false);
    if (type == &PyFloat_Type) {
        double value = PyFloat_AS_DOUBLE(object);
        cmpy_encode_byte(sink, CMPY_WIRE_FLOAT);
        cmpy_encode_number(sink, &value, sizeof value);
        return CMPY_WRITTEN;
    }
    if (object == Py_None || type == &PyBool_Type) {
        cmpy_encode_byte(sink, object == Py_None   ? CMPY_WIRE_NONE
                               : object == Py_True ? CMPY_WIRE_TRUE
                                                   : CMPY_WIRE_FALSE);
        return CMPY_WRITTEN;
    }
    if (type == &PyTuple_Type) return encode_tuple(encoder, object);
    if (type == &PyBytes_Type) return encode_bytes(encoder, object);
#ifndef Py_GIL_DISABLED
    /* Without a GIL other threads may change these under our hands; pickle locks them. */
    if (type == &PyList_Type) return encode_list(encoder, object);
    if (type == &PyDict_Type) return encode_dict(encoder, object);
    if (type == &PySet_Type || type == &PyFrozenSet_Type) return encode_set(encoder, object);
#endif
    if (!encoder->may_be_ours) {
        if (cmpy_otherpickler_is_there(encoder->state)) return CMPY_FOREIGN;
        encoder->may_be_ours = true;
    }
    if (type == &PyFunction_Type || type == &PyType_Type || type == &PyCFunction_Type) {
        return cmpy_encode_global(encoder, object);
    }
#ifdef Py_GIL_DISABLED
    return CMPY_FOREIGN;
#else
    return cmpy_encode_instance(encoder, object);
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
    encoder.may_be_ours = false;
    enum cmpy_outcome outcome = encode_value(&encoder, object);
    if (encoder.memo != NULL) {
        cmpy_memo_end(encoder.memo);
        state->codec->memo_taken = false;
    }
    if (outcome == CMPY_WRITTEN) return 0;
    cmpy_sink_rewind(sink, &encoder.start);
    if (outcome == CMPY_FAILED) return -1;
    if (cmpy_pickle_dump(state, sink, object) == 0) return 0;
    cmpy_sink_rewind(sink, &encoder.start);
    return -1;
}
