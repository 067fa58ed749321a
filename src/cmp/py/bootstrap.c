#include "py/bootstrap.h"

#include "py/books.h"
#include "py/fork.h"
#include "py/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#define EXIT_DUTIES_AT_ATEXIT (PY_VERSION_HEX >= 0x030D0000)

/* ---- the cradle ---- */

/* Opens /dev/null only for a moment: reads, seeks and tells of this object answer as a fresh one's do, whatever the
 * parent's own stdin is; the descriptor it will have in the child is put in there. */
static int make_stdin(struct cmpy_state *state, struct cmpy_cradle *cradle)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0; /* the stdlib's child goes on without one, too */
    PyObject *text = PyObject_CallFunction(state->io_open, "isisOOO", fd, "r", -1, "utf-8", Py_None, Py_None, Py_False);
    PyObject *buffer = text == NULL ? NULL : PyObject_GetAttrString(text, "buffer");
    PyObject *raw = buffer == NULL ? NULL : PyObject_GetAttrString(buffer, "raw");
    close(fd);
    Py_XDECREF(buffer);
    if (raw == NULL) {
        Py_XDECREF(text);
        return -1;
    }
    cradle->stdin_text = text;
    cradle->stdin_raw = raw;
    return 0;
}

int cmpy_cradle_make(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle)
{
    cradle->counter = PyObject_CallFunction(state->itertools_count, "i", 1);
    if (cradle->counter == NULL) return -1;
    cradle->children = PySet_New(NULL);
    if (cradle->children == NULL) return -1;
    cradle->parent = cmpy_parent_new(state, process);
    if (cradle->parent == NULL) return -1;
    /* One is enough for all children of this process: each has a copy of its own. */
    if (state->next_stdin == NULL) {
        if (make_stdin(state, cradle) < 0) return -1;
        state->next_stdin = Py_XNewRef(cradle->stdin_text);
        state->next_stdin_raw = Py_XNewRef(cradle->stdin_raw);
        return 0;
    }
    cradle->stdin_text = Py_NewRef(state->next_stdin);
    cradle->stdin_raw = Py_NewRef(state->next_stdin_raw);
    return 0;
}

void cmpy_cradle_clear(struct cmpy_cradle *cradle)
{
    Py_CLEAR(cradle->counter);
    Py_CLEAR(cradle->children);
    Py_CLEAR(cradle->parent);
    Py_CLEAR(cradle->stdin_text);
    Py_CLEAR(cradle->stdin_raw);
}

/* ---- small helpers ---- */

/* multiprocessing.util.info(), which does nothing until get_logger() has made a logger. */
static int info(struct cmpy_state *state, const char *text)
{
    PyObject *logger = PyDict_GetItemString(state->util_globals, "_logger");
    if (logger == NULL || logger == Py_None) return 0;
    PyObject *function = PyDict_GetItemString(state->util_globals, "info");
    PyObject *result = function == NULL ? NULL : PyObject_CallFunction(function, "s", text);
    Py_XDECREF(result);
    return result == NULL && PyErr_Occurred() ? -1 : 0;
}

