/* Patches: what programs put in the place of the stdlib's functions in multiprocessing.process.BaseProcess.
 *
 * Our Process derives from BaseProcess and has each verb itself, so Python's own look-up would end there: a function
 * that a program gives to BaseProcess, as tracers and guards of tests do, would not be heard. So each verb first looks
 * where the stdlib's would be found, in the classes behind our Process in the MRO. What is met there and is not the
 * stdlib's own has the say. Among these classes may be a user's, which Python orders there where a process class and
 * another child of BaseProcess are inherited from in turn.
 *
 * What is the stdlib's own is told by the function, not remembered: a patch may be older than this module, and may be
 * undone. Patches mostly call what they replaced. That is the stdlib's function in Python, which works on our objects,
 * since they have all that it looks for; or our own verb, if they got it from a class of ours: so a verb that is called
 * anew for the same object while its patch runs, in the same thread, does as if there were none. */
#ifndef CMP_PY_PATCHES_H
#define CMP_PY_PATCHES_H

#include "py/state.h"

/* Each asks for a patch of self.<name>. 0: there is none, go on. 1: there is, and *result is what it gave, a new
 * reference. -1: an exception, the patch's or another, and *result is NULL or untouched.
 * Where a verb is not patched, no reference count is written to: forked children would pay for that. */

/* Only asks. */
int cmpy_patch_find(struct cmpy_state *state, PyObject *self, PyObject *name);
/* Calls it. */
int cmpy_patch_call(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject *args, PyObject *kwargs,
                    PyObject **result);
int cmpy_patch_vectorcall(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *names, PyObject **result);
/* Of a property: reads it. */
int cmpy_patch_get(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject **result);

/* In a forked child: other threads' calls are no more. */
void cmpy_patches_forget_others(struct cmpy_state *state);

#endif
