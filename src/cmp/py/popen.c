#include "py/popen.h"

#include "os/child.h"
#include "os/pidfd.h"
#include "py/bootstrap.h"
#include "py/cradle.h"
#include "py/errors.h"
#include "py/fork.h"
#include "py/lifeline.h"
#include "py/sentinel.h"
#include "py/streams.h"
#include "py/wait.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <structmember.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAPED_BY_OTHERS 255

struct popen {
    PyObject_HEAD
    pid_t pid;
    pid_t owner;     /* the process that started it */
    bool ended;
    int exitcode;    /* once ended */
    struct cmpy_sentinel sentinel;
    PyObject *given; /* the pipe that a launcher of the stdlib's made, or NULL; used where there are no pidfds */
    PyObject *weakrefs;
};

/* ---- the end of the child ---- */

/* Looks, and reaps. With the GIL held throughout: nobody can come between the reaping and the note of it, so a missing
 * child has been reaped by somebody else. */
static void look(struct popen *self)
{
    if (self->ended || self->pid == 0 || self->owner != getpid()) return;
    int exitcode = 0, code = cmp_child_reap(self->pid, &exitcode);
    if (code == -EAGAIN) return;
    self->exitcode = code == 0 ? exitcode : REAPED_BY_OTHERS;
    self->ended = true;
}

static PyObject *exitcode(struct popen *self)
{
    if (self->ended) return PyLong_FromLong(self->exitcode);
    Py_RETURN_NONE;
}

static int wait_for_end(void *arg, int64_t deadline_ns)
{
    struct popen *self = arg;
    if (deadline_ns == CMPY_TRY) {
        look(self);
        return self->ended ? 0 : -EAGAIN;
    }
    int code = cmp_child_wait(self->pid);
    return code == -EINTR ? code : 0;
}

static int watch_for_end(void *arg, int64_t deadline_ns)
{
    struct popen *self = arg;
    if (deadline_ns == CMPY_TRY) return wait_for_end(arg, deadline_ns);
    int code = cmp_child_watch(self->pid, deadline_ns);
    return code == -EINTR || code == -ETIMEDOUT ? code : 0;
}

static int wait_for_sentinel(void *arg, int64_t deadline_ns)
{
    int code = cmp_pidfd_wait(*(int *)arg, deadline_ns);
    return code == -ETIMEDOUT && deadline_ns == CMPY_TRY ? -EAGAIN : code;
}

/* ---- the sentinel ---- */

/* Makes self->sentinel. While the child is ours and not reaped, its pid cannot have become a stranger's; hence the
 * look before and after. */
static int open_sentinel(struct popen *self)
{
    look(self);
    if (self->ended) return cmpy_sentinel_open_ended(&self->sentinel);
    int code = cmpy_sentinel_open(&self->sentinel, self->pid);
    look(self);
    return code == -ESRCH && self->ended ? cmpy_sentinel_open_ended(&self->sentinel) : code;
}

static PyObject *popen_get_sentinel(struct popen *self, void *closure)
{
    (void)closure;
    if (self->given != NULL && !cmpy_sentinel_pidfds_work()) return Py_NewRef(self->given);
    if (!cmpy_sentinel_is_open(&self->sentinel)) {
        int code = open_sentinel(self);
        if (code < 0) return cmpy_raise("Process.sentinel", code);
    }
    return PyLong_FromLong(self->sentinel.fd);
}

static int popen_set_sentinel(struct popen *self, PyObject *value, void *closure)
{
    (void)closure;
    Py_XINCREF(value);
    Py_XSETREF(self->given, value);
    return 0;
}

/* ---- poll and wait ---- */

static PyObject *popen_poll(struct popen *self, PyObject *args)
{
    int flag = WNOHANG;
    if (!PyArg_ParseTuple(args, "|i:poll", &flag)) return NULL;
    look(self);
    if (!self->ended && !(flag & WNOHANG) && self->owner == getpid()) {
        if (cmpy_wait(wait_for_end, self, CMPY_FOREVER) == CMPY_RAISED) return NULL;
        look(self);
    }
    return exitcode(self);
}

