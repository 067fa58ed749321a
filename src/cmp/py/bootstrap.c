#include "py/bootstrap.h"

#include "py/books.h"
#include "py/cradle.h"
#include "py/errors.h"
#include "py/lifeline.h"
#include "py/patches.h"
#include "py/streams.h"
#include "py/thread.h"

#include <stdbool.h>
#include <unistd.h>

#define EXIT_DUTIES_AT_ATEXIT (PY_VERSION_HEX >= 0x030D0000)

/* ---- small helpers ---- */

/* multiprocessing.util.info(), which does nothing until get_logger() has made a logger. */
static int info(struct cmpy_state *state, const char *text)
{
    PyObject *logger = PyDict_GetItem(state->util_globals, state->str._logger);
    if (logger == NULL || logger == Py_None) return 0;
    PyObject *function = cmpy_stdlib_get(state->util_globals, "info");
    PyObject *result = function == NULL ? NULL : PyObject_CallFunction(function, "s", text);
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* ---- running it ---- */

/* The context that it was started from is the default of what it starts in its turn. */
static int force_start_method(struct cmpy_state *state, PyObject *process)
{
    PyObject *method = PyObject_GetAttr(process, state->str._start_method);
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

/* util._exit_function(): finalizers by priority, daemons terminated, others joined. */
static int exit_function(struct cmpy_state *state)
{
    PyObject *children = PyDict_GetItem(state->process_globals, state->str._children);
    PyObject *logger = PyDict_GetItem(state->util_globals, state->str._logger);
    PyObject *finalizers = PyDict_GetItem(state->util_globals, state->str._finalizer_registry);
    if (children != NULL && PySet_Check(children) && PySet_GET_SIZE(children) == 0 && logger == Py_None
        && finalizers != NULL && PyDict_CheckExact(finalizers) && PyDict_GET_SIZE(finalizers) == 0)
        return PyDict_SetItem(state->util_globals, state->str._exiting, Py_True);
    return cmpy_stdlib_call(state->util_globals, "_exit_function");
}

static int run(struct cmpy_state *state, PyObject *process)
{
    if (state->cradle_interrupt != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(state->cradle_interrupt), state->cradle_interrupt);
        Py_CLEAR(state->cradle_interrupt);
        return -1;
    }
    if (info(state, "child process calling self.run()") < 0) return -1;
    PyObject *result = PyObject_CallMethodNoArgs(process, state->str.run);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* run(), and with the older Pythons the exit function whatever run() did; what the latter raises wins. */
static int run_and_exit(struct cmpy_state *state, PyObject *process)
{
    int code = run(state, process);
    if (EXIT_DUTIES_AT_ATEXIT) return code;
    PyObject *raised = cmpy_exception_take();
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

/* In the interpreter's own words, which need no module: that of the others may be half imported by a thread that is no
 * more, or not be loaded for want of a descriptor, of which the error itself may tell. */
static PyObject *display(PyObject *error)
{
    PyErr_Clear();
    PyObject *hook = PySys_GetObject("__excepthook__"); /* borrowed */
    PyObject *trace = PyException_GetTraceback(error);
    PyObject *shown = hook == NULL ? NULL : PyObject_CallFunctionObjArgs(hook, (PyObject *)Py_TYPE(error), error,
                                                                         trace != NULL ? trace : Py_None, NULL);
    Py_XDECREF(trace);
    return shown;
}

static PyObject *report(PyObject *process, PyObject *error)
{
    PyObject *name = PyObject_GetAttrString(process, "name");
    PyObject *text = name == NULL ? NULL : PyUnicode_FromFormat("Process %S:\n", name);
    PyObject *traceback = NULL, *printed = NULL;
    if (write_error(text) < 0) goto out;
    traceback = PyImport_ImportModule("traceback");
    if (traceback != NULL) printed = PyObject_CallMethod(traceback, "print_exception", "O", error);
    if (printed == NULL) printed = display(error);
out:
    Py_XDECREF(name);
    Py_XDECREF(text);
    Py_XDECREF(traceback);
    if (printed == NULL) return NULL;
    Py_DECREF(printed);
    return PyLong_FromLong(1);
}

/* ---- leaving ---- */

/* threading._shutdown() joins the non-daemon threads and calls who registered for that moment. */
static int join_threads(struct cmpy_state *state)
{
    PyObject *callbacks = PyDict_GetItem(state->threading_globals, state->str._threading_atexits);
    if (cmpy_thread_is_only_one() && callbacks != NULL && PyList_CheckExact(callbacks)
        && PyList_GET_SIZE(callbacks) == 0)
        return 0;
    return cmpy_stdlib_call(state->threading_globals, "_shutdown");
}

static int leave(struct cmpy_state *state, PyObject *exitcode)
{
    if (join_threads(state) < 0) return -1;
    if (PyDict_GetItem(state->util_globals, state->str._logger) != Py_None) {
        PyObject *number = exitcode == NULL ? PyLong_FromLong(1) : PyNumber_Long(exitcode); /* of any size */
        PyObject *text = number == NULL ? NULL : PyUnicode_FromFormat("process exiting with exitcode %S", number);
        int code = text == NULL ? -1 : info(state, PyUnicode_AsUTF8(text));
        Py_XDECREF(number);
        Py_XDECREF(text);
        if (code < 0) return -1;
    }
    return cmpy_streams_flush(state);
}

/* What others have put in the place of BaseProcess._bootstrap, as coverage does to see what children run: it runs, and
 * what it stands before, the stdlib's _bootstrap in Python, to which our processes look like its own. */
static PyObject *run_patch(struct cmpy_state *state, PyObject *process, PyObject *parent_sentinel)
{
    PyObject *pid = PyObject_GetAttr(process, state->str._parent_pid), *exitcode = NULL;
    PyObject *sentinel = parent_sentinel != NULL ? Py_NewRef(parent_sentinel)
                                                 : PyObject_GetAttrString(state->cradle_parent, "_sentinel");
    if (pid == NULL || sentinel == NULL) goto out;
    if (parent_sentinel != NULL && cmpy_lifeline_take_if_wanted(state, process, pid, sentinel) < 0) goto out;
    (void)cmpy_patch_vectorcall(state, process, state->str._bootstrap, &sentinel, 1, NULL, &exitcode);
out:
    Py_XDECREF(sentinel);
    Py_XDECREF(pid);
    return exitcode;
}

PyObject *cmpy_bootstrap(struct cmpy_state *state, PyObject *process, PyObject *parent_sentinel)
{
    if (cmpy_books_open(state) < 0) return NULL;
    PyObject *exitcode = NULL, *raised;
    int patched = cmpy_patch_find(state, process, state->str._bootstrap);
    if (patched != 0) return patched < 0 ? NULL : run_patch(state, process, parent_sentinel);
    int code = force_start_method(state, process);
    if (code == 0)
        code = parent_sentinel == NULL ? cmpy_become_forked(state, process)
                                       : cmpy_become_spawned(state, process, parent_sentinel);
    if (code == 0) code = run_and_exit(state, process);
    if (code == 0) {
        exitcode = PyLong_FromLong(0);
    } else {
        raised = cmpy_exception_take();
        exitcode = PyErr_GivenExceptionMatches(raised, PyExc_SystemExit) ? code_of_exit(raised)
                                                                         : report(process, raised);
        Py_XDECREF(raised);
    }
    raised = cmpy_exception_take(); /* only if the report itself failed */
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

static PyObject *bootstrap_of(struct cmpy_state *state, PyObject *process)
{
    PyObject *method = PyObject_GetAttr((PyObject *)Py_TYPE(process), state->str._bootstrap);
    bool ours = method == state->bootstrap_method;
    Py_XDECREF(method);
    if (method == NULL) return NULL;
    return ours ? cmpy_bootstrap(state, process, NULL) : PyObject_CallMethodNoArgs(process, state->str._bootstrap);
}

#if EXIT_DUTIES_AT_ATEXIT

static long count_callbacks(struct cmpy_state *state)
{
    PyObject *count = PyObject_CallNoArgs(state->atexit_count);
    long number = count == NULL ? -1 : PyLong_AsLong(count);
    Py_XDECREF(count);
    PyErr_Clear();
    return number;
}

/* The parent's atexit callbacks are forgotten; the child's own run, and the exit function of util among them. */
static PyObject *bootstrap_and_exit(struct cmpy_state *state, PyObject *process)
{
    PyObject *exitcode = NULL;
    PyObject *function = PyDict_GetItem(state->util_globals, state->str._exit_function);
    PyObject *done = PyObject_CallNoArgs(state->atexit_clear);
    if (done != NULL && function != NULL) {
        Py_SETREF(done, PyObject_CallOneArg(state->atexit_register, function));
        if (done != NULL) exitcode = bootstrap_of(state, process);
    }
    PyErr_Clear();
    Py_XDECREF(done);
    /* Callbacks that are taken out leave their place behind, so a count of one means that nobody else came. */
    if (PY_VERSION_HEX < 0x030E0000 && count_callbacks(state) == 1) done = exit_function(state) < 0 ? NULL : Py_None;
    else done = PyObject_CallNoArgs(state->atexit_run);
    if (done == NULL) PyErr_Clear();
    return exitcode;
}

#else

static PyObject *bootstrap_and_exit(struct cmpy_state *state, PyObject *process)
{
    return bootstrap_of(state, process);
}

#endif

_Noreturn void cmpy_child_run(struct cmpy_state *state, PyObject *process, pid_t lifeline)
{
    if (lifeline != 0) cmpy_lifeline_take(lifeline);
    PyObject *exitcode = bootstrap_and_exit(state, process);
    _exit(exitcode == NULL ? 1 : exit_status(exitcode));
}
