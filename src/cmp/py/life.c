#include "py/life.h"

#include "os/lifeline.h"
#include "py/descriptor.h"
#include "py/errors.h"
#include "py/wait.h"

#include <errno.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    struct cmp_life life; /* life.shm NULL: not begun or attached */
} LifeObject;

static int life_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void life_dealloc(LifeObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    cmp_life_leave(&self->life);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *life_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if ((args != NULL && PyTuple_GET_SIZE(args) != 0) || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0))
        return PyErr_Format(PyExc_TypeError, "%s takes no arguments", type->tp_name);
    return type->tp_alloc(type, 0);
}

static PyObject *life_check(LifeObject *self)
{
    if (self->life.shm != NULL) return (PyObject *)self;
    PyErr_SetString(PyExc_ValueError, "this Life was neither begun nor attached");
    return NULL;
}

/* Who waits for a queue or a lock looks into the page, without the GIL: it stays where it is. */
static int check_unused(LifeObject *self)
{
    if (self->life.shm == NULL) return 0;
    PyErr_SetString(PyExc_RuntimeError, "this Life is in use already");
    return -1;
}

PyDoc_STRVAR(life_begin_doc,
"begin($self, /)\n--\n\n"
"Make a page that the calling thread holds until it ends. The server's main thread does this.");

static PyObject *life_begin(LifeObject *self, PyObject *Py_UNUSED(ignored))
{
    struct cmp_life made;
    if (check_unused(self) < 0) return NULL;
    int code = cmp_life_begin(&made);
    if (code < 0) return cmpy_raise("Life.begin", code);
    self->life = made;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(life_close_doc,
"close($self, /)\n--\n\n"
"Tell the clients that the server is about to end.");

static PyObject *life_close(LifeObject *self, PyObject *Py_UNUSED(ignored))
{
    if (life_check(self) == NULL) return NULL;
    cmp_life_close(&self->life);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(life_is_on_doc,
"is_on($self, /)\n--\n\n"
"Whether the server is there, neither closed nor dead.");

static PyObject *life_is_on(LifeObject *self, PyObject *Py_UNUSED(ignored))
{
    if (life_check(self) == NULL) return NULL;
    return PyBool_FromLong(cmp_life_state(&self->life) == CMP_LIFE_ON);
}

static PyObject *life_getstate(LifeObject *self, PyObject *Py_UNUSED(ignored))
{
    if (life_check(self) == NULL) return NULL;
    if (!cmp_life_owns_fd(&self->life)) return cmpy_raise("the manager's life: its descriptor was closed", -EBADF);
    return cmpy_descriptor_export(cmpy_state_of_type(Py_TYPE(self)), self->life.fd);
}

static PyObject *life_setstate(LifeObject *self, PyObject *exported)
{
    int fd = cmpy_descriptor_import(exported);
    if (fd < 0) return NULL;
    struct cmp_life found;
    int code = check_unused(self) < 0 ? CMPY_RAISED : cmp_life_attach(&found, fd);
    if (code < 0) {
        close(fd);
        return cmpy_raise("Life", code);
    }
    self->life = found;
    Py_RETURN_NONE;
}

static PyMethodDef life_methods[] = {
    {"begin", (PyCFunction)life_begin, METH_NOARGS, life_begin_doc},
    {"close", (PyCFunction)life_close, METH_NOARGS, life_close_doc},
    {"is_on", (PyCFunction)life_is_on, METH_NOARGS, life_is_on_doc},
    {"__getstate__", (PyCFunction)life_getstate, METH_NOARGS, NULL},
    {"__setstate__", (PyCFunction)life_setstate, METH_O, NULL},
    {0},
};

PyDoc_STRVAR(life_doc,
"Life()\n--\n\n"
"A page by which a server's clients know that it is there, without asking it.");

static PyType_Slot life_slots[] = {
    {Py_tp_doc, (void *)life_doc},
    {Py_tp_new, life_new},
    {Py_tp_traverse, life_traverse},
    {Py_tp_dealloc, life_dealloc},
    {Py_tp_methods, life_methods},
    {0, NULL},
};

static PyType_Spec life_spec = {
    .name = "cmp._core.Life",
    .basicsize = sizeof(LifeObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = life_slots,
};

struct cmp_life *cmpy_life_get(struct cmpy_state *state, PyObject *object)
{
    if (Py_TYPE(object) != (PyTypeObject *)state->life_type) {
        PyErr_Format(PyExc_TypeError, "a Life is wanted, not %R", object);
        return NULL;
    }
    LifeObject *self = (LifeObject *)object;
    return life_check(self) == NULL ? NULL : &self->life;
}

PyDoc_STRVAR(remove_doc,
"_remove_with_me($module, file, folder, /)\n--\n\n"
"If this process ends because its parent was killed, remove the file and then, unless it is None, the empty folder.");

static PyObject *remove_with_me(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *file = NULL, *folder = Py_None, *folder_bytes = NULL;
    if (!PyArg_ParseTuple(args, "O&O:_remove_with_me", PyUnicode_FSConverter, &file, &folder)) return NULL;
    int code = -1;
    if (folder == Py_None || PyUnicode_FSConverter(folder, &folder_bytes)) {
        code = cmp_lifeline_remove(PyBytes_AS_STRING(file),
                                   folder_bytes == NULL ? NULL : PyBytes_AS_STRING(folder_bytes));
        if (code < 0) cmpy_raise("_remove_with_me", code);
    }
    Py_XDECREF(folder_bytes);
    Py_DECREF(file);
    return code < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(look_doc,
"_look_for_parent($module, /)\n--\n\n"
"End this process, if it is one that ends with its parent, and the parent has ended.");

static PyObject *look_for_parent(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    cmp_lifeline_look();
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_look_for_parent", look_for_parent, METH_NOARGS, look_doc},
    {"_remove_with_me", remove_with_me, METH_VARARGS, remove_doc},
    {0},
};

int cmpy_life_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->life_type = PyType_FromModuleAndSpec(module, &life_spec, NULL);
    return state->life_type == NULL ? -1 : PyModule_AddObjectRef(module, "Life", state->life_type);
}
