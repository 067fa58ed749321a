#include "py/parent.h"

#include "os/eventfd.h"
#include "os/pidfd.h"
#include "os/procstat.h"
#include "py/books.h"
#include "py/errors.h"

#include <errno.h>
#include <unistd.h>

/* Readable once the process is gone. A pid may have been given to a stranger since, so the start time, which the
 * parent knew of itself, must agree, where /proc shows it; asked after opening, since what the descriptor stands for
 * changes no more. */
static int open_sentinel(pid_t pid, uint64_t start_ticks, int *fd)
{
    uint64_t now_ticks = 0;
    bool zombie;
    int opened = -1, code = cmp_pidfd_open(pid, &opened);
    if (code == 0) {
        if (start_ticks == 0 || cmp_procstat_read(pid, &now_ticks, &zombie) < 0 || now_ticks == start_ticks) {
            *fd = opened;
            return 0;
        }
        close(opened);
        code = -ESRCH;
    }
    if (code != -ESRCH) return code;
    code = cmp_eventfd_create(&opened); /* it is gone: something that is readable for ever */
    if (code < 0) return code;
    cmp_eventfd_raise(opened);
    *fd = opened;
    return 0;
}

static PyObject *parent_sentinel(PyObject *self, void *closure)
{
    (void)closure;
    struct cmpy_state *state = cmpy_state_of_type(Py_TYPE(self));
    PyObject *dict = PyObject_GenericGetDict(self, NULL), *born = NULL, *pid = NULL, *result = NULL;
    if (dict == NULL) return NULL;
    result = Py_XNewRef(PyDict_GetItemWithError(dict, state->str._sentinel));
    if (result != NULL || PyErr_Occurred()) goto out;
    pid = PyObject_GetAttrString(self, "_pid");
    born = PyObject_GetAttrString(self, "_born");
    if (pid == NULL || born == NULL) goto out;
    long number = PyLong_AsLong(pid);
    unsigned long long start_ticks = PyLong_AsUnsignedLongLong(born);
    if (PyErr_Occurred()) goto out;
    int fd = -1, code = open_sentinel((pid_t)number, start_ticks, &fd);
    if (code < 0) {
        cmpy_raise("parent_process().sentinel", code);
        goto out;
    }
    result = PyLong_FromLong(fd);
    if (result == NULL || PyDict_SetItem(dict, state->str._sentinel, result) < 0) {
        Py_CLEAR(result);
        close(fd);
    }
out:
    Py_XDECREF(born);
    Py_XDECREF(pid);
    Py_DECREF(dict);
    return result;
}

PyObject *cmpy_parent_new(struct cmpy_state *state, PyObject *process)
{
    PyTypeObject *type = (PyTypeObject *)state->parent_type;
    PyObject *name = PyObject_GetAttr(process, state->str._parent_name);
    PyObject *pid = PyObject_GetAttr(process, state->str._parent_pid);
    PyObject *fields = NULL, *dict = NULL, *self = NULL;
    if (name == NULL || pid == NULL) goto out;
    self = type->tp_alloc(type, 0);
    if (self == NULL) goto out;
    fields = Py_BuildValue("{s():sOsOsKsOsOsOs{}}", "_identity", "_name", name, "_pid", pid, "_born",
                           (unsigned long long)cmp_procstat_own_start(), "_parent_pid", Py_None, "_popen", Py_None,
                           "_closed", Py_False, "_config");
    dict = fields == NULL ? NULL : PyObject_GenericGetDict(self, NULL);
    if (dict == NULL || PyDict_Update(dict, fields) < 0) Py_CLEAR(self);
out:
    Py_XDECREF(dict);
    Py_XDECREF(fields);
    Py_XDECREF(pid);
    Py_XDECREF(name);
    return self;
}

static int set_sentinel(PyObject *self, PyObject *value, void *closure)
{
    (void)closure;
    PyObject *dict = PyObject_GenericGetDict(self, NULL);
    if (dict == NULL) return -1;
    int code = value == NULL ? PyDict_DelItemString(dict, "_sentinel") : PyDict_SetItemString(dict, "_sentinel", value);
    Py_DECREF(dict);
    return code;
}

static bool same(PyObject *one, PyObject *name_of_one, PyObject *other, PyObject *name_of_other)
{
    PyObject *a = PyObject_GetAttr(one, name_of_one), *b = PyObject_GetAttr(other, name_of_other);
    int equal = a == NULL || b == NULL ? -1 : PyObject_RichCompareBool(a, b, Py_EQ);
    Py_XDECREF(a);
    Py_XDECREF(b);
    PyErr_Clear();
    return equal > 0;
}

bool cmpy_parent_fits(struct cmpy_state *state, PyObject *parent, PyObject *process)
{
    return same(parent, state->str._name, process, state->str._parent_name)
        && same(parent, state->str._pid, process, state->str._parent_pid);
}

static PyGetSetDef parent_getset[] = {
    {"_sentinel", parent_sentinel, set_sentinel, "A descriptor that is readable once the parent has ended.", NULL},
    {0},
};

static PyType_Slot parent_slots[] = {
    {Py_tp_doc, "The parent of a forked process."},
    {Py_tp_getset, parent_getset},
    {0, NULL},
};

static PyType_Spec parent_spec = {
    .name = "cmp._core._ParentProcess",
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = parent_slots,
};

int cmpy_parent_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *base = cmpy_stdlib_get(state->process_globals, "_ParentProcess");
    PyObject *bases = base == NULL ? NULL : PyTuple_Pack(1, base);
    Py_XDECREF(base);
    if (bases == NULL) return -1;
    state->parent_type = PyType_FromModuleAndSpec(module, &parent_spec, bases);
    Py_DECREF(bases);
    return state->parent_type == NULL ? -1 : 0;
}
