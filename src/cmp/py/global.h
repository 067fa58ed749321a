/* Globals: plain functions, builtin functions and plain classes travel by module and name, as in pickle. */
#ifndef CMP_PY_GLOBAL_H
#define CMP_PY_GLOBAL_H

#include "py/state.h"

/* Gives 1 and the two names (ASCII str objects, new references) if pickle too would send `object` by them: the module
 * is loaded, and the name found in it is this very object. 0 where that is not so, or cannot be told without running
 * Python code: pickle then decides, and words its errors itself. Runs no Python code. -1 with an exception. */
int cmpy_global_names(struct cmpy_state *state, PyObject *object, PyObject **module_name, PyObject **qualname);

/* What a pickle naming it would give: imports the module if need be, raises what pickle.loads raises. */
PyObject *cmpy_global_find(struct cmpy_state *state, const char *module_name, size_t module_size, const char *qualname,
                           size_t qualname_size);

#endif
