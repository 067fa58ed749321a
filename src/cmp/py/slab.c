#include "py/slab.h"

#include "py/descriptor.h"
#include "py/errors.h"

#include <errno.h>
#include <structmember.h>
#include <unistd.h>

struct slab {
    PyObject_HEAD
    PyObject *weakrefs;
    struct cmp_slab shared;
};

/* A new slab, or (fd not -1) the one behind a descriptor, which is taken over also when this fails. */
static PyObject *wrap(PyTypeObject *type, int fd)
{
    struct slab *self = (struct slab *)type->tp_alloc(type, 0);
    int code = 0;
    if (self != NULL) code = fd < 0 ? cmp_slab_create(&self->shared) : cmp_slab_attach(&self->shared, fd);
    if (self != NULL && code == 0) return (PyObject *)self;
    if (fd >= 0) close(fd);
    if (self == NULL) return NULL;
    self->shared.map = NULL;
    Py_DECREF(self);
    return cmpy_raise("Slab", code);
}

/* Slab() is a new one, Slab(fd) takes a descriptor over, Slab(dup) takes what dup.detach() gives: that is how one
 * arrives in a pickle. */
static PyObject *slab_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *from = NULL;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Slab() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "|O:Slab", &from)) return NULL;
    if (from == NULL) return wrap(type, -1);
    int fd = PyLong_Check(from) ? PyObject_AsFileDescriptor(from) : cmpy_descriptor_import(from);
    return fd < 0 ? NULL : wrap(type, fd);
}

static void slab_dealloc(PyObject *op)
{
    struct slab *self = (struct slab *)op;
    PyTypeObject *type = Py_TYPE(op);
    if (self->weakrefs != NULL) PyObject_ClearWeakRefs(op);
    cmp_slab_close(&self->shared);
    type->tp_free(op);
    Py_DECREF(type);
}

/* Its descriptor; -1 with an exception. */
static int fd_of(PyObject *op)
{
    const struct cmp_slab *shared = &((struct slab *)op)->shared;
    int code = cmp_slab_check_fd(shared);
    if (code == 0) return shared->fd;
    cmpy_raise("the slab's descriptor was closed by others", code);
    return -1;
}

static PyObject *slab_fileno(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int fd = fd_of(op);
    return fd < 0 ? NULL : PyLong_FromLong(fd);
}

static PyObject *slab_reduce(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int fd = fd_of(op);
    PyObject *dup = fd < 0 ? NULL : cmpy_descriptor_export(cmpy_state_of_type(Py_TYPE(op)), fd);
    return dup == NULL ? NULL : Py_BuildValue("O(N)", Py_TYPE(op), dup);
}

PyObject *cmpy_slab_claim(struct cmpy_state *state, uint32_t *index)
{
    int code = -ENOSPC;
    PyObject *slab = state->current_slab == NULL ? Py_NewRef(Py_None) : PyObject_CallNoArgs(state->current_slab);
    if (slab == NULL) return NULL;
    if (slab != Py_None) code = cmp_slab_claim(&((struct slab *)slab)->shared, index);
    if (code == 0) return slab;
    Py_DECREF(slab);
    slab = wrap((PyTypeObject *)state->slab_type, -1);
    if (slab == NULL) return NULL;
    PyObject *weak = PyWeakref_NewRef(slab, NULL);
    if (weak == NULL || (code = cmp_slab_claim(&((struct slab *)slab)->shared, index)) < 0) {
        Py_XDECREF(weak);
        Py_DECREF(slab);
        return cmpy_raise("Slab", code);
    }
    Py_XSETREF(state->current_slab, weak);
    return slab;
}

struct cmp_slab *cmpy_slab_get(struct cmpy_state *state, PyObject *slab)
{
    if (Py_TYPE(slab) == (PyTypeObject *)state->slab_type) return &((struct slab *)slab)->shared;
    PyErr_Format(PyExc_TypeError, "not a Slab: %R", slab);
    return NULL;
}

static PyMethodDef slab_methods[] = {
    {"fileno", slab_fileno, METH_NOARGS, PyDoc_STR("fileno($self, /)\n--\n\nThe memfd's descriptor.")},
    {"__reduce__", slab_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef slab_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct slab, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slab_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Slab(fd=..., /)\n--\n\n"
                                 "Shared memory for the locks of the spawn and forkserver contexts.")},
    {Py_tp_new, slab_new},
    {Py_tp_dealloc, slab_dealloc},
    {Py_tp_methods, slab_methods},
    {Py_tp_members, slab_members},
    {0, NULL},
};

static PyType_Spec slab_spec = {
    .name = "cmp._core.Slab",
    .basicsize = sizeof(struct slab),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slab_slots,
};

int cmpy_slab_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->slab_type = PyType_FromModuleAndSpec(module, &slab_spec, NULL);
    if (state->slab_type == NULL) return -1;
    return PyModule_AddObjectRef(module, "Slab", state->slab_type);
}
