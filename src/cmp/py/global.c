#include "py/global.h"

#include "py/codec.h"
#include "py/reducers.h"

#include <stdbool.h>
#include <string.h>

/* The dict of a class. Static builtin types keep theirs elsewhere from 3.12 on. New reference, NULL without one. */
static PyObject *class_dict(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030c0000
    return PyType_GetDict(type);
#else
    return Py_XNewRef(type->tp_dict);
#endif
}

/* The value of `name` that attribute access would find without running any code: in the dict of a plain module, of a
 * plain class, or (so much can be left to pickle) nowhere. New reference. */
static PyObject *own_attribute(PyObject *object, PyObject *name)
{
    PyObject *dict;
    if (PyModule_CheckExact(object)) {
        dict = Py_NewRef(PyModule_GetDict(object));
    } else if (Py_IS_TYPE(object, &PyType_Type)) {
        dict = class_dict((PyTypeObject *)object);
        if (dict == NULL) return NULL;
    } else {
        return NULL;
    }
    PyObject *value = Py_XNewRef(PyDict_GetItemWithError(dict, name));
    Py_DECREF(dict);
    return value;
}

/* Follows "Outer.Inner.method" from the module. New reference or NULL, the latter perhaps with an exception. */
static PyObject *follow(PyObject *module, PyObject *qualname)
{
    const char *characters = (const char *)PyUnicode_1BYTE_DATA(qualname);
    const char *dot = memchr(characters, '.', (size_t)PyUnicode_GET_LENGTH(qualname));
    if (dot == NULL) return own_attribute(module, qualname);

    const char *end = characters + PyUnicode_GET_LENGTH(qualname);
    PyObject *found = Py_NewRef(module);
    for (const char *part = characters; found != NULL; part = dot + 1) {
        dot = memchr(part, '.', (size_t)(end - part));
        PyObject *name = PyUnicode_FromStringAndSize(part, (dot == NULL ? end : dot) - part);
        Py_SETREF(found, name == NULL ? NULL : own_attribute(found, name));
        Py_XDECREF(name);
        if (dot == NULL) break;
    }
    return found;
}

static PyObject *loaded_module(PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    return modules != NULL && PyDict_CheckExact(modules) ? Py_XNewRef(PyDict_GetItemWithError(modules, name)) : NULL;
}

/* __module__ and __qualname__ of a class as its metaclass `type` gives them. New references, both or none. */
static void class_names(struct cmpy_state *state, PyTypeObject *type, PyObject **module_name, PyObject **qualname)
{
    if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
        PyObject *dict = class_dict(type);
        *module_name = dict == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(dict, state->str.__module__));
        Py_XDECREF(dict);
        *qualname = Py_XNewRef(((PyHeapTypeObject *)type)->ht_qualname);
    } else {
        const char *dot = strrchr(type->tp_name, '.');
        *module_name = dot == NULL ? PyUnicode_FromString("builtins")
                                   : PyUnicode_FromStringAndSize(type->tp_name, dot - type->tp_name);
        *qualname = PyUnicode_FromString(dot == NULL ? type->tp_name : dot + 1);
    }
}

static bool is_short_ascii(PyObject *name)
{
    if (name == NULL || !PyUnicode_CheckExact(name)) return false;
#if PY_VERSION_HEX < 0x030c0000
    if (!PyUnicode_IS_READY(name)) return false;
#endif
    return PyUnicode_IS_ASCII(name) && PyUnicode_GET_LENGTH(name) > 0 && PyUnicode_GET_LENGTH(name) < 256;
}

int cmpy_global_names(struct cmpy_state *state, PyObject *object, PyObject **module_name, PyObject **qualname)
{
    PyObject *module = NULL, *found = NULL;
    int same = 0;

    *module_name = *qualname = NULL;
    if (PyFunction_Check(object)) { /* nobody can subclass it; pickle asks no reducer for it, nor for classes */
        *module_name = Py_XNewRef(((PyFunctionObject *)object)->func_module);
        *qualname = Py_XNewRef(((PyFunctionObject *)object)->func_qualname);
    } else if (Py_IS_TYPE(object, &PyType_Type)) {
        class_names(state, (PyTypeObject *)object, module_name, qualname);
    } else if (PyCFunction_CheckExact(object)) {
        PyObject *self = PyCFunction_GET_SELF(object);
        if (self != NULL && !PyModule_Check(self)) goto out; /* a bound method */
        int registered = cmpy_reducers_has(state, &PyCFunction_Type);
        if (registered != 0) {
            same = registered < 0 ? -1 : 0;
            goto out;
        }
        *module_name = Py_XNewRef(((PyCFunctionObject *)object)->m_module);
        *qualname = PyUnicode_FromString(((PyCFunctionObject *)object)->m_ml->ml_name);
    }
    if (!is_short_ascii(*module_name) || !is_short_ascii(*qualname)) goto out;
    module = loaded_module(*module_name);
    if (module == NULL) goto out;
    found = follow(module, *qualname);
    same = found == object;

out:
    Py_XDECREF(found);
    Py_XDECREF(module);
    if (same != 1) {
        Py_CLEAR(*module_name);
        Py_CLEAR(*qualname);
        /* A lookup that failed is pickle's to report. */
        if (same == 0) PyErr_Clear();
    }
    return same;
}

/* Lets pickle find it: it imports, follows dots through anything, and raises in its own words. */
static PyObject *find_by_pickle(struct cmpy_state *state, const char *module_name, size_t module_size,
                                const char *qualname, size_t qualname_size)
{
    unsigned char pickle[2 + 2 + 255 + 2 + 255 + 2], *at = pickle;
    *at++ = 0x80; /* PROTO 4 */
    *at++ = 4;
    *at++ = 0x8c; /* SHORT_BINUNICODE */
    *at++ = (unsigned char)module_size;
    memcpy(at, module_name, module_size);
    at += module_size;
    *at++ = 0x8c;
    *at++ = (unsigned char)qualname_size;
    memcpy(at, qualname, qualname_size);
    at += qualname_size;
    *at++ = 0x93; /* STACK_GLOBAL */
    *at++ = '.';  /* STOP */
    PyObject *bytes = PyBytes_FromStringAndSize((char *)pickle, at - pickle);
    if (bytes == NULL) return NULL;
    PyObject *object = PyObject_CallOneArg(state->pickle_loads, bytes);
    Py_DECREF(bytes);
    return object;
}

PyObject *cmpy_global_find(struct cmpy_state *state, const char *module_name, size_t module_size, const char *qualname,
                           size_t qualname_size)
{
    if (module_size == 0 || module_size > 255 || qualname_size == 0 || qualname_size > 255) {
        PyErr_SetString(PyExc_ValueError, "not an encoded object: a global's name has an impossible length");
        return NULL;
    }
    PyObject *found = NULL, *loaded = NULL;
    PyObject *module = cmpy_names_get(&state->codec->names, module_name, module_size);
    PyObject *name = module == NULL ? NULL : cmpy_names_get(&state->codec->names, qualname, qualname_size);
    if (name == NULL) goto out;
    loaded = loaded_module(module);
    if (loaded != NULL) found = follow(loaded, name);
    if (found != NULL) {
        /* pickle.loads raises this event for each global it looks up. */
        if (PySys_Audit("pickle.find_class", "OO", module, name) < 0) Py_CLEAR(found);
    } else if (!PyErr_Occurred()) {
        found = find_by_pickle(state, module_name, module_size, qualname, qualname_size);
    }

out:
    Py_XDECREF(loaded);
    Py_XDECREF(name);
    Py_XDECREF(module);
    return found;
}
