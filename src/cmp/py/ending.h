/* Ending: how a pool ends at once, by terminate(), the end of its `with`, its collection, or the interpreter's exit.
 *
 * What is out ends without a result. The workers get SIGTERM, and those whom that has not ended within 0.8 s SIGKILL.
 * Callbacks that are due are waited for, five seconds at most.
 * Nothing interrupts it half-way: a signal handler's exception (Ctrl-C, once more) has the workers killed right away
 * and is raised when they are gone. */
#ifndef CMP_PY_ENDING_H
#define CMP_PY_ENDING_H

#include "py/engine.h"

int cmpy_ending_add(PyObject *module);

/* Done once; nothing in a forked child. -1 with a signal handler's exception: the pool has been ended all the same. */
int cmpy_ending_run(struct cmpy_engine *engine);
/* The workers' part of it, for a pool whose making has failed: none of them is left. An exception that is set stays. */
void cmpy_ending_disband(struct cmpy_engine *engine);

#endif
