/* Names: short strings that come again and again (dict keys, module and function names) are made once.
 *
 * A small direct-mapped cache of str objects by their characters; a newcomer takes the place of who was there. Only
 * what is interned at the sender comes this way: it is one object there for all equal strings, so that being one
 * object here shares nothing that was not shared. */
#ifndef CMP_PY_NAMES_H
#define CMP_PY_NAMES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define CMPY_NAMES 512

struct cmpy_names {
    PyObject *strings[CMPY_NAMES]; /* strong, or NULL */
};

/* A new reference to the str of these ASCII characters; NULL with ValueError where they are not ASCII. */
PyObject *cmpy_names_get(struct cmpy_names *names, const char *characters, size_t size);
/* The same, interned: it is what the cache then gives to all. */
PyObject *cmpy_names_intern(struct cmpy_names *names, const char *characters, size_t size);
void cmpy_names_clear(struct cmpy_names *names);

#endif