/* Its own sentinel, or -1: out of descriptors. */
static int sentinel_to_wait_with(struct popen *self)
{
    PyObject *sentinel = popen_get_sentinel(self, NULL);
    int fd = sentinel == NULL ? -1 : (int)PyLong_AsLong(sentinel);
    Py_XDECREF(sentinel);
    PyErr_Clear();
    return fd;
}

static PyObject *popen_wait(struct popen *self, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    int64_t deadline_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:wait", keywords, &timeout)) return NULL;
    if (cmpy_deadline(1, timeout, &deadline_ns) < 0) return NULL;
    look(self);
    if (self->ended || deadline_ns == CMPY_TRY || self->owner != getpid()) return exitcode(self);
    int code;
    if (deadline_ns == CMPY_FOREVER) {
        code = cmpy_wait(wait_for_end, self, deadline_ns);
    } else {
        int fd = sentinel_to_wait_with(self);
        code = fd >= 0 ? cmpy_wait(wait_for_sentinel, &fd, deadline_ns) : 0;
        /* The launchers' sentinel is a pipe, which the kernel closes a moment before the process has ended; and a
         * program that closes all descriptors leaves a number that is nothing, or something else; and a wait for one
         * may be refused. */
        if (code != -ETIMEDOUT && code != CMPY_RAISED) code = cmpy_wait(watch_for_end, self, deadline_ns);
    }
    if (code == CMPY_RAISED) return NULL;
    look(self);
    return exitcode(self);
}

/* ---- signals ---- */

static PyObject *send_signal(struct popen *self, int number)
{
    look(self); /* never to a stranger who has got the pid of a child that is gone */
    if (self->ended || self->pid == 0) Py_RETURN_NONE;
    if (PySys_Audit("os.kill", "ii", self->pid, number) < 0) return NULL;
    if (kill(self->pid, number) == 0 || errno == ESRCH) Py_RETURN_NONE;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *popen_terminate(struct popen *self, PyObject *unused)
{
    (void)unused;
    return send_signal(self, SIGTERM);
}

static PyObject *popen_kill(struct popen *self, PyObject *unused)
{
    (void)unused;
    return send_signal(self, SIGKILL);
}

static PyObject *popen_interrupt(struct popen *self, PyObject *unused)
{
    (void)unused;
    return send_signal(self, SIGINT);
}

/* ---- life ---- */

static void close_sentinel(struct popen *self)
{
    if (self->owner == getpid()) cmpy_sentinel_close(&self->sentinel);
}

static PyObject *popen_close(struct popen *self, PyObject *unused)
{
    (void)unused;
    close_sentinel(self);
    Py_RETURN_NONE;
}

static PyObject *popen_duplicate_for_child(PyObject *self, PyObject *fd)
{
    (void)self;
    return Py_NewRef(fd);
}

static PyObject *popen_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    struct popen *self = (struct popen *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    cmpy_sentinel_init(&self->sentinel);
    self->owner = getpid();
    return (PyObject *)self;
}

/* At once, so that an interrupted start() leaves a process that can be joined and ended; start() itself gets this
 * handle by way of Python code. An exception that is set stays. */
static void hand_over(struct popen *self, struct cmpy_state *state, PyObject *process)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (PyObject_SetAttr(process, state->str._popen, (PyObject *)self) < 0) PyErr_Clear();
    PyErr_Restore(type, value, trace);
}

static int flush_and_fork(struct popen *self, struct cmpy_state *state, PyObject *process)
{
    if (cmpy_streams_flush(state) < 0) return -1;
    if (cmpy_cradle_make(state, process) < 0) return -1;
    int lifeline = cmpy_lifeline_wanted(state, process);
    if (lifeline < 0) return -1;
    struct cmpy_sentinel_pipes pipes;
    if (cmpy_sentinel_make_pipes(&pipes) < 0) return -1;
    pid_t pid = cmpy_fork(state);
    if (pid == 0) {
        state->cradle_interrupt = PyErr_Occurred() ? cmpy_exception_take() : NULL;
        cmpy_sentinel_keep_childs(state, &pipes);
        cmpy_child_run(state, process, lifeline ? self->owner : 0);
    }
    if (pid < 0) {
        cmpy_sentinel_close_pipes(&pipes);
        return -1;
    }
    cmpy_sentinel_keep_parents(&self->sentinel, &pipes);
    self->pid = pid;
    hand_over(self, state, process);
    return PyErr_Occurred() ? -1 : 0;
}

