#include "py/lifeline.h"

#include "os/lifeline.h"

#include <errno.h>
#include <unistd.h>

int cmpy_lifeline_wanted(struct cmpy_state *state, PyObject *process)
{
    PyObject *config = PyObject_GetAttr(process, state->str._config);
    PyObject *daemon = config == NULL ? NULL : PyObject_CallMethod(config, "get", "O", state->str.daemon);
    int wanted = daemon == NULL ? -1 : PyObject_IsTrue(daemon);
    Py_XDECREF(config);
    Py_XDECREF(daemon);
    if (wanted != 0) return wanted;
    PyObject *lifeline = PyObject_GetAttr(process, state->str._lifeline);
    wanted = lifeline == NULL ? -1 : PyObject_IsTrue(lifeline);
    Py_XDECREF(lifeline);
    return wanted;
}

void cmpy_lifeline_take(pid_t parent)
{
    if (cmp_lifeline_arm(parent) == -ESRCH) _exit(CMP_LIFELINE_STATUS);
}

/* Was this process made by a fork server? Its parent is the server then, not whom its process object names. -1 with an
 * exception. */
static int is_of_forkserver(void)
{
    PyObject *name = PyUnicode_FromString("multiprocessing.forkserver");
    PyObject *forkserver = name == NULL ? NULL : PyImport_GetModule(name);
    PyObject *fds = forkserver == NULL ? NULL : PyObject_CallMethod(forkserver, "get_inherited_fds", NULL);
    int is = fds != NULL ? fds != Py_None : PyErr_Occurred() ? -1 : 0;
    Py_XDECREF(name);
    Py_XDECREF(forkserver);
    Py_XDECREF(fds);
    return is;
}

int cmpy_lifeline_take_if_wanted(struct cmpy_state *state, PyObject *process, PyObject *parent_pid, PyObject *sentinel)
{
    int wanted = cmpy_lifeline_wanted(state, process);
    if (wanted <= 0) return wanted;
    pid_t parent = (pid_t)PyLong_AsLong(parent_pid);
    if (parent == -1 && PyErr_Occurred()) return -1;
    int of_forkserver = is_of_forkserver();
    if (of_forkserver < 0) return -1;
    if (!of_forkserver) {
        cmpy_lifeline_take(parent);
        return 0;
    }
    int pipe = (int)PyLong_AsLong(sentinel);
    PyErr_Clear(); /* there is none: then nothing can be done */
    if (cmp_lifeline_arm_by_pipe(parent, pipe) == -ESRCH) _exit(CMP_LIFELINE_STATUS);
    return 0;
}
