#include "py/cradle.h"

#include "os/sigmask.h"
#include "py/books.h"
#include "py/lifeline.h"
#include "py/parent.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* ---- made in the parent ---- */

/* Opens /dev/null only for a moment: the child opens its own, under the same number unless descriptors have come or
 * gone since; then its FileIO is told the other number. */
static int make_stdin(struct cmpy_state *state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0; /* the stdlib's child goes on without one, too */
    PyObject *text = PyObject_CallFunction(state->io_open, "isisOOO", fd, "r", -1, "utf-8", Py_None, Py_None, Py_False);
    PyObject *buffer = text == NULL ? NULL : PyObject_GetAttr(text, state->str.buffer);
    PyObject *raw = buffer == NULL ? NULL : PyObject_GetAttr(buffer, state->str.raw);
    close(fd);
    if (raw != NULL) {
        Py_XSETREF(state->buffered_type, Py_NewRef((PyObject *)Py_TYPE(buffer)));
        Py_XSETREF(state->cradle_stdin, Py_NewRef(text));
        Py_XSETREF(state->cradle_stdin_raw, Py_NewRef(raw));
        state->cradle_stdin_fd = fd;
    }
    int code = raw == NULL ? -1 : 0;
    Py_XDECREF(raw);
    Py_XDECREF(buffer);
    Py_XDECREF(text);
    return code;
}

int cmpy_cradle_make(struct cmpy_state *state, PyObject *process)
{
    if (cmpy_books_open(state) < 0) return -1;
    if (state->cradle_counter == NULL) {
        state->cradle_counter = PyObject_CallFunction(state->itertools_count, "i", 1);
        if (state->cradle_counter == NULL) return -1;
    }
    if (state->cradle_children == NULL) {
        state->cradle_children = PySet_New(NULL);
        if (state->cradle_children == NULL) return -1;
    }
    if (state->cradle_parent == NULL || !cmpy_parent_fits(state, state->cradle_parent, process)) {
        PyObject *parent = cmpy_parent_new(state, process);
        if (parent == NULL) return -1;
        Py_XSETREF(state->cradle_parent, parent);
    }
    return state->cradle_stdin != NULL ? 0 : make_stdin(state);
}

/* ---- hung up in the child ---- */

/* The FileIO under a plain text file, else NULL. Once that is closed, the file and its buffer say closed, too; closing
 * it alone touches half as many pages. Borrowed from the file. */
static PyObject *raw_of(struct cmpy_state *state, PyObject *file)
{
    if (state->cradle_stdin == NULL || Py_TYPE(file) != Py_TYPE(state->cradle_stdin)) return NULL;
    PyObject *buffer = PyObject_GetAttr(file, state->str.buffer), *raw = NULL;
    if (buffer != NULL && (PyObject *)Py_TYPE(buffer) == state->buffered_type)
        raw = PyObject_GetAttr(buffer, state->str.raw);
    Py_XDECREF(buffer);
    Py_XDECREF(raw);
    PyErr_Clear(); /* detached */
    return raw != NULL && Py_TYPE(raw) == Py_TYPE(state->cradle_stdin_raw) ? raw : NULL;
}

/* sys.stdin is closed and made anew on /dev/null: a child that reads would take lines from its parent, those already
 * in the buffer included. */
static int replace_stdin(struct cmpy_state *state)
{
    PyObject *old = PySys_GetObject("stdin"); /* borrowed */
    if (old == NULL || old == Py_None) return 0;
    PyObject *raw = raw_of(state, old);
    PyObject *file = Py_NewRef(raw != NULL ? raw : old);
    PyObject *closed = PyObject_CallMethodNoArgs(file, state->str.close);
    Py_DECREF(file);
    Py_XDECREF(closed);
    if (closed == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_OSError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
        PyErr_Clear();
    }
    if (state->cradle_stdin == NULL) return 0;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    if (fd != state->cradle_stdin_fd) {
        PyObject *again = PyObject_CallMethod(state->cradle_stdin_raw, "__init__", "isO", fd, "r", Py_False);
        Py_XDECREF(again);
        if (again == NULL) return -1;
    }
    int code = PySys_SetObject("stdin", state->cradle_stdin);
    Py_CLEAR(state->cradle_stdin);
    Py_CLEAR(state->cradle_stdin_raw);
    return code;
}

