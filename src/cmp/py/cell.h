/* What Lock, Semaphore, Condition, Event and Barrier have in common: a cell, how it is made and how it travels. */
#ifndef CMP_PY_CELL_H
#define CMP_PY_CELL_H

#include "py/state.h"

#include "shm/slab.h"

#include <stdbool.h>

/* The head of each of those objects. */
struct cmpy_cell {
    PyObject_HEAD
    PyObject *slab; /* NULL: the cell is a page of its own, which only fork hands on */
    PyObject *dict;
    PyObject *weakrefs;
    PyObject *life; /* of the manager that keeps it, or NULL; cell.life looks into it */
    uint32_t index; /* in the slab */
    struct cmp_cell cell;
};

/* watch(): objects that a manager keeps. */
int cmpy_cell_add(PyObject *module);

/* For tp_members of each type. */
#define CMPY_CELL_MEMBERS                                                                                \
    {"__dictoffset__", T_PYSSIZET, offsetof(struct cmpy_cell, dict), READONLY, NULL},                     \
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct cmpy_cell, weakrefs), READONLY, NULL}

/* For tp_getset. */
#define CMPY_CELL_GETSET {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL}

/* The start method decides where the cell lies. ctx NULL is the TypeError of a missing argument of `type.__init__`,
 * None the default context. -1 with an exception. */
int cmpy_cell_create(struct cmpy_cell *self, const char *type, PyObject *ctx, enum cmp_cell_kind kind, uint64_t limit);

/* False with AttributeError where a subclass forgot super().__init__(). */
static inline bool cmpy_cell_ready(struct cmpy_cell *self)
{
    if (__builtin_expect(self->cell.shm != NULL, 1)) return true;
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '_semlock': its __init__ was not called",
                 Py_TYPE(self)->tp_name);
    return false;
}

/* (slab, index), for whoever carries the cell to a process that inherits nothing. NULL with the stdlib's refusal
 * of a fork context's object. */
PyObject *cmpy_cell_where(struct cmpy_cell *self);
/* The same as a pickle's state: refused unless a process is being spawned. */
PyObject *cmpy_cell_getstate(struct cmpy_cell *self);
/* Is it a tuple? False with TypeError. */
bool cmpy_cell_is_state(PyObject *state);
/* From (slab, index). -1 with an exception. */
int cmpy_cell_setstate(struct cmpy_cell *self, PyObject *slab, PyObject *index, enum cmp_cell_kind kind);

int cmpy_cell_traverse(PyObject *op, visitproc visit, void *arg);
int cmpy_cell_clear(PyObject *op);
/* The end of tp_dealloc, after untracking: gives the cell back (`owns`: the member slot is still needed) and frees. */
void cmpy_cell_dealloc(PyObject *op, bool owns);

/* acquire(block=True, timeout=None), as vectorcall passes them: the deadline. -1 with an exception. */
int cmpy_acquire_deadline(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, int64_t *deadline_ns);
/* wait(timeout=None): the timeout, borrowed. NULL with an exception. */
PyObject *cmpy_only_timeout(const char *function, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

/* Makes a type and puts it on the module under its name. A new reference. */
PyObject *cmpy_add_type(PyObject *module, PyType_Spec *spec, PyObject *base);

#endif
