#include "py/integers.h"

#if PY_VERSION_HEX >= 0x030d0000

Py_ssize_t cmpy_integer_size(PyObject *integer)
{
    return PyLong_AsNativeBytes(integer, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
}

int cmpy_integer_write(PyObject *integer, unsigned char *bytes, Py_ssize_t size)
{
    return PyLong_AsNativeBytes(integer, bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN) < 0 ? -1 : 0;
}

PyObject *cmpy_integer_read(const unsigned char *bytes, size_t size)
{
    return PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
}

#else

Py_ssize_t cmpy_integer_size(PyObject *integer)
{
    size_t bits = _PyLong_NumBits(integer);
    if (bits == (size_t)-1 && PyErr_Occurred()) return -1;
    return (Py_ssize_t)(bits / 8 + 1); /* room for the sign */
}

int cmpy_integer_write(PyObject *integer, unsigned char *bytes, Py_ssize_t size)
{
    return _PyLong_AsByteArray((PyLongObject *)integer, bytes, (size_t)size, 1, 1);
}

PyObject *cmpy_integer_read(const unsigned char *bytes, size_t size)
{
    return _PyLong_FromByteArray(bytes, size, 1, 1);
}

#endif