/* The registry of finalizers is the parent's; locks and caches that asked for it are made anew. */
static int run_after_forkers(struct cmpy_state *state)
{
    PyObject *registry = PyDict_GetItem(state->util_globals, state->str._finalizer_registry);
    if (registry != NULL && PyDict_Check(registry) && PyDict_GET_SIZE(registry) > 0) PyDict_Clear(registry);
    PyObject *weak = PyDict_GetItem(state->util_globals, state->str._afterfork_registry);
    PyObject *data = weak == NULL ? NULL : PyObject_GetAttr(weak, state->str.data);
    bool nobody = data != NULL && PyDict_CheckExact(data) && PyDict_GET_SIZE(data) == 0;
    Py_XDECREF(data);
    PyErr_Clear();
    return nobody ? 0 : cmpy_stdlib_call(state->util_globals, "_run_after_forkers");
}

static int renew_thread_id(struct cmpy_state *state)
{
    PyObject *main_thread = PyDict_GetItem(state->threading_globals, state->str._main_thread);
    if (main_thread == NULL) return 0;
    PyObject *result = PyObject_CallMethodNoArgs(main_thread, state->str._set_native_id);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int enter_books(struct cmpy_state *state, PyObject *process, PyObject *parent)
{
    PyObject *books = state->process_globals;
    int code = PyDict_SetItem(books, state->str._process_counter, state->cradle_counter) < 0
            || PyDict_SetItem(books, state->str._children, state->cradle_children) < 0 || replace_stdin(state) < 0
            || PyDict_SetItem(books, state->str._current_process, process) < 0
            || PyDict_SetItem(books, state->str._parent_process, parent) < 0
                   ? -1 : 0;
    Py_CLEAR(state->cradle_counter);
    Py_CLEAR(state->cradle_children);
    Py_CLEAR(state->cradle_parent);
    return code;
}

int cmpy_become_forked(struct cmpy_state *state, PyObject *process)
{
    /* The parent's Process object has to outlive the after-forkers, who may ask for it; it is kept for good, since
     * taking it apart costs more than it holds. */
    Py_XINCREF(PyDict_GetItem(state->process_globals, state->str._current_process));
    if (enter_books(state, process, state->cradle_parent) < 0 || renew_thread_id(state) < 0) return -1;
    return run_after_forkers(state);
}

int cmpy_become_spawned(struct cmpy_state *state, PyObject *process, PyObject *sentinel)
{
    PyObject *old = Py_XNewRef(PyDict_GetItem(state->process_globals, state->str._current_process));
    PyObject *class = cmpy_stdlib_get(state->process_globals, "_ParentProcess");
    PyObject *name = class == NULL ? NULL : PyObject_GetAttr(process, state->str._parent_name);
    PyObject *pid = name == NULL ? NULL : PyObject_GetAttr(process, state->str._parent_pid);
    PyObject *parent = NULL, *done = NULL;
    int code = -1;
    cmp_sigmask_open();
    if (pid == NULL) goto out;
    if (cmpy_lifeline_take_if_wanted(state, process, pid, sentinel) < 0) goto out;
    parent = PyObject_CallFunctionObjArgs(class, name, pid, sentinel, NULL);
    if (parent == NULL || cmpy_cradle_make(state, process) < 0) goto out;
    if (enter_books(state, process, parent) < 0 || renew_thread_id(state) < 0) goto out;
    done = PyObject_CallMethodNoArgs(process, state->str._after_fork);
    code = done == NULL ? -1 : 0;
out:
    Py_XDECREF(done);
    Py_XDECREF(parent);
    Py_XDECREF(pid);
    Py_XDECREF(name);
    Py_XDECREF(class);
    Py_XDECREF(old);
    return code;
}
