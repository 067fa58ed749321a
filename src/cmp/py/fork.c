#include "py/fork.h"

#include "os/forkepoch.h"
#include "os/sigmask.h"
#include "py/books.h"
#include "py/errors.h"
#include "py/patches.h"
#include "py/streams.h"
#include "py/thread.h"

/* The code of the stdlib's Popen._launch, or NULL without an exception. */
static PyObject *launch_code(PyObject *popen_fork)
{
    PyObject *class = cmpy_stdlib_get(popen_fork, "Popen");
    PyObject *launch = class == NULL ? NULL : PyObject_GetAttrString(class, "_launch");
    PyObject *code = launch == NULL ? NULL : PyObject_GetAttrString(launch, "__code__");
    Py_XDECREF(class);
    Py_XDECREF(launch);
    PyErr_Clear();
    return code;
}

/* The line where it begins. */
static long launch_line(PyObject *code)
{
    PyObject *line = code == NULL ? NULL : PyObject_GetAttrString(code, "co_firstlineno");
    long number = line == NULL ? 1 : PyLong_AsLong(line);
    Py_XDECREF(line);
    PyErr_Clear();
    return number;
}

/* Newer versions of the stdlib's resource tracker have a forked child close the pipe to it, so that the tracker can end
 * before that child does; but not a Process, which shares its parent's tracker as ever: who starts one says so in an
 * object that is each thread's own. None where _launch knows of no such thing. Looked up by way of import, as _launch
 * does it: under an alias sys.modules need not have it yet. */
static PyObject *find_intent(PyObject *code)
{
    PyObject *names = code == NULL ? NULL : PyObject_GetAttrString(code, "co_names");
    PyObject *name = names == NULL ? NULL : PyUnicode_FromString("_fork_intent");
    PyObject *intent = NULL;
    if (name != NULL && PySequence_Contains(names, name) == 1) {
        PyObject *tracker = PyImport_ImportModule("multiprocessing.resource_tracker");
        intent = tracker == NULL ? NULL : PyObject_GetAttr(tracker, name);
        Py_XDECREF(tracker);
    }
    Py_XDECREF(names);
    Py_XDECREF(name);
    PyErr_Clear();
    return intent != NULL ? intent : Py_NewRef(Py_None);
}

/* What os.fork() gave this thread; -1: nothing yet. Noted before the interpreter looks for signals: the exception of a
 * handler would leave a child that nobody knows of, or have the child run on in its parent's place. */
static _Thread_local pid_t forked;
/* Is this thread in such a call, with others beside it? */
static _Thread_local bool from_among_threads;

static PyObject *fork_and_note(PyObject *popen_fork, PyObject *Py_UNUSED(ignored))
{
    PyObject *os = cmpy_stdlib_get(popen_fork, "os");
    PyObject *function = os == NULL ? NULL : PyObject_GetAttrString(os, "fork");
    Py_XDECREF(os); /* the child need not write to its page */
    bool outer = from_among_threads; /* a hook may start a process, too */
    from_among_threads = !cmpy_thread_is_only_one();
    PyObject *pid = function == NULL ? NULL : PyObject_CallNoArgs(function);
    if (pid != NULL) forked = (pid_t)PyLong_AsLong(pid);
    from_among_threads = outer;
    Py_XDECREF(function);
    return pid;
}

/* Whoever imports a module has its lock, and who wants the same module waits: in a child for ever, if that was another
 * thread. Locks that are forgotten are made anew; the module is what had become of it by then. */
static void free_module_locks(void)
{
    PyObject *machinery = PyImport_ImportModule("_frozen_importlib");
    PyObject *locks = machinery == NULL ? NULL : PyObject_GetAttrString(machinery, "_module_locks");
    if (locks != NULL && PyDict_Check(locks)) PyDict_Clear(locks);
    Py_XDECREF(locks);
    Py_XDECREF(machinery);
    PyErr_Clear();
}

/* In a child, before it runs anything: what another thread of its parent had is nobody's. A hook of os.fork(), since
 * those of the program, which come later, may print and import; what they print stays. */
static PyObject *free_for_heirs(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    if (from_among_threads) {
        cmpy_streams_renew(cmpy_state_of_module(module));
        cmpy_patches_forget_others(cmpy_state_of_module(module));
        free_module_locks();
    }
    Py_RETURN_NONE;
}

static PyMethodDef heirs_function = {"free_for_heirs", free_for_heirs, METH_NOARGS, NULL};

static int register_hook(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *none = PyTuple_New(0), *function = PyCFunction_New(&heirs_function, module), *registered = NULL;
    PyObject *keywords = function == NULL ? NULL : Py_BuildValue("{sO}", "after_in_child", function);
    if (none != NULL && keywords != NULL) registered = PyObject_Call(state->register_at_fork, none, keywords);
    Py_XDECREF(keywords);
    Py_XDECREF(function);
    Py_XDECREF(none);
    Py_XDECREF(registered);
    return registered == NULL ? -1 : 0;
}

static PyMethodDef fork_function = {"fork", fork_and_note, METH_NOARGS, NULL};

/* {"fork": fork_and_note}: the names that the forking line uses. */
static int make_names(struct cmpy_state *state)
{
    PyObject *function = PyCFunction_New(&fork_function, state->popen_fork);
    Py_XSETREF(state->forking_names, function == NULL ? NULL : Py_BuildValue("{sO}", "fork", function));
    Py_XDECREF(function);
    return state->forking_names == NULL ? -1 : 0;
}

/* os.fork() is called from a line that belongs to multiprocessing.popen_fork: what it audits, refuses and warns of
 * is then, version by version, what the stdlib's own processes get. */
