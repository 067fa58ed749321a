#include "py/farewell.h"

#include "py/callbacks.h"
#include "py/thread.h"

#include <stdbool.h>
#include <unistd.h>

static bool is_daemon_thread(struct cmpy_state *state)
{
    PyObject *thread = cmpy_thread_current(state);
    PyObject *daemon = thread == NULL ? NULL : PyObject_GetAttr(thread, state->str.daemon);
    bool is = daemon == Py_True;
    Py_XDECREF(daemon);
    Py_XDECREF(thread);
    return is;
}

void cmpy_farewell(struct cmpy_state *state)
{
    if (state->util_globals == NULL) return; /* no pool was ever made here */
    if (cmpy_callbacks_is_any()) return;
    if (PyDict_GetItem(state->util_globals, state->str._exiting) != Py_True) return; /* borrowed */
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    bool stays = is_daemon_thread(state);
    PyErr_Restore(type, value, trace);
    if (!stays) return;
    Py_BEGIN_ALLOW_THREADS
    for (;;) (void)pause();
    Py_END_ALLOW_THREADS
}
