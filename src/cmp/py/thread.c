#include "py/thread.h"

int cmpy_thread_start(struct cmpy_state *state, const char *name, PyObject *function, PyObject *argument)
{
    PyObject *type = PyDict_GetItemString(state->threading_globals, "Thread"); /* borrowed */
    PyObject *thread = NULL, *started = NULL;
    PyObject *keywords = type == NULL ? NULL : Py_BuildValue("{sssOs(O)sO}", "name", name, "target", function, "args",
                                                             argument, "daemon", Py_True);
    PyObject *none = PyTuple_New(0);
    if (keywords != NULL && none != NULL) thread = PyObject_Call(type, none, keywords);
    if (thread != NULL) started = PyObject_CallMethodNoArgs(thread, state->str.start);
    Py_XDECREF(keywords);
    Py_XDECREF(none);
    Py_XDECREF(thread);
    Py_XDECREF(started);
    return started == NULL ? -1 : 0;
}
