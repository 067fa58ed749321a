#include "py/instance.h"

#include "py/codec.h"
#include "py/reducers.h"
#include "py/state.h"

/* ---- which classes are plain ---- */

unsigned int cmpy_instance_version(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030d0000 /* later the flag is there, but means nothing */
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) return 0;
#endif
    return (unsigned int)type->tp_version_tag;
}

/* Nothing but an object's header, a __dict__ and weak references, of which the latter two may lie before the object. */
static bool has_plain_layout(PyTypeObject *type)
{
    Py_ssize_t size = PyBaseObject_Type.tp_basicsize;
    if (type->tp_dictoffset > 0) size += (Py_ssize_t)sizeof(PyObject *);
    if (type->tp_weaklistoffset > 0) size += (Py_ssize_t)sizeof(PyObject *);
    return type->tp_itemsize == 0 && type->tp_basicsize == size;
}

static bool is_objects_own(PyTypeObject *type, PyObject *name)
{
    return _PyType_Lookup(type, name) == _PyType_Lookup(&PyBaseObject_Type, name);
}

/* Names in __slots__ are attributes to pickle, whether the layout has them or not; __slotnames__ is its cache of
 * them. */
static bool names_slots(struct cmpy_state *state, PyTypeObject *type)
{
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; mro != NULL && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (base == &PyBaseObject_Type) continue;
        /* A static builtin class has no such thing, nor its dict in the same place. */
        PyObject *dict = PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE) ? base->tp_dict : NULL;
        PyObject *slots = dict == NULL ? NULL : PyDict_GetItemWithError(dict, state->str.__slots__);
        if (slots != NULL && !(PyTuple_CheckExact(slots) && PyTuple_GET_SIZE(slots) == 0)) return true;
        PyObject *names = dict == NULL ? NULL : PyDict_GetItemWithError(dict, state->str.__slotnames__);
        if (names != NULL && !(PyList_CheckExact(names) && PyList_GET_SIZE(names) == 0)) return true;
    }
    return mro == NULL;
}

static bool judge(struct cmpy_state *state, PyTypeObject *type)
{
    if (!Py_IS_TYPE(type, &PyType_Type) || !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) return false;
    if (type->tp_new == NULL || type->tp_getattro != PyObject_GenericGetAttr || !has_plain_layout(type)) return false;
    return is_objects_own(type, state->str.__reduce_ex__) && is_objects_own(type, state->str.__reduce__) &&
           is_objects_own(type, state->str.__getstate__) && is_objects_own(type, state->str.__class__) &&
           is_objects_own(type, state->str.__getnewargs_ex__) && is_objects_own(type, state->str.__getnewargs__) &&
           !names_slots(state, type);
}

