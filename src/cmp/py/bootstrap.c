#include "py/bootstrap.h"

#include "os/lifeline.h"
#include "os/sigmask.h"
#include "py/books.h"
#include "py/fork.h"
#include "py/parent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#define EXIT_DUTIES_AT_ATEXIT (PY_VERSION_HEX >= 0x030D0000)

/* ---- the cradle ---- */

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

/* ---- small helpers ---- */

/* multiprocessing.util.info(), which does nothing until get_logger() has made a logger. */
static int info(struct cmpy_state *state, const char *text)
{
    PyObject *logger = PyDict_GetItem(state->util_globals, state->str._logger);
    if (logger == NULL || logger == Py_None) return 0;
    PyObject *function = PyDict_GetItemString(state->util_globals, "info");
    PyObject *result = function == NULL ? NULL : PyObject_CallFunction(function, "s", text);
    Py_XDECREF(result);
    return result == NULL && PyErr_Occurred() ? -1 : 0;
}

/* util.<name>() or threading.<name>() of the stdlib. */
static int call(PyObject *globals, const char *name)
{
    PyObject *function = PyDict_GetItemString(globals, name); /* borrowed */
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

/* ---- the lifeline ---- */

int cmpy_wants_lifeline(struct cmpy_state *state, PyObject *process)
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

static void take_lifeline(pid_t parent)
{
    if (cmp_lifeline_arm(parent) == -ESRCH) _exit(CMP_LIFELINE_STATUS);
}

/* Was this process made by a fork server? Its parent is the server then, not whom its process object names. */
static bool is_of_forkserver(void)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *forkserver = PyDict_GetItemString(modules, "multiprocessing.forkserver");
    PyObject *fds = forkserver == NULL ? NULL : PyObject_CallMethod(forkserver, "get_inherited_fds", NULL);
    bool is = fds != NULL && fds != Py_None;
    Py_XDECREF(fds);
    PyErr_Clear();
    return is;
}

static int take_lifeline_if_spawned(struct cmpy_state *state, PyObject *process, PyObject *parent_pid,
                                    PyObject *sentinel)
{
    int wanted = cmpy_wants_lifeline(state, process);
    if (wanted <= 0) return wanted;
    pid_t parent = (pid_t)PyLong_AsLong(parent_pid);
    if (parent == -1 && PyErr_Occurred()) return -1;
    if (!is_of_forkserver()) {
        take_lifeline(parent);
        return 0;
    }
    int pipe = (int)PyLong_AsLong(sentinel);
    PyErr_Clear(); /* there is none: then nothing can be done */
    if (cmp_lifeline_arm_by_pipe(parent, pipe) == -ESRCH) _exit(CMP_LIFELINE_STATUS);
    return 0;
}

/* ---- becoming the process ---- */

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
    return nobody ? 0 : call(state->util_globals, "_run_after_forkers");
}

