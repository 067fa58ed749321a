/* Instances of plain classes, as pickle sees them: made by cls.__new__(cls), then given their attributes.
 *
 * Plain is a class whose instances pickle reduces to just that: nothing of what object has for the purpose is
 * overridden or registered, attributes are looked up in the ordinary way, and nothing but a __dict__ holds them. Data
 * classes and most others are; those with __slots__, __reduce__, __getstate__, another metaclass or a builtin base go
 * to pickle. */
#ifndef CMP_PY_INSTANCE_H
#define CMP_PY_INSTANCE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

struct cmpy_state;

#define CMPY_INSTANCE_KINDS 64

/* Verdicts on classes. A class is known by its address and its version, which the interpreter never gives again, and
 * takes away when anything about the class or a base of it changes. */
struct cmpy_instance_kinds {
    struct {
        PyTypeObject *type; /* compared, never followed */
        unsigned int version;
        bool plain;
    } kinds[CMPY_INSTANCE_KINDS];
};

/* The version of a class, see above; 0: it has none yet. */
unsigned int cmpy_instance_version(PyTypeObject *type);
/* 1: instances of the class are plain; 0: they are pickle's business; -1 with an exception. Runs no Python code. */
int cmpy_instance_plain(struct cmpy_state *state, PyTypeObject *type);
/* Would pickle find something under this name in an instance's dict that changes how the instance is pickled? */
bool cmpy_instance_is_hook(PyObject *name);
/* The instance's __dict__, a new reference; *dict is NULL where it has none. -1 with MemoryError. Runs no Python
 * code. */
int cmpy_instance_dict(PyObject *instance, PyObject **dict);

/* cls.__new__(cls); NULL with an exception, which it is also if cls is no class. */
PyObject *cmpy_instance_new(PyObject *cls);
/* Gives the instance its attributes, `count` pairs of name and value: __setstate__ with a dict of them if it has one,
 * else into its __dict__, the names interned. The references stay the caller's. -1 with an exception. */
int cmpy_instance_fill(struct cmpy_state *state, PyObject *instance, PyObject *const *pairs, Py_ssize_t count);
/* The same from a state that is an object: a dict, or anything for __setstate__. */
int cmpy_instance_restore(struct cmpy_state *state, PyObject *instance, PyObject *attributes);

#endif
