/* Verbs: methods of our Process in whose place a patch of BaseProcess may stand (py/patches.h).
 *
 * In the class a verb is a descriptor in front of the method in C. Whoever takes it, from an object, from super() or
 * from the class, gets the patch if there is one at that moment, and else the method, which looks for none. So what a
 * program has kept, to call it from its patch, now or later, in this thread or another, is what it was then. */
#ifndef CMP_PY_VERB_H
#define CMP_PY_VERB_H

#include "py/state.h"

/* Puts a verb in front of each of these methods of the class, which are named in turn, NULL at the end. */
int cmpy_verbs_add(PyObject *module, PyTypeObject *class, PyObject *const *names);

#endif
