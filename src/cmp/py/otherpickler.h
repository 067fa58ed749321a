/* Picklers that a program puts in ForkingPickler's place, as the recipes for dill and cloudpickle do.
 *
 * It may set `_ForkingPickler` of multiprocessing.queues; before that is loaded, `ForkingPickler` of
 * multiprocessing.reduction or of the reducer it gives to a context; or `dumps` and `loads` of ForkingPickler itself.
 * From then on whatever is not made of builtin types alone is pickled by that pickler's dumps(), whole, and read by the
 * loads() of whoever takes it, as in the standard library. The Python side is cmp/otherpicklers.py. */
#ifndef CMP_PY_OTHERPICKLER_H
#define CMP_PY_OTHERPICKLER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct cmpy_state;

/* Finds what the standard library has. -1 with an exception. */
int cmpy_otherpickler_add(PyObject *module);
/* Is another one in its place? Runs no Python code. */
bool cmpy_otherpickler_is_there(struct cmpy_state *state);
/* An object that carries what its dumps() has made of this one, to be pickled instead: a new reference. NULL with what
 * dumps() raised. */
PyObject *cmpy_otherpickler_wrap(struct cmpy_state *state, PyObject *object);

#endif
