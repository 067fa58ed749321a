/* Negative errnos become exceptions here and nowhere else. */
#ifndef CMP_PY_ERRORS_H
#define CMP_PY_ERRORS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* Sets the exception for `code` unless one is set already, and gives NULL. `operation` reads "Queue.put". -ENOMEM is
 * MemoryError, -EXDEV and -EPROTO are RuntimeError with the reason in words, -ESHUTDOWN (a manager has ended while its
 * object was waited for) EOFError, the rest OSError with errno and name.
 * What a caller wants to say in the stdlib's words (Empty, Full, ValueError) it says itself before coming here. */
PyObject *cmpy_raise(const char *operation, int code);

/* The exception that is set, whole and with its traceback, and set no more: a new reference, NULL if there is none. */
PyObject *cmpy_exception_take(void);

/* Is the exception that is set no Exception? Ctrl-C mostly: the business of whoever is interrupted, and nothing wrong
 * with what he was at. */
bool cmpy_exception_interrupts(void);

/* -1 with RuntimeError in any interpreter but the process's first: `what` is not to be had there. */
int cmpy_check_main_interpreter(const char *what);

#endif
