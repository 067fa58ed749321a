/* Integers of any size, across the versions' ways to look into an int. */
#ifndef CMP_PY_INTEGERS_H
#define CMP_PY_INTEGERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#if PY_VERSION_HEX < 0x030b0000
#include <longintrepr.h>
#endif

#include <stdbool.h>
#include <stdint.h>

/* The value of an exact int that fits in 64 bits. No exception is ever set. Inline: lists of ints live on it. */
static inline bool cmpy_integer_small(PyObject *integer, int64_t *value)
{
#if PY_VERSION_HEX >= 0x030c0000
    if (PyUnstable_Long_IsCompact((PyLongObject *)integer)) {
        *value = PyUnstable_Long_CompactValue((PyLongObject *)integer);
        return true;
    }
#else
    Py_ssize_t size = Py_SIZE(integer);
    if (size >= -1 && size <= 1) { /* the digit of zero is not defined, but multiplied by 0 */
        *value = size == 0 ? 0 : size * (int64_t)((PyLongObject *)integer)->ob_digit[0];
        return true;
    }
#endif
    int overflow;
    *value = PyLong_AsLongLongAndOverflow(integer, &overflow);
    return overflow == 0;
}

/* How many bytes two's complement takes (perhaps one more than needed); -1 with an exception. */
Py_ssize_t cmpy_integer_size(PyObject *integer);
/* Little endian two's complement of exactly that size. -1 with an exception. */
int cmpy_integer_write(PyObject *integer, unsigned char *bytes, Py_ssize_t size);
PyObject *cmpy_integer_read(const unsigned char *bytes, size_t size);

#endif
