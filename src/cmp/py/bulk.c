#include "py/bulk.h"

#include "py/integers.h"
#include "py/wire.h"

#include <string.h>

/* ---- write ---- */

/* The ints as 8-byte integers into `out`; gives the width that holds them all, or 0 if one of them is no exact int of
 * at most 64 bits. */
static unsigned gather_ints(PyObject *const *items, Py_ssize_t count, unsigned char *out)
{
    uint64_t magnitudes = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        int64_t value;
        if (!PyLong_CheckExact(items[i]) || !cmpy_integer_small(items[i], &value)) return 0;
        memcpy(out + 8 * i, &value, 8);
        magnitudes |= (uint64_t)(value ^ (value >> 63));
    }
    return magnitudes <= INT8_MAX ? 1 : magnitudes <= INT16_MAX ? 2 : magnitudes <= INT32_MAX ? 4 : 8;
}

/* Makes 8-byte integers narrower in place, through a small buffer so that the compiler may use vectors. */
static void narrow_ints(unsigned char *bytes, size_t count, unsigned width)
{
    enum { CHUNK = 128 };
    int64_t wide[CHUNK];
    union {
        int8_t one[CHUNK];
        int16_t two[CHUNK];
        int32_t four[CHUNK];
    } narrow;
    for (size_t done = 0; done < count;) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        memcpy(wide, bytes + 8 * done, 8 * n);
        if (width == 1) {
            for (size_t i = 0; i < n; i++) narrow.one[i] = (int8_t)wide[i];
        } else if (width == 2) {
            for (size_t i = 0; i < n; i++) narrow.two[i] = (int16_t)wide[i];
        } else {
            for (size_t i = 0; i < n; i++) narrow.four[i] = (int32_t)wide[i];
        }
        memcpy(bytes + width * done, &narrow, width * n);
        done += n;
    }
}

static bool gather_floats(PyObject *const *items, Py_ssize_t count, unsigned char *out)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!PyFloat_CheckExact(items[i])) return false;
        double value = PyFloat_AS_DOUBLE(items[i]);
        memcpy(out + 8 * i, &value, 8);
    }
    return true;
}

int cmpy_bulk_write(struct cmpy_sink *sink, PyObject *const *items, Py_ssize_t count, bool is_list)
{
    bool floats = PyFloat_CheckExact(items[0]);
    if (!floats && !PyLong_CheckExact(items[0])) return 0;
    /* Most mixed sequences show it at once; room for all is made only where it will likely be used. */
    PyTypeObject *type = Py_TYPE(items[0]);
    if (Py_TYPE(items[count - 1]) != type || Py_TYPE(items[count / 2]) != type) return 0;
    if (cmpy_sink_reserve(sink, 2 + CMPY_WIRE_SIZE_MAX + 8 * (size_t)count) < 0) return -1;

    unsigned char *start = sink->bytes + sink->used;
    unsigned width = 8;
    unsigned char *payload;
    if (floats) {
        *start = is_list ? CMPY_WIRE_LIST_FLOATS : CMPY_WIRE_TUPLE_FLOATS;
        payload = cmpy_wire_put_size(start + 1, (uint64_t)count);
        if (!gather_floats(items, count, payload)) return 0;
    } else {
        *start = is_list ? CMPY_WIRE_LIST_INTS : CMPY_WIRE_TUPLE_INTS;
        payload = cmpy_wire_put_size(start + 2, (uint64_t)count);
        width = gather_ints(items, count, payload);
        if (width == 0) return 0;
        if (width < 8) narrow_ints(payload, (size_t)count, width);
        start[1] = (unsigned char)width;
    }
    sink->used = (size_t)(payload - sink->bytes) + width * (size_t)count;
    return 1;
}

/* ---- read ---- */

/* Inlined once for each width, which is a constant in each. */
static inline PyObject *number_at(const unsigned char *payload, unsigned width, size_t i)
{
    int64_t value;
    int32_t value4;
    int16_t value2;
    double real;
    switch (width) {
    case 0:
        memcpy(&real, payload + 8 * i, 8);
        return PyFloat_FromDouble(real);
    case 1:
        return PyLong_FromLong((int8_t)payload[i]);
    case 2:
        memcpy(&value2, payload + 2 * i, 2);
        return PyLong_FromLong(value2);
    case 4:
        memcpy(&value4, payload + 4 * i, 4);
        return PyLong_FromLong(value4);
    default:
        memcpy(&value, payload + 8 * i, 8);
        return PyLong_FromLongLong(value);
    }
}

static inline int fill(PyObject **items, const unsigned char *payload, unsigned width, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i] = number_at(payload, width, i);
        if (items[i] == NULL) return -1;
    }
    return 0;
}

PyObject *cmpy_bulk_read(const unsigned char *payload, size_t count, unsigned width, bool is_list)
{
    PyObject *sequence = is_list ? PyList_New((Py_ssize_t)count) : PyTuple_New((Py_ssize_t)count);
    if (sequence == NULL) return NULL;
    PyObject **items = is_list ? ((PyListObject *)sequence)->ob_item : ((PyTupleObject *)sequence)->ob_item;
    int failed = width == 0   ? fill(items, payload, 0, count)
                 : width == 1 ? fill(items, payload, 1, count)
                 : width == 2 ? fill(items, payload, 2, count)
                 : width == 4 ? fill(items, payload, 4, count)
                              : fill(items, payload, 8, count);
    if (failed < 0) Py_CLEAR(sequence);
    return sequence;
}
