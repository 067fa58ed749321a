#include "py/fork.h"

#include <stdio.h>

/* The line where the stdlib's Popen._launch begins. */
static long launch_line(PyObject *popen_fork)
{
    PyObject *class = PyDict_GetItemString(popen_fork, "Popen"); /* borrowed */
    PyObject *launch = class == NULL ? NULL : PyObject_GetAttrString(class, "_launch");
    PyObject *code = launch == NULL ? NULL : PyObject_GetAttrString(launch, "__code__");
    PyObject *line = code == NULL ? NULL : PyObject_GetAttrString(code, "co_firstlineno");
    long number = line == NULL ? 1 : PyLong_AsLong(line);
    Py_XDECREF(line);
    Py_XDECREF(code);
    Py_XDECREF(launch);
    PyErr_Clear();
    return number;
}

/* os.fork() is called from a line that belongs to multiprocessing.popen_fork: what it audits, refuses and warns of
 * is then, version by version, what the stdlib's own processes get. */
static PyObject *forking_line(struct cmpy_state *state)
{
    if (state->forking_line != NULL) return state->forking_line;
    PyObject *file = PyDict_GetItemString(state->popen_fork, "__file__");
    const char *path = file != NULL && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : "popen_fork.py";
    if (path == NULL) return NULL;
    PyObject *call = PyUnicode_FromString("os.fork()"), *above = PyUnicode_FromString("\n"), *source = NULL;
    long line = launch_line(state->popen_fork);
    if (call != NULL && above != NULL) Py_SETREF(above, PySequence_Repeat(above, line > 1 ? line - 1 : 0));
    if (call != NULL && above != NULL) source = PyUnicode_Concat(above, call);
    if (source != NULL) state->forking_line = Py_CompileString(PyUnicode_AsUTF8(source), path, Py_eval_input);
    Py_XDECREF(source);
    Py_XDECREF(above);
    Py_XDECREF(call);
    return state->forking_line;
}

pid_t cmpy_fork(struct cmpy_state *state)
{
    PyObject *line = forking_line(state);
    if (line == NULL) return -1;
    PyObject *result = PyEval_EvalCode(line, state->popen_fork, state->popen_fork);
    if (result == NULL) return -1;
    pid_t pid = (pid_t)PyLong_AsLong(result);
    Py_DECREF(result);
    return pid;
}

static int flush_stream(struct cmpy_state *state, const char *name)
{
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    if (stream == NULL || stream == Py_None) return 0;
    Py_INCREF(stream);
    PyObject *result = PyObject_CallMethodNoArgs(stream, state->str.flush);
    Py_DECREF(stream);
    Py_XDECREF(result);
    if (result != NULL) return 0;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
    PyErr_Clear();
    return 0;
}

int cmpy_flush_streams(struct cmpy_state *state)
{
    /* A thread that holds C's stream is writing to it just now; waiting for it could last. */
    if (ftrylockfile(stdout) == 0) {
        (void)fflush_unlocked(stdout);
        funlockfile(stdout);
    }
    return flush_stream(state, "stdout") < 0 || flush_stream(state, "stderr") < 0 ? -1 : 0;
}