/* util.<name>() or threading.<name>() of the stdlib. */
static int call(PyObject *globals, const char *name)
{
    PyObject *function = PyDict_GetItemString(globals, name);
    if (function == NULL) {
        PyErr_Format(PyExc_RuntimeError, "multiprocessing needs %s, which this Python lacks", name);
        return -1;
    }
    Py_INCREF(function);
    PyObject *result = PyObject_CallNoArgs(function);
    Py_DECREF(function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static bool is_empty_dict(PyObject *globals, const char *name)
{
    PyObject *dict = PyDict_GetItemString(globals, name);
    return dict != NULL && PyDict_CheckExact(dict) && PyDict_GET_SIZE(dict) == 0;
}

static PyObject *take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* ---- becoming the process ---- */

/* sys.stdin is closed and made anew on /dev/null: a child that reads would take lines from its parent, those already
 * in the buffer included. */
static int replace_stdin(struct cmpy_cradle *cradle)
{
    PyObject *old = PySys_GetObject("stdin"); /* borrowed */
    if (old == NULL || old == Py_None) return 0;
    Py_INCREF(old);
    PyObject *closed = PyObject_CallMethod(old, "close", NULL);
    Py_DECREF(old);
    if (closed == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_OSError) && !PyErr_ExceptionMatches(PyExc_ValueError)) return -1;
        PyErr_Clear();
    }
    Py_XDECREF(closed);
    if (cradle->stdin_text == NULL) return 0;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    /* Programs started by the child shall find a stdin, not a hole that their first open() falls into. */
    if (fd == STDIN_FILENO) (void)fcntl(fd, F_SETFD, 0);
    PyObject *again = PyObject_CallMethod(cradle->stdin_raw, "__init__", "isO", fd, "r", Py_False);
    Py_XDECREF(again);
    return again == NULL ? -1 : PySys_SetObject("stdin", cradle->stdin_text);
}

/* The registry of finalizers is the parent's; locks and caches that asked for it are made anew. */
static int run_after_forkers(struct cmpy_state *state)
{
    PyObject *registry = PyDict_GetItemString(state->util_globals, "_finalizer_registry");
    if (registry != NULL && PyDict_Check(registry) && PyDict_GET_SIZE(registry) > 0) PyDict_Clear(registry);
    PyObject *weak = PyDict_GetItemString(state->util_globals, "_afterfork_registry");
    PyObject *data = weak == NULL ? NULL : PyObject_GetAttrString(weak, "data");
    bool nobody = data != NULL && PyDict_CheckExact(data) && PyDict_GET_SIZE(data) == 0;
    Py_XDECREF(data);
    PyErr_Clear();
    return nobody ? 0 : call(state->util_globals, "_run_after_forkers");
}