static int popen_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"process_obj", NULL};
    PyObject *process;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:Popen", keywords, &process)) return -1;
    if (((struct popen *)op)->pid != 0) {
        PyErr_SetString(PyExc_RuntimeError, "a Popen is the handle of one process");
        return -1;
    }
    int turn = cmpy_turn_take();
    if (turn < 0) return -1;
    int code = flush_and_fork((struct popen *)op, cmpy_state_of_type(Py_TYPE(op)), process);
    cmpy_turn_give(turn);
    return code;
}

static int popen_traverse(struct popen *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->given);
    return 0;
}

static int popen_clear(struct popen *self)
{
    Py_CLEAR(self->given);
    return 0;
}

static void popen_dealloc(struct popen *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs((PyObject *)self);
    close_sentinel(self);
    (void)popen_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *popen_get_returncode(struct popen *self, void *closure)
{
    (void)closure;
    return exitcode(self);
}

static int popen_set_returncode(struct popen *self, PyObject *value, void *closure)
{
    (void)closure;
    long number = 0;
    if (value != NULL && value != Py_None) {
        number = PyLong_AsLong(value);
        if (number == -1 && PyErr_Occurred()) return -1;
    }
    self->ended = value != NULL && value != Py_None;
    self->exitcode = (int)number;
    return 0;
}

static PyGetSetDef popen_getset[] = {
    {"sentinel", (getter)popen_get_sentinel, (setter)popen_set_sentinel,
     "A descriptor that is readable once the child has ended: a pidfd, opened at first use.", NULL},
    {"returncode", (getter)popen_get_returncode, (setter)popen_set_returncode, "None, or the exit code.", NULL},
    {0},
};

static PyMemberDef popen_members[] = {
    {"pid", T_INT, offsetof(struct popen, pid), 0, "The child's process id."},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct popen, weakrefs), READONLY, NULL},
    {0},
};

static PyMethodDef popen_methods[] = {
    {"poll", (PyCFunction)popen_poll, METH_VARARGS,
     "poll($self, flag=1, /)\n--\n\nThe exit code, or None while the child lives."},
    {"wait", (PyCFunction)(void (*)(void))popen_wait, METH_VARARGS | METH_KEYWORDS,
     "wait($self, timeout=None)\n--\n\nWaits for the end; the exit code, or None when the time is over."},
    {"terminate", (PyCFunction)popen_terminate, METH_NOARGS, "terminate($self, /)\n--\n\nSends SIGTERM."},
    {"kill", (PyCFunction)popen_kill, METH_NOARGS, "kill($self, /)\n--\n\nSends SIGKILL."},
    {"interrupt", (PyCFunction)popen_interrupt, METH_NOARGS, "interrupt($self, /)\n--\n\nSends SIGINT."},
    {"close", (PyCFunction)popen_close, METH_NOARGS, "close($self, /)\n--\n\nGives the descriptors back."},
    {"duplicate_for_child", popen_duplicate_for_child, METH_O,
     "duplicate_for_child($self, fd, /)\n--\n\nA forked child has every descriptor already."},
    {0},
};

static PyType_Slot popen_slots[] = {
    {Py_tp_doc, "Popen(process_obj)\n--\n\nForks a child that runs the process; its handle in the parent."},
    {Py_tp_new, popen_new},
    {Py_tp_init, popen_init},
    {Py_tp_dealloc, popen_dealloc},
    {Py_tp_traverse, popen_traverse},
    {Py_tp_clear, popen_clear},
    {Py_tp_methods, popen_methods},
    {Py_tp_members, popen_members},
    {Py_tp_getset, popen_getset},
    {0, NULL},
};

static PyType_Spec popen_spec = {
    .name = "cmp._core.Popen",
    .basicsize = sizeof(struct popen),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = popen_slots,
};

int cmpy_popen_add(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &popen_spec, NULL);
    if (type == NULL) return -1;
    PyObject *method = PyUnicode_InternFromString("fork");
    int code = method == NULL ? -1 : PyObject_SetAttrString(type, "method", method);
    if (code == 0) code = PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(method);
    Py_DECREF(type);
    return code;
}
