/* Pool.__init__: its arguments checked in the stdlib's order and words, its engine made, its workers started, its end
 * registered. What goes wrong on the way leaves no process behind. */
#ifndef CMP_PY_POOLINIT_H
#define CMP_PY_POOLINIT_H

#include "py/pool.h"

int cmpy_pool_init(Pool *self, PyObject *args, PyObject *kwargs);

#endif