static int renew_thread_id(struct cmpy_state *state)
{
    PyObject *known = PyDict_GetItemString(state->threading_globals, "_HAVE_THREAD_NATIVE_ID");
    if (known != Py_True) return 0;
    PyObject *main_thread = PyDict_GetItemString(state->threading_globals, "_main_thread");
    if (main_thread == NULL) return 0;
    PyObject *result = PyObject_CallMethod(main_thread, "_set_native_id", NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static int force_start_method(PyObject *process)
{
    PyObject *method = PyObject_GetAttrString(process, "_start_method");
    if (method == NULL) return -1;
    PyObject *context = NULL, *result = Py_None;
    if (method != Py_None) {
        context = PyImport_ImportModule("cmp.context");
        result = context == NULL ? NULL : PyObject_CallMethod(context, "_force_start_method", "O", method);
        Py_XDECREF(result);
    }
    Py_XDECREF(context);
    Py_DECREF(method);
    return result == NULL ? -1 : 0;
}

static int enter_books(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle, PyObject *parent)
{
    PyObject *books = state->process_globals;
    return PyDict_SetItemString(books, "_process_counter", cradle->counter) < 0
        || PyDict_SetItemString(books, "_children", cradle->children) < 0 || replace_stdin(cradle) < 0
        || PyDict_SetItemString(books, "_current_process", process) < 0
        || PyDict_SetItemString(books, "_parent_process", parent) < 0
               ? -1 : 0;
}

static int become_forked(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle)
{
    /* The parent's Process object has to outlive the after-forkers, who may ask for it. */
    PyObject *old = Py_XNewRef(PyDict_GetItemString(state->process_globals, "_current_process"));
    Py_CLEAR(state->next_stdin); /* used up: this process's own children need another */
    Py_CLEAR(state->next_stdin_raw);
    int code = enter_books(state, process, cradle, cradle->parent);
    if (code == 0) code = renew_thread_id(state);
    if (code == 0) code = run_after_forkers(state);
    Py_XDECREF(old);
    return code;
}

static int become_spawned(struct cmpy_state *state, PyObject *process, PyObject *sentinel)
{
    struct cmpy_cradle cradle = {0};
    PyObject *old = Py_XNewRef(PyDict_GetItemString(state->process_globals, "_current_process"));
    PyObject *class = cmpy_books_get(state, "_ParentProcess");
    PyObject *name = PyObject_GetAttrString(process, "_parent_name");
    PyObject *pid = PyObject_GetAttrString(process, "_parent_pid");
    PyObject *parent = NULL, *done = NULL;
    int code = -1;
    if (class == NULL || name == NULL || pid == NULL) goto out;
    parent = PyObject_CallFunctionObjArgs(class, name, pid, sentinel, NULL);
    if (parent == NULL || cmpy_cradle_make(state, process, &cradle) < 0) goto out;
    if (enter_books(state, process, &cradle, parent) < 0 || renew_thread_id(state) < 0) goto out;
    done = PyObject_CallMethod(process, "_after_fork", NULL);
    code = done == NULL ? -1 : 0;
out:
    Py_XDECREF(done);
    Py_XDECREF(parent);
    Py_XDECREF(pid);
    Py_XDECREF(name);
    Py_XDECREF(old);
    cmpy_cradle_clear(&cradle);
    return code;
}

/* ---- running it ---- */

/* util._exit_function(): finalizers by priority, daemons terminated, others joined. */
static int exit_function(struct cmpy_state *state)
{
    PyObject *children = PyDict_GetItemString(state->process_globals, "_children");
    PyObject *logger = PyDict_GetItemString(state->util_globals, "_logger");
    if (children != NULL && PySet_Check(children) && PySet_GET_SIZE(children) == 0 && logger == Py_None
        && is_empty_dict(state->util_globals, "_finalizer_registry"))
        return PyDict_SetItemString(state->util_globals, "_exiting", Py_True);
    return call(state->util_globals, "_exit_function");
}

static int run(struct cmpy_state *state, PyObject *process)
{
    if (info(state, "child process calling self.run()") < 0) return -1;
    PyObject *result = PyObject_CallMethod(process, "run", NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* run(), and with the older Pythons the exit function whatever run() did; what the latter raises wins. */
static int run_and_exit(struct cmpy_state *state, PyObject *process)
{
    int code = run(state, process);
    if (EXIT_DUTIES_AT_ATEXIT) return code;
    PyObject *raised = take_exception();
    if (exit_function(state) < 0) {
        Py_XDECREF(raised);
        return -1;
    }
    if (raised == NULL) return 0;
    PyErr_SetObject((PyObject *)Py_TYPE(raised), raised);
    Py_DECREF(raised);
    return -1;
}

/* Through sys.stderr.write, where tests and users capture it. */
static int write_error(PyObject *text)
{
    PyObject *stream = PySys_GetObject("stderr");
    if (stream == NULL) stream = Py_None;
    Py_INCREF(stream);
    PyObject *result = text == NULL ? NULL : PyObject_CallMethod(stream, "write", "O", text);
    Py_DECREF(stream);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *code_of_exit(PyObject *exit)
{
    PyObject *code = PyObject_GetAttrString(exit, "code");
    if (code == NULL || PyLong_Check(code)) return code;
    if (code == Py_None) {
        Py_DECREF(code);
        return PyLong_FromLong(0);
    }
    PyObject *text = PyUnicode_FromFormat("%S\n", code);
    int written = write_error(text);
    Py_XDECREF(text);
    Py_DECREF(code);
    return written < 0 ? NULL : PyLong_FromLong(1);
}

static PyObject *report(PyObject *process, PyObject *error)
{
    PyObject *name = PyObject_GetAttrString(process, "name");
    PyObject *text = name == NULL ? NULL : PyUnicode_FromFormat("Process %S:\n", name);
    PyObject *traceback = NULL, *printed = NULL;
    if (write_error(text) < 0) goto out;
    traceback = PyImport_ImportModule("traceback");
    if (traceback != NULL) printed = PyObject_CallMethod(traceback, "print_exception", "O", error);
out:
    Py_XDECREF(name);
    Py_XDECREF(text);
    Py_XDECREF(traceback);
    if (printed == NULL) return NULL;
    Py_DECREF(printed);
    return PyLong_FromLong(1);
}

/* ---- leaving ---- */

static bool is_only_thread(void)
{
    PyThreadState *first = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
    return first != NULL && PyThreadState_Next(first) == NULL;
}

/* threading._shutdown() joins the non-daemon threads and calls who registered for that moment. */
static int join_threads(struct cmpy_state *state)
{
    PyObject *callbacks = PyDict_GetItemString(state->threading_globals, "_threading_atexits");
    if (is_only_thread() && callbacks != NULL && PyList_CheckExact(callbacks) && PyList_GET_SIZE(callbacks) == 0)
        return 0;
    return call(state->threading_globals, "_shutdown");
}

static int leave(struct cmpy_state *state, PyObject *exitcode)
{
    char text[80];
    if (join_threads(state) < 0) return -1;
    PyOS_snprintf(text, sizeof text, "process exiting with exitcode %ld", exitcode == NULL ? 1L : PyLong_AsLong(exitcode));
    if (info(state, text) < 0) return -1;
    return cmpy_flush_streams();
}

PyObject *cmpy_bootstrap(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle,
                         PyObject *parent_sentinel)
{
    PyObject *exitcode = NULL, *raised;
    int code = force_start_method(process);
    if (code == 0)
        code = cradle != NULL ? become_forked(state, process, cradle)
                              : become_spawned(state, process, parent_sentinel);
    if (code == 0) code = run_and_exit(state, process);
    if (code == 0) {
        exitcode = PyLong_FromLong(0);
    } else {
        raised = take_exception();
        exitcode = PyErr_GivenExceptionMatches(raised, PyExc_SystemExit) ? code_of_exit(raised)
                                                                         : report(process, raised);
        Py_XDECREF(raised);
    }
    raised = take_exception(); /* only if the report itself failed */
    if (leave(state, exitcode) < 0) {
        Py_CLEAR(exitcode);
        Py_XDECREF(raised);
    } else if (raised != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(raised), raised);
        Py_DECREF(raised);
    }
    return exitcode;
}

/* The number that _exit() gets: what os._exit() would make of it; one that is too large for it counts as -1. */
static int exit_status(PyObject *exitcode)
{
    int overflow = 0;
    long number = PyLong_AsLongAndOverflow(exitcode, &overflow);
    return (int)((overflow != 0 ? -1 : number) & 0xff);
}

static PyObject *bootstrap_of(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle)
{
    PyObject *method = PyObject_GetAttrString((PyObject *)Py_TYPE(process), "_bootstrap");
    bool ours = method == state->bootstrap_method;
    Py_XDECREF(method);
    if (method == NULL) return NULL;
    if (ours) return cmpy_bootstrap(state, process, cradle, NULL);
    PyErr_Clear();
    return PyObject_CallMethod(process, "_bootstrap", NULL);
}

_Noreturn void cmpy_child_run(struct cmpy_state *state, PyObject *process, struct cmpy_cradle *cradle)
{
    int status = 1;
    PyObject *exitcode = NULL;
#if EXIT_DUTIES_AT_ATEXIT
    PyObject *function = PyDict_GetItemString(state->util_globals, "_exit_function");
    PyObject *done = PyObject_CallMethod(state->atexit_module, "_clear", NULL);
    if (done != NULL && function != NULL) {
        Py_SETREF(done, PyObject_CallMethod(state->atexit_module, "register", "O", function));
        if (done != NULL) exitcode = bootstrap_of(state, process, cradle);
    }
    PyErr_Clear();
    done = PyObject_CallMethod(state->atexit_module, "_run_exitfuncs", NULL);
    PyErr_Clear();
#else
    exitcode = bootstrap_of(state, process, cradle);
#endif
    if (exitcode != NULL) status = exit_status(exitcode);
    _exit(status);
}
