#include "py/reducers.h"

struct reducers {
    PyObject_HEAD
    PyObject *extra;   /* ForkingPickler._extra_reducers, which ForkingPickler.register writes */
    PyObject *copyreg; /* copyreg.dispatch_table */
};

static PyObject *reducers_getitem(PyObject *object, PyObject *type)
{
    struct reducers *self = (struct reducers *)object;
    PyObject *found = PyDict_GetItemWithError(self->extra, type);
    if (found == NULL && !PyErr_Occurred()) found = PyDict_GetItemWithError(self->copyreg, type);
    if (found == NULL && !PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, type);
    return Py_XNewRef(found);
}

static int reducers_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct reducers *self = (struct reducers *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->extra);
    Py_VISIT(self->copyreg);
    return 0;
}

static int reducers_clear(PyObject *object)
{
    struct reducers *self = (struct reducers *)object;
    Py_CLEAR(self->extra);
    Py_CLEAR(self->copyreg);
    return 0;
}

static void reducers_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)reducers_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot reducers_slots[] = {
    {Py_tp_traverse, reducers_traverse},
    {Py_tp_clear, reducers_clear},
    {Py_tp_dealloc, reducers_dealloc},
    {Py_mp_subscript, reducers_getitem},
    {0, NULL},
};

static PyType_Spec reducers_spec = {
    .name = "cmp._core._Reducers",
    .basicsize = sizeof(struct reducers),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = reducers_slots,
};

int cmpy_reducers_has(struct cmpy_state *state, PyTypeObject *type)
{
    int found = PyDict_Contains(state->extra_reducers, (PyObject *)type);
    return found != 0 ? found : PyDict_Contains(state->copyreg_table, (PyObject *)type);
}

int cmpy_reducers_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &reducers_spec, NULL);
    if (type == NULL) return -1;
    struct reducers *self = (struct reducers *)type->tp_alloc(type, 0);
    Py_DECREF(type);
    if (self == NULL) return -1;
    self->extra = Py_NewRef(state->extra_reducers);
    self->copyreg = Py_NewRef(state->copyreg_table);
    state->reducers = (PyObject *)self;
    return 0;
}
