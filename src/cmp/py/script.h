/* Script: runs a program in __main__ by the calls that python itself uses, so that tracebacks, SystemExit and Ctrl-C
 * come out the same. Every function gives 0, or 1 after a traceback was printed; SystemExit ends the process. */
#ifndef CMP_PY_SCRIPT_H
#define CMP_PY_SCRIPT_H

#include "py/state.h"

int cmpy_script_add(PyObject *module);

#endif
