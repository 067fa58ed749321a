/* The one set of books: who is running, who are my children. They are kept by the stdlib's multiprocessing.process,
 * whose globals every child binds anew; so they are read and written there, name by name, and never held. */
#ifndef CMP_PY_BOOKS_H
#define CMP_PY_BOOKS_H

#include "py/state.h"

/* An entry of multiprocessing.process, borrowed; NULL with RuntimeError if some code has deleted it. */
PyObject *cmpy_books_get(struct cmpy_state *state, PyObject *name);

/* Has multiprocessing.util and popen_fork loaded, which bring subprocess along: with the first process or pool, as the
 * stdlib does it, since they would be most of what `import cmp` takes beyond `import multiprocessing`. From then on
 * util_globals and popen_fork of the state are there. */
int cmpy_books_open(struct cmpy_state *state);

/* _children: add after the start, discard once the end is known. */
int cmpy_books_add_child(struct cmpy_state *state, PyObject *process);
int cmpy_books_discard_child(struct cmpy_state *state, PyObject *process);
/* multiprocessing.process._cleanup(): polls all children and drops those that have ended. */
int cmpy_books_cleanup(struct cmpy_state *state);

/* A name of a module, and where a new reference to it goes. */
struct cmpy_stdlib_name {
    const char *module, *name;
    PyObject **place;
};

/* Imports what is not in its place yet. -1 with an exception leaves those that were found in theirs. */
int cmpy_stdlib_fetch(const struct cmpy_stdlib_name *wanted, size_t count);
/* What multiprocessing or threading must have, a new reference. NULL with RuntimeError where it is missing, or with
 * MemoryError. */
PyObject *cmpy_stdlib_get(PyObject *globals, const char *name);
/* Calls such a function without arguments. -1 with what it raised. */
int cmpy_stdlib_call(PyObject *globals, const char *name);

#endif
