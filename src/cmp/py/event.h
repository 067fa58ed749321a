/* Event (shm/flag.h). */
#ifndef CMP_PY_EVENT_H
#define CMP_PY_EVENT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

int cmpy_event_add(PyObject *module);

#endif
