#include "py/verb.h"

#include "py/patches.h"

#include <stddef.h>
#include <structmember.h>

struct verb {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *name;
    PyObject *method; /* of the class, in C */
};

static PyObject *bind(PyObject *value, PyObject *taker, PyObject *class)
{
    descrgetfunc get = Py_TYPE(value)->tp_descr_get;
    Py_INCREF(value);
    PyObject *bound = get == NULL ? Py_NewRef(value) : get(value, taker, class);
    Py_DECREF(value);
    return bound;
}

/* Called with the object that it is a method of, as the interpreter does where it can: without a bound method, and so
 * without memory, which the end of a pool may have to do without. */
static PyObject *verb_call(PyObject *object, PyObject *const *args, size_t nargsf, PyObject *names)
{
    struct verb *self = (struct verb *)object;
    PyObject *patch;
    int found = 0;
    if (PyVectorcall_NARGS(nargsf) > 0)
        found = cmpy_patch_look(cmpy_state_of_type(Py_TYPE(object)), Py_TYPE(args[0]), self->name, &patch);
    if (found < 0) return NULL;
    if (found == 0) return PyObject_Vectorcall(self->method, args, nargsf, names);
    PyObject *bound = bind(patch, args[0], (PyObject *)Py_TYPE(args[0]));
    if (bound == NULL) return NULL;
    PyObject *result = PyObject_Vectorcall(bound, args + 1, (size_t)(PyVectorcall_NARGS(nargsf) - 1), names);
    Py_DECREF(bound);
    return result;
}

static PyObject *verb_get(PyObject *object, PyObject *taker, PyObject *class)
{
    struct verb *self = (struct verb *)object;
    if (taker != NULL) class = (PyObject *)Py_TYPE(taker);
    PyObject *value = self->method;
    if (class != NULL && PyType_Check(class)) {
        PyObject *patch;
        int found = cmpy_patch_look(cmpy_state_of_type(Py_TYPE(object)), (PyTypeObject *)class, self->name, &patch);
        if (found < 0) return NULL;
        if (found > 0) value = patch;
    }
    return bind(value, taker, class);
}

static int verb_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct verb *self = (struct verb *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->name);
    Py_VISIT(self->method);
    return 0;
}

static int verb_clear(PyObject *object)
{
    struct verb *self = (struct verb *)object;
    Py_CLEAR(self->name);
    Py_CLEAR(self->method);
    return 0;
}

static void verb_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)verb_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef verb_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct verb, vectorcall), READONLY, NULL},
    {0},
};

static PyType_Slot verb_slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_members, verb_members},
    {Py_tp_descr_get, verb_get},
    {Py_tp_traverse, verb_traverse},
    {Py_tp_clear, verb_clear},
    {Py_tp_dealloc, verb_dealloc},
    {0, NULL},
};

static PyType_Spec verb_spec = {
    .name = "cmp._core._Verb",
    .basicsize = sizeof(struct verb),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .slots = verb_slots,
};

static int verb_put(PyTypeObject *type, PyTypeObject *class, PyObject *name)
{
    PyObject *method = PyObject_GetAttr((PyObject *)class, name);
    struct verb *self = method == NULL ? NULL : (struct verb *)type->tp_alloc(type, 0);
    if (self == NULL) {
        Py_XDECREF(method);
        return -1;
    }
    self->vectorcall = verb_call;
    self->name = Py_NewRef(name);
    self->method = method;
    int code = PyObject_SetAttr((PyObject *)class, name, (PyObject *)self);
    Py_DECREF(self);
    return code;
}

int cmpy_verbs_add(PyObject *module, PyTypeObject *class, PyObject *const *names)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &verb_spec, NULL);
    int code = type == NULL ? -1 : 0;
    for (size_t i = 0; code == 0 && names[i] != NULL; i++) code = verb_put(type, class, names[i]);
    Py_XDECREF(type);
    return code;
}
