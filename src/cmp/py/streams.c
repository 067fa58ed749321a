#include "py/streams.h"

#include <stdbool.h>
#include <stdio.h>

/* --- flushing --- */

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

int cmpy_streams_flush(struct cmpy_state *state)
{
    /* A thread that holds C's stream is writing to it just now; waiting for it could last. */
    if (ftrylockfile(stdout) == 0) {
        (void)fflush_unlocked(stdout);
        funlockfile(stdout);
    }
    return flush_stream(state, "stdout") < 0 || flush_stream(state, "stderr") < 0 ? -1 : 0;
}

/* --- renewing --- */

/* The buffer with the lock under a text stream that is the standard library's, else NULL. */
static PyObject *writer_of(struct cmpy_state *state, PyObject *stream)
{
    if (stream == NULL || !PyObject_TypeCheck(stream, (PyTypeObject *)state->text_type)) return NULL;
    PyObject *buffer = PyObject_GetAttr(stream, state->str.buffer);
    PyObject *type = buffer == NULL ? NULL : (PyObject *)Py_TYPE(buffer);
    if (type != state->writer_type && type != state->random_type) Py_CLEAR(buffer);
    PyErr_Clear(); /* detached */
    return buffer;
}

static bool is_closed(PyObject *raw)
{
    PyObject *closed = PyObject_GetAttrString(raw, "closed");
    bool so = closed == NULL || PyObject_IsTrue(closed) != 0;
    Py_XDECREF(closed);
    return so;
}

/* Initialised once more, a writer stays who it is, for all who know it, over the same file, with a new lock and nothing
 * in it. Of its size nobody tells but its size in memory. */
static void renew(struct cmpy_state *state, PyObject *writer)
{
    PyObject *raw = PyObject_GetAttr(writer, state->str.raw), *bytes = NULL, *done = NULL;
    if (raw != NULL && !is_closed(raw)) bytes = PyObject_CallMethod(writer, "__sizeof__", NULL);
    Py_ssize_t size = bytes == NULL ? -1 : PyLong_AsSsize_t(bytes) - Py_TYPE(writer)->tp_basicsize;
    if (size > 0) done = PyObject_CallMethod(writer, "__init__", "On", raw, size);
    Py_XDECREF(done);
    Py_XDECREF(bytes);
    Py_XDECREF(raw);
    PyErr_Clear();
}

/* The streams of logging's handlers, for what a child logs, be it multiprocessing's own lines of its beginning and its
 * end. The locks of the handlers themselves are logging's care. */
static void renew_logs(struct cmpy_state *state)
{
    PyObject *logging = PyDict_GetItemString(PyImport_GetModuleDict(), "logging"); /* borrowed */
    PyObject *handlers = logging == NULL ? NULL : PyObject_GetAttrString(logging, "_handlerList");
    for (Py_ssize_t i = 0; handlers != NULL && PyList_Check(handlers) && i < PyList_GET_SIZE(handlers); i++) {
        PyObject *handler = PyObject_CallNoArgs(PyList_GET_ITEM(handlers, i)); /* a weak reference */
        PyObject *stream = handler == NULL ? NULL : PyObject_GetAttrString(handler, "stream");
        PyObject *writer = writer_of(state, stream);
        if (writer != NULL) renew(state, writer);
        Py_XDECREF(writer);
        Py_XDECREF(stream);
        Py_XDECREF(handler);
        PyErr_Clear();
    }
    Py_XDECREF(handlers);
    PyErr_Clear();
}

void cmpy_streams_renew(struct cmpy_state *state)
{
    static const char *const names[] = {"stdout", "stderr", "__stdout__", "__stderr__"};
    enum { N = sizeof names / sizeof *names };
    PyObject *writers[N];
    for (int i = 0; i < N; i++) {
        writers[i] = writer_of(state, PySys_GetObject(names[i]));
        bool again = false;
        for (int k = 0; k < i; k++) again |= writers[k] == writers[i];
        if (writers[i] != NULL && !again) renew(state, writers[i]);
    }
    for (int i = 0; i < N; i++) Py_XDECREF(writers[i]);
    renew_logs(state);
}
