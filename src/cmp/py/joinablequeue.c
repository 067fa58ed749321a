#include "py/joinablequeue.h"

#include "py/queuecalls.h"

PyDoc_STRVAR(task_done_doc,
"task_done($self, /)\n--\n\n"
"Say that an object that was taken is done.");

PyDoc_STRVAR(join_doc,
"join($self, /)\n--\n\n"
"Wait until every object that was put is done.");

static PyMethodDef joinable_methods[] = {
    {"task_done", cmpy_queue_task_done, METH_NOARGS, task_done_doc},
    {"join", cmpy_queue_join, METH_NOARGS, join_doc},
    {0},
};

PyDoc_STRVAR(joinable_doc,
"JoinableQueue(maxsize=0, *, ctx)\n--\n\n"
"A Queue that also counts which objects are done.");

static PyType_Slot joinable_slots[] = {
    {Py_tp_doc, (void *)joinable_doc},
    {Py_tp_methods, joinable_methods},
    {0, NULL},
};

static PyType_Spec joinable_spec = {
    .name = "cmp.queues.JoinableQueue",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = joinable_slots,
};

int cmpy_joinablequeue_add(PyObject *module, PyObject *queue)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &joinable_spec, queue);
    int code = type == NULL ? -1 : PyModule_AddObjectRef(module, "JoinableQueue", type);
    Py_XDECREF(type);
    return code;
}
