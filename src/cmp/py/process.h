/* Process: the stdlib's BaseProcess with its verbs in C. No C fields: all state is in the instance's dict, where the
 * stdlib's books look for it, and in `_popen`. A subclass says by its static `_Popen(process)` how children start. */
#ifndef CMP_PY_PROCESS_H
#define CMP_PY_PROCESS_H

#include "py/state.h"

int cmpy_process_add(PyObject *module);

#endif