static int renew_thread_id(struct cmpy_state *state)
{
    PyObject *main_thread = PyDict_GetItem(state->threading_globals, state->str._main_thread);
    if (main_thread == NULL) return 0;
    PyObject *result = PyObject_CallMethodNoArgs(main_thread, state->str._set_native_id);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

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

static int become_forked(struct cmpy_state *state, PyObject *process)
{
    /* The parent's Process object has to outlive the after-forkers, who may ask for it; it is kept for good, since
     * taking it apart costs more than it holds. */
    Py_XINCREF(PyDict_GetItem(state->process_globals, state->str._current_process));
    if (enter_books(state, process, state->cradle_parent) < 0 || renew_thread_id(state) < 0) return -1;
    return run_after_forkers(state);
}

static int become_spawned(struct cmpy_state *state, PyObject *process, PyObject *sentinel)
{
    PyObject *old = Py_XNewRef(PyDict_GetItem(state->process_globals, state->str._current_process));
    PyObject *class = PyDict_GetItemString(state->process_globals, "_ParentProcess"); /* borrowed */
    PyObject *name = PyObject_GetAttr(process, state->str._parent_name);
    PyObject *pid = PyObject_GetAttr(process, state->str._parent_pid);
    PyObject *parent = NULL, *done = NULL;
    int code = -1;
    cmp_sigmask_open();
    if (class == NULL || name == NULL || pid == NULL) goto out;
    if (take_lifeline_if_spawned(state, process, pid, sentinel) < 0) goto out;
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
    Py_XDECREF(old);
    return code;
}

/* ---- running it ---- */

/* util._exit_function(): finalizers by priority, daemons terminated, others joined. */
static int exit_function(struct cmpy_state *state)
{
    PyObject *children = PyDict_GetItem(state->process_globals, state->str._children);
    PyObject *logger = PyDict_GetItem(state->util_globals, state->str._logger);
    PyObject *finalizers = PyDict_GetItem(state->util_globals, state->str._finalizer_registry);
    if (children != NULL && PySet_Check(children) && PySet_GET_SIZE(children) == 0 && logger == Py_None
        && finalizers != NULL && PyDict_CheckExact(finalizers) && PyDict_GET_SIZE(finalizers) == 0)
        return PyDict_SetItem(state->util_globals, state->str._exiting, Py_True);
    return call(state->util_globals, "_exit_function");
}

static int run(struct cmpy_state *state, PyObject *process)
{
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
    PyObject *callbacks = PyDict_GetItem(state->threading_globals, state->str._threading_atexits);
    if (is_only_thread() && callbacks != NULL && PyList_CheckExact(callbacks) && PyList_GET_SIZE(callbacks) == 0)
        return 0;
    return call(state->threading_globals, "_shutdown");
}

static int leave(struct cmpy_state *state, PyObject *exitcode)
{
    if (join_threads(state) < 0) return -1;
    if (PyDict_GetItem(state->util_globals, state->str._logger) != Py_None) {
        char text[80];
        PyOS_snprintf(text, sizeof text, "process exiting with exitcode %ld",
                      exitcode == NULL ? 1L : PyLong_AsLong(exitcode));
        if (info(state, text) < 0) return -1;
    }
    return cmpy_flush_streams(state);
}

/* What somebody else has put in the place of BaseProcess._bootstrap, as coverage does to see what children run. NULL
 * where it is the stdlib's own. */
static PyObject *foreign_bootstrap(struct cmpy_state *state)
{
    PyObject *base = PyDict_GetItemString(state->process_globals, "BaseProcess"); /* borrowed */
    PyObject *method = base == NULL ? NULL : PyObject_GetAttr(base, state->str._bootstrap);
    if (method == NULL) PyErr_Clear();
    else if (PyFunction_Check(method) && PyFunction_GET_GLOBALS(method) == state->process_globals) Py_CLEAR(method);
    return method;
}

/* It runs, and what it stands before: the stdlib's _bootstrap in Python, to which our processes look like its own. */
static PyObject *run_foreign(struct cmpy_state *state, PyObject *method, PyObject *process, PyObject *parent_sentinel)
{
    PyObject *pid = PyObject_GetAttr(process, state->str._parent_pid), *exitcode = NULL;
    PyObject *sentinel = parent_sentinel != NULL ? Py_NewRef(parent_sentinel)
                                                 : PyObject_GetAttrString(state->cradle_parent, "_sentinel");
    if (pid == NULL || sentinel == NULL) goto out;
    if (parent_sentinel != NULL && take_lifeline_if_spawned(state, process, pid, sentinel) < 0) goto out;
    exitcode = PyObject_CallFunctionObjArgs(method, process, sentinel, NULL);
out:
    Py_XDECREF(sentinel);
    Py_XDECREF(pid);
    return exitcode;
}

PyObject *cmpy_bootstrap(struct cmpy_state *state, PyObject *process, PyObject *parent_sentinel)
{
    PyObject *exitcode = NULL, *raised, *foreign = foreign_bootstrap(state);
    if (foreign != NULL) {
        exitcode = run_foreign(state, foreign, process, parent_sentinel);
        Py_DECREF(foreign);
        return exitcode;
    }
    int code = force_start_method(state, process);
    if (code == 0)
        code = parent_sentinel == NULL ? become_forked(state, process)
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
    if (lifeline != 0) take_lifeline(lifeline);
    PyObject *exitcode = bootstrap_and_exit(state, process);
    _exit(exitcode == NULL ? 1 : exit_status(exitcode));
}
