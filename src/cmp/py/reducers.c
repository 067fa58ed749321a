#include "py/reducers.h"

struct reducers {
    PyObject_HEAD
    PyObject *extra;   /* ForkingPickler._extra_reducers, which ForkingPickler.register writes */
    PyObject *copyreg; /* copyreg.dispatch_table */
};

/* Of this thread: others may pickle meanwhile. */
static _Thread_local struct cmpy_carriage *carriage_now;

/* Borrowed; NULL: none, or an exception is set. */
static PyObject *reducer_of_proxies(PyObject *self, PyObject *type)
{
    if (carriage_now == NULL || !PyType_Check(type)) return NULL;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    if (state->proxy_type == NULL) return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)type, (PyTypeObject *)state->proxy_type)) return NULL;
    carriage_now->nproxies++;
    return state->proxy_reducer;
}

static PyObject *reducers_getitem(PyObject *object, PyObject *type)
{
    struct reducers *self = (struct reducers *)object;
    PyObject *found = PyDict_GetItemWithError(self->extra, type);
    if (found == NULL && !PyErr_Occurred()) found = PyDict_GetItemWithError(self->copyreg, type);
    if (found == NULL && !PyErr_Occurred()) found = reducer_of_proxies(object, type);
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

/* --- into a manager's queue --- */

void cmpy_carriage_begin(struct cmpy_carriage *carriage)
{
    *carriage = (struct cmpy_carriage){.outer = carriage_now};
    carriage_now = carriage;
}

void cmpy_carriage_end(struct cmpy_carriage *carriage, struct cmpy_state *state, bool put)
{
    carriage_now = carriage->outer;
    if (carriage->nproxies == 0) return;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *done = PyObject_CallOneArg(state->proxies_settle, put ? Py_True : Py_False);
    if (done == NULL) PyErr_WriteUnraisable(state->proxies_settle);
    Py_XDECREF(done);
    PyErr_Restore(type, value, trace);
}

PyDoc_STRVAR(carry_proxies_doc,
"_carry_proxies($module, type, reducer, settle, /)\n--\n\n"
"How proxies of that type are pickled for a queue of a manager's; settle(put) is called after each such put.");

static PyObject *carry_proxies(PyObject *module, PyObject *args)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *type, *reducer, *settle;
    if (!PyArg_ParseTuple(args, "O!OO:_carry_proxies", &PyType_Type, &type, &reducer, &settle)) return NULL;
    Py_XSETREF(state->proxy_type, Py_NewRef(type));
    Py_XSETREF(state->proxy_reducer, Py_NewRef(reducer));
    Py_XSETREF(state->proxies_settle, Py_NewRef(settle));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_carry_proxies", carry_proxies, METH_VARARGS, carry_proxies_doc},
    {NULL, NULL, 0, NULL},
};

/* --- the module --- */

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
    return PyModule_AddFunctions(module, functions);
}
