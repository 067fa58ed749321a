#include "py/names.h"

#include <stdint.h>
#include <string.h>

static PyObject *name_new(const char *characters, size_t size)
{
    PyObject *string = PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, characters, (Py_ssize_t)size);
    if (string != NULL && !PyUnicode_IS_ASCII(string)) {
        Py_DECREF(string);
        PyErr_SetString(PyExc_ValueError, "not an encoded object: a name is not ASCII");
        return NULL;
    }
    return string;
}

static size_t name_slot(const char *characters, size_t size)
{
    uint64_t head = 0, tail = 0;
    if (size >= sizeof head) {
        memcpy(&head, characters, sizeof head);
        memcpy(&tail, characters + size - sizeof tail, sizeof tail);
    } else {
        memcpy(&head, characters, size);
    }
    uint64_t mixed = (head ^ (tail * 31) ^ size) * UINT64_C(0x9E3779B97F4A7C15);
    return (size_t)(mixed >> 32) % CMPY_NAMES;
}

PyObject *cmpy_names_get(struct cmpy_names *names, const char *characters, size_t size)
{
#ifdef Py_GIL_DISABLED
    (void)names; /* no lock guards the cache */
    return name_new(characters, size);
#else
    PyObject **slot = &names->strings[name_slot(characters, size)];
    PyObject *string = *slot;
    if (string != NULL && (size_t)PyUnicode_GET_LENGTH(string) == size &&
        memcmp(PyUnicode_1BYTE_DATA(string), characters, size) == 0) {
        Py_INCREF(string);
        return string;
    }
    string = name_new(characters, size);
    if (string == NULL) return NULL;
    Py_INCREF(string);
    Py_XSETREF(*slot, string);
    return string;
#endif
}

PyObject *cmpy_names_intern(struct cmpy_names *names, const char *characters, size_t size)
{
    PyObject *string = cmpy_names_get(names, characters, size);
    if (string == NULL || PyUnicode_CHECK_INTERNED(string)) return string;
    PyUnicode_InternInPlace(&string);
#ifndef Py_GIL_DISABLED
    Py_INCREF(string);
    Py_XSETREF(names->strings[name_slot(characters, size)], string);
#endif
    return string;
}

void cmpy_names_clear(struct cmpy_names *names)
{
    for (size_t i = 0; i < CMPY_NAMES; i++) Py_CLEAR(names->strings[i]);
}