int cmpy_instance_plain(struct cmpy_state *state, PyTypeObject *type)
{
    struct cmpy_instance_kinds *kinds = &state->codec->kinds;
    size_t i = ((uintptr_t)type >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 32;
    __typeof__(&kinds->kinds[0]) kind = &kinds->kinds[i % CMPY_INSTANCE_KINDS];
    unsigned int version = cmpy_instance_version(type);
    if (kind->type != type || version == 0 || kind->version != version) {
        bool plain = judge(state, type); /* which gives it a version */
        if (PyErr_Occurred()) return -1;
        kind->type = type;
        kind->version = cmpy_instance_version(type);
        kind->plain = plain;
    }
    if (!kind->plain) return 0;
    int registered = cmpy_reducers_has(state, type);
    return registered < 0 ? -1 : !registered;
}

bool cmpy_instance_is_hook(PyObject *name)
{
    return PyUnicode_GET_LENGTH(name) > 4 && PyUnicode_READ_CHAR(name, 0) == '_' && PyUnicode_READ_CHAR(name, 1) == '_';
}

int cmpy_instance_dict(PyObject *instance, PyObject **dict)
{
    *dict = NULL;
    if (Py_TYPE(instance)->tp_dictoffset == 0) return 0;
#if PY_VERSION_HEX < 0x030c0000
    /* Where the attributes do not lie in a dict yet, one is made, and that may collect garbage and run finalizers. */
    int collecting = PyGC_Disable();
#endif
    *dict = PyObject_GenericGetDict(instance, NULL);
#if PY_VERSION_HEX < 0x030c0000
    if (collecting) PyGC_Enable();
#endif
    return *dict == NULL ? -1 : 0;
}

/* ---- making them again ---- */

PyObject *cmpy_instance_new(PyObject *cls)
{
    if (!PyType_Check(cls) || ((PyTypeObject *)cls)->tp_new == NULL) {
        return PyErr_Format(PyExc_ValueError, "not an encoded object: %R cannot have instances", cls);
    }
    PyObject *nothing = PyTuple_New(0);
    if (nothing == NULL) return NULL;
    PyObject *instance = ((PyTypeObject *)cls)->tp_new((PyTypeObject *)cls, nothing, NULL);
    Py_DECREF(nothing);
    return instance;
}

/* Whether the instance has no __setstate__, as can be told without running any code. */
static bool surely_no_method(struct cmpy_state *state, PyObject *instance)
{
    PyTypeObject *type = Py_TYPE(instance);
    if (type->tp_getattro != PyObject_GenericGetAttr) return false;
    if (_PyType_Lookup(type, state->str.__setstate__) != NULL) return false;
    return type->tp_new == PyBaseObject_Type.tp_new; /* so nothing has put one into the instance */
}

/* instance.__setstate__ into *method, a new reference, or NULL if there is none. -1 with an exception. */
static int find_method(struct cmpy_state *state, PyObject *instance, PyObject **method)
{
    *method = NULL;
    if (surely_no_method(state, instance)) return 0;
    *method = PyObject_GetAttr(instance, state->str.__setstate__);
    if (*method != NULL) return 0;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) return -1;
    PyErr_Clear();
    return 0;
}

static int set_item(PyObject *dict, PyObject *name, PyObject *value)
{
    Py_INCREF(name);
    if (PyUnicode_CheckExact(name)) PyUnicode_InternInPlace(&name);
    int failed = PyDict_CheckExact(dict) ? PyDict_SetItem(dict, name, value) : PyObject_SetItem(dict, name, value);
    Py_DECREF(name);
    return failed;
}

static int call(PyObject *method, PyObject *attributes)
{
    PyObject *none = PyObject_CallOneArg(method, attributes);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

int cmpy_instance_restore(struct cmpy_state *state, PyObject *instance, PyObject *attributes)
{
    PyObject *method;
    if (find_method(state, instance, &method) < 0) return -1;
    if (method != NULL) {
        int failed = call(method, attributes);
        Py_DECREF(method);
        return failed;
    }
    if (!PyDict_CheckExact(attributes)) {
        PyErr_SetString(PyExc_ValueError, "not an encoded object: attributes are not a dict");
        return -1;
    }
    PyObject *dict = PyObject_GetAttr(instance, state->str.__dict__), *name, *value;
    int failed = dict == NULL ? -1 : 0;
    Py_ssize_t position = 0;
    while (failed == 0 && PyDict_Next(attributes, &position, &name, &value)) {
        Py_INCREF(value);
        failed = set_item(dict, name, value);
        Py_DECREF(value);
    }
    Py_XDECREF(dict);
    return failed;
}

int cmpy_instance_fill(struct cmpy_state *state, PyObject *instance, PyObject *const *pairs, Py_ssize_t count)
{
    PyObject *method, *dict;
    if (find_method(state, instance, &method) < 0) return -1;
    dict = method != NULL ? PyDict_New() : PyObject_GetAttr(instance, state->str.__dict__);
    int failed = dict == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; failed == 0 && i < count; i++) {
        failed = method != NULL ? PyDict_SetItem(dict, pairs[2 * i], pairs[2 * i + 1])
                                : set_item(dict, pairs[2 * i], pairs[2 * i + 1]);
    }
    if (failed == 0 && method != NULL) failed = call(method, dict);
    Py_XDECREF(dict);
    Py_XDECREF(method);
    return failed;
}
