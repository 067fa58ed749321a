#include "py/verb.h"

#include "py/patches.h"

struct verb {
    PyObject_HEAD
    PyObject *name;
    PyObject *method; /* of the class, in C */
};

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
    descrgetfunc get = Py_TYPE(value)->tp_descr_get;
    Py_INCREF(value);
    PyObject *bound = get == NULL ? Py_NewRef(value) : get(value, taker, class);
    Py_DECREF(value);
    return bound;
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

static PyType_Slot verb_slots[] = {
    {Py_tp_descr_get, verb_get},
    {Py_tp_traverse, verb_traverse},
    {Py_tp_clear, verb_clear},
    {Py_tp_dealloc, verb_dealloc},
    {0, NULL},
};

static PyType_Spec verb_spec = {
    .name = "cmp._core._Verb",
    .basicsize = sizeof(struct verb),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
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
