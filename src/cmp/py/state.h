/* What the module owns: one struct per module object (PEP 489), reached from any of our types. */
#ifndef CMP_PY_STATE_H
#define CMP_PY_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Every PyObject * here is a strong reference, visited and cleared by module.c through CMPY_STATE_OBJECTS:
 * a type file adds its own line to that list and nothing else. */
#define CMPY_STATE_OBJECTS(X) \
    X(empty_error)      /* queue.Empty */ \
    X(full_error)       /* queue.Full */

struct cmpy_state {
#define X(name) PyObject *name;
    CMPY_STATE_OBJECTS(X)
#undef X
};

/* The state of the module that `type`, or a base of it, was made by; never NULL for our types. Borrowed from the
 * module, which every one of our heap types keeps alive. */
struct cmpy_state *cmpy_state_of_type(PyTypeObject *type);
struct cmpy_state *cmpy_state_of_module(PyObject *module);

#endif
