#include "py/results.h"

#include "py/callbacks.h"
#include "py/wait.h"

#include <stddef.h>
#include <structmember.h>

/* --- methods --- */

static int timeout_of(PyObject *args, PyObject *kwargs, const char *format, int64_t *deadline_ns)
{
    static char *names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &timeout)) return -1;
    return cmpy_deadline(1, timeout, deadline_ns);
}

PyDoc_STRVAR(get_doc,
"get($self, /, timeout=None)\n--\n\n"
"The value of the call, once it is there; or its exception is raised. TimeoutError if it does not come in time.");

static PyObject *result_get(ApplyResult *self, PyObject *args, PyObject *kwargs)
{
    int64_t deadline_ns;
    if (timeout_of(args, kwargs, "|O:get", &deadline_ns) < 0) return NULL;
    return cmpy_result_get(self, deadline_ns);
}

PyDoc_STRVAR(wait_doc,
"wait($self, /, timeout=None)\n--\n\n"
"Wait until the result is there, or for so many seconds.");

static PyObject *result_wait(ApplyResult *self, PyObject *args, PyObject *kwargs)
{
    int64_t deadline_ns;
    if (timeout_of(args, kwargs, "|O:wait", &deadline_ns) < 0 || cmpy_result_wait(self, deadline_ns) < 0) return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(ready_doc,
"ready($self, /)\n--\n\n"
"Whether the call has completed.");

static PyObject *result_ready(ApplyResult *self, PyObject *Py_UNUSED(ignored))
{
    int done = cmpy_result_look(self);
    return done < 0 ? NULL : PyBool_FromLong(done);
}

PyDoc_STRVAR(successful_doc,
"successful($self, /)\n--\n\n"
"Whether the call completed without an exception. ValueError if it has not completed.");

static PyObject *result_successful(ApplyResult *self, PyObject *Py_UNUSED(ignored))
{
    int done = cmpy_result_look(self);
    if (done < 0) return NULL;
    if (!done) return PyErr_Format(PyExc_ValueError, "%R not ready", self);
    return cmpy_result_open(self) < 0 ? NULL : PyBool_FromLong(self->success);
}

static PyObject *result_job(ApplyResult *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(self->job.number);
}

static PyObject *map_number_left(MapResult *self, void *unused)
{
    (void)unused;
    if (cmpy_result_look(&self->result) < 0) return NULL;
    return PyLong_FromSsize_t(self->nleft);
}

/* --- the objects --- */

/* A class that is derived from one of these is the user's own: it stands for a result, or for several, and overrides
 * what it uses. No pool has made it, so it has no engine. Its constructor may call ours as it would the stdlib's. */
static int result_init(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    return 0;
}

static int result_traverse(ApplyResult *self, visitproc visit, void *arg)
{
    Py_VISIT(self->value);
    Py_VISIT(self->dict);
    for (struct cmpy_parcel *parcel = self->arrived; parcel != NULL; parcel = parcel->next) Py_VISIT(parcel->object);
    return cmpy_job_traverse(&self->job, visit, arg);
}

static int result_clear(ApplyResult *self)
{
    Py_CLEAR(self->value);
    Py_CLEAR(self->dict);
    cmpy_job_clear(&self->job);
    return 0;
}

static int map_traverse(MapResult *self, visitproc visit, void *arg)
{
    int stop = cmpy_feed_traverse(&self->feed, visit, arg);
    return stop != 0 ? stop : result_traverse(&self->result, visit, arg);
}

static int map_clear(MapResult *self)
{
    cmpy_feed_clear(&self->feed);
    return result_clear(&self->result);
}

static void result_dealloc(ApplyResult *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    while (self->arrived != NULL) {
        struct cmpy_parcel *parcel = self->arrived;
        self->arrived = parcel->next;
        cmpy_parcel_drop(parcel);
    }
    (void)result_clear(self);
    if (self->job.calls_back) self->job.engine->callbacks.out--; /* never came to be: its making failed */
    Py_XDECREF((PyObject *)self->job.engine);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static void map_dealloc(MapResult *self)
{
    PyObject_GC_UnTrack(self);
    cmpy_feed_clear(&self->feed);
    result_dealloc(&self->result);
}

static PyMethodDef result_methods[] = {
    {"get", (PyCFunction)(void (*)(void))result_get, METH_VARARGS | METH_KEYWORDS, get_doc},
    {"wait", (PyCFunction)(void (*)(void))result_wait, METH_VARARGS | METH_KEYWORDS, wait_doc},
    {"ready", (PyCFunction)result_ready, METH_NOARGS, ready_doc},
    {"successful", (PyCFunction)result_successful, METH_NOARGS, successful_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef result_getset[] = {
    {"_job", (getter)result_job, NULL, NULL, NULL},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef result_members[] = {
    {"_pool", T_OBJECT, offsetof(ApplyResult, job.pool), 0, NULL}, /* whom it keeps alive */
    {"__dictoffset__", T_PYSSIZET, offsetof(ApplyResult, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(ApplyResult, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(apply_result_doc, "The result of a call that a pool makes, now or later.");

static PyType_Slot result_slots[] = {
    {Py_tp_doc, (void *)apply_result_doc},
    {Py_tp_init, result_init},
    {Py_tp_dealloc, result_dealloc},
    {Py_tp_traverse, result_traverse},
    {Py_tp_clear, result_clear},
    {Py_tp_methods, result_methods},
    {Py_tp_getset, result_getset},
    {Py_tp_members, result_members},
    {0, NULL},
};

#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE)

static PyType_Spec result_spec = {
    .name = "cmp.pool.ApplyResult",
    .basicsize = sizeof(ApplyResult),
    .flags = FLAGS,
    .slots = result_slots,
};

static PyGetSetDef map_getset[] = {
    {"_number_left", (getter)map_number_left, NULL, "How many chunks are still out.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef map_members[] = {
    {"_chunksize", T_PYSSIZET, offsetof(MapResult, chunksize), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(map_result_doc, "The result of a map that a pool makes, now or later.");

static PyType_Slot map_slots[] = {
    {Py_tp_doc, (void *)map_result_doc},
    {Py_tp_dealloc, map_dealloc},
    {Py_tp_traverse, map_traverse},
    {Py_tp_clear, map_clear},
    {Py_tp_getset, map_getset},
    {Py_tp_members, map_members},
    {0, NULL},
};

static PyType_Spec map_spec = {
    .name = "cmp.pool.MapResult",
    .basicsize = sizeof(MapResult),
    .flags = FLAGS,
    .slots = map_slots,
};

int cmpy_results_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->apply_result_type = PyType_FromModuleAndSpec(module, &result_spec, NULL);
    if (state->apply_result_type == NULL) return -1;
    PyObject *bases = PyTuple_Pack(1, state->apply_result_type);
    if (bases == NULL) return -1;
    state->map_result_type = PyType_FromModuleAndSpec(module, &map_spec, bases);
    Py_DECREF(bases);
    if (state->map_result_type == NULL) return -1;
    if (PyModule_AddObjectRef(module, "ApplyResult", state->apply_result_type) < 0) return -1;
    return PyModule_AddObjectRef(module, "MapResult", state->map_result_type);
}
