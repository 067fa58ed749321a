#include "py/feedererror.h"

#include "py/errors.h"

PyObject *cmpy_feeder_error_print(PyObject *Py_UNUSED(ignored), PyObject *args)
{
    PyObject *error, *object;
    if (!PyArg_ParseTuple(args, "OO:_on_queue_feeder_error", &error, &object)) return NULL;
    if (!PyExceptionInstance_Check(error)) return PyErr_Format(PyExc_TypeError, "not an exception: %R", error);
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error));
    PyErr_PrintEx(0); /* 0: sys.last_value would keep the frames, and what they hold */
    Py_RETURN_NONE;
}

/* The hook if somebody overrode it, else NULL, perhaps with an exception. */
static PyObject *overridden(PyObject *self)
{
    PyObject *hook = PyObject_GetAttrString(self, "_on_queue_feeder_error");
    if (hook == NULL) return NULL;
    if (PyCFunction_Check(hook) && PyCFunction_GetFunction(hook) == cmpy_feeder_error_print) Py_CLEAR(hook);
    return hook;
}

int cmpy_feeder_error_report(PyObject *queue, PyObject *object)
{
    if (cmpy_exception_interrupts()) return -1;
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *hook = overridden(queue);
    if (hook == NULL) {
        if (PyErr_Occurred()) PyErr_Clear();
        PyErr_Restore(type, value, trace);
        return -1;
    }
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL) PyException_SetTraceback(value, trace);
    PyObject *done = PyObject_CallFunctionObjArgs(hook, value, object, NULL);
    /* The hook may keep the error, and the error its traceback, whose frames lead back to the frames that called put:
     * with what belongs to them, which may be what the error was kept in. The stdlib's lead to its feeder thread. */
    if (done != NULL && trace != NULL) PyException_SetTraceback(value, Py_None);
    Py_DECREF(hook);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}
