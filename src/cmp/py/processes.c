#include "py/processes.h"

#include "py/errors.h"

#include <limits.h>

static void drop_its_exception(void)
{
    if (!cmpy_exception_interrupts()) PyErr_Clear();
}

/* `number` is taken over; where it is none, `otherwise`. */
static int as_int(PyObject *number, int otherwise)
{
    int value = number != NULL && PyLong_Check(number) ? (int)PyLong_AsLong(number) : otherwise;
    Py_XDECREF(number);
    drop_its_exception();
    return value;
}

int cmpy_process_exitcode(struct cmpy_state *state, PyObject *process)
{
    /* Of its handle, if it has one like ours: process.exitcode is Python code, in which a signal handler might run. */
    PyObject *popen = PyObject_GetAttr(process, state->str._popen), *exitcode;
    if (popen != NULL && popen != Py_None) {
        exitcode = PyObject_CallMethodNoArgs(popen, state->str.poll);
    } else {
        drop_its_exception();
        exitcode = PyErr_Occurred() ? NULL : PyObject_GetAttr(process, state->str.exitcode);
    }
    Py_XDECREF(popen);
    if (exitcode == Py_None || (exitcode == NULL && cmpy_exception_interrupts())) {
        Py_XDECREF(exitcode);
        return INT_MIN;
    }
    return as_int(exitcode, CMPY_UNKNOWN_END);
}

int cmpy_process_sentinel(struct cmpy_state *state, PyObject *process)
{
    return as_int(PyObject_GetAttr(process, state->str.sentinel), -1);
}

int cmpy_process_pid(struct cmpy_state *state, PyObject *process)
{
    return as_int(PyObject_GetAttr(process, state->str.pid), 0);
}

void cmpy_process_tell(PyObject *process, PyObject *method)
{
    PyObject *told = PyObject_CallMethodNoArgs(process, method);
    Py_XDECREF(told);
    drop_its_exception();
}