static PyObject *forking_line(struct cmpy_state *state)
{
    if (state->forking_line != NULL) return state->forking_line;
    PyObject *file = cmpy_stdlib_get(state->popen_fork, "__file__");
    if (file == NULL && !PyErr_ExceptionMatches(PyExc_RuntimeError)) return NULL;
    PyErr_Clear(); /* a frozen module has none */
    const char *path = file != NULL && PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : "popen_fork.py";
    if (path == NULL || make_names(state) < 0) {
        Py_XDECREF(file);
        return NULL;
    }
    PyObject *launch = launch_code(state->popen_fork);
    long line = launch_line(launch);
    Py_XSETREF(state->fork_intent, find_intent(launch));
    Py_XDECREF(launch);
    PyObject *call = PyUnicode_FromString("fork()"), *above = PyUnicode_FromString("\n"), *source = NULL;
    if (call != NULL && above != NULL) Py_SETREF(above, PySequence_Repeat(above, line > 1 ? line - 1 : 0));
    if (call != NULL && above != NULL) source = PyUnicode_Concat(above, call);
    if (source != NULL) state->forking_line = Py_CompileString(PyUnicode_AsUTF8(source), path, Py_eval_input);
    Py_XDECREF(source);
    Py_XDECREF(above);
    Py_XDECREF(call);
    Py_XDECREF(file);
    return state->forking_line;
}

/* Keeps an exception that is set. */
static void share_tracker(struct cmpy_state *state, PyObject *share)
{
    PyObject *type, *value, *traceback;
    if (state->fork_intent == Py_None) return;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyObject_SetAttrString(state->fork_intent, "preserve_fd", share) < 0) PyErr_Clear(); /* it starts its own */
    PyErr_Restore(type, value, traceback);
}

pid_t cmpy_fork(struct cmpy_state *state)
{
    /* The interpreter ends a child that is born in any but its first with a fatal error. */
    if (cmpy_check_main_interpreter("a process started by fork") < 0) return -1;
    PyObject *line = forking_line(state);
    if (line == NULL) return -1;
    share_tracker(state, Py_True);
    /* The interpreter of a child that was just born forgets the signals that have come to it, and what their handlers
     * raise in a hook: SIGTERM among them, if its parent ends so soon, and would then wait for it for ever. So none
     * come before. */
    cmp_sigmask_hold_at_fork(true);
    forked = -1;
    PyObject *result = PyEval_EvalCode(line, state->popen_fork, state->forking_names);
    cmp_sigmask_hold_at_fork(false);
    share_tracker(state, Py_False);
    Py_XDECREF(result);
    if (forked == 0) cmp_sigmask_unblock();
    return forked;
}

/* Read and written with the GIL. In a child it is anybody's who has not come along, so each process makes its own. */
struct turn {
    PyThread_type_lock lock;
    uint32_t epoch;       /* of the process that made it */
    unsigned long holder; /* a thread's ident; 0: nobody */
    unsigned taken;       /* by the holder, so many times */
};

/* Two, since os.fork() takes the second among the hooks of others, some of whose locks it may have by then. A start
 * that has the first waits for those locks, too; who has the second for a pipe waits for none of them. */
static struct turn to_flush, at_pipes;

#define TURN_US (1000 * 1000)

static int take_turn(struct turn *turn, bool hears_signals)
{
    unsigned long me = PyThread_get_thread_ident();
    if (turn->epoch != cmp_fork_epoch()) {
        turn->lock = PyThread_allocate_lock();
        turn->epoch = cmp_fork_epoch();
        turn->holder = 0;
    }
    if (turn->lock == NULL) return 0;
    if (turn->holder == me) {
        turn->taken++;
        return 1;
    }
    PyLockStatus taken = PyThread_acquire_lock_timed(turn->lock, 0, 0);
    while (taken != PY_LOCK_ACQUIRED) {
        Py_BEGIN_ALLOW_THREADS
        taken = PyThread_acquire_lock_timed(turn->lock, TURN_US, hears_signals);
        Py_END_ALLOW_THREADS
        if (taken == PY_LOCK_FAILURE) return 0;
        if (taken == PY_LOCK_INTR && PyErr_CheckSignals() < 0) return -1;
    }
    turn->holder = me;
    turn->taken = 1;
    return 1;
}

static void give_turn(struct turn *turn)
{
    if (turn->epoch != cmp_fork_epoch() || turn->holder != PyThread_get_thread_ident()) return;
    if (--turn->taken > 0) return;
    turn->holder = 0;
    PyThread_release_lock(turn->lock);
}

int cmpy_turn_take(void)
{
    return take_turn(&to_flush, true);
}

void cmpy_turn_give(int taken)
{
    if (taken > 0) give_turn(&to_flush);
}

static PyObject *turn_take(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    int taken = take_turn(&at_pipes, true);
    return taken < 0 ? NULL : PyLong_FromLong(taken);
}

static PyObject *turn_take_to_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    /* What a handler raised in such a hook would be printed and forgotten. */
    return PyLong_FromLong(take_turn(&at_pipes, false));
}

static PyObject *turn_give(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    give_turn(&at_pipes);
    Py_RETURN_NONE;
}

static PyMethodDef turn_functions[] = {
    {"_take_turn", turn_take, METH_NOARGS, "No other thread forks until the turn is given back."},
    {"_take_turn_to_fork", turn_take_to_fork, METH_NOARGS, "The same, for a hook of a fork: hears no signals."},
    {"_give_turn", turn_give, METH_NOARGS, "Gives the turn back, where it is this thread's."},
    {NULL, NULL, 0, NULL},
};

int cmpy_fork_add(PyObject *module)
{
    return PyModule_AddFunctions(module, turn_functions) < 0 ? -1 : register_hook(module);
}
