#include "py/errors.h"

#include "py/wait.h"

#include <errno.h>
#include <string.h>

PyObject *cmpy_raise(const char *operation, int code)
{
    if (PyErr_Occurred()) return NULL;
    switch (code) {
    case CMPY_RAISED: return PyErr_Format(PyExc_SystemError, "%s: failed without an exception", operation);
    case -ENOMEM:
        return PyErr_Format(PyExc_MemoryError, "%s: no more shared memory (its budget, see CMP_MEMORY, is spent, or "
                            "this process may not map more)", operation);
    case -EXDEV:
        return PyErr_Format(PyExc_RuntimeError, "%s: the object belongs to processes of another pid namespace",
                            operation);
    case -EPROTO:
        return PyErr_Format(PyExc_RuntimeError, "%s: not shared memory of this version of cmp", operation);
    case -ESHUTDOWN: return PyErr_Format(PyExc_EOFError, "%s: the manager has ended", operation);
    default: break;
    }
    PyObject *error = PyObject_CallFunction(PyExc_OSError, "iN", -code,
                                            PyUnicode_FromFormat("%s: %s", operation, strerror(-code)));
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

bool cmpy_exception_interrupts(void)
{
    return PyErr_Occurred() != NULL && !PyErr_ExceptionMatches(PyExc_Exception);
}

int cmpy_check_main_interpreter(const char *what)
{
    if (PyInterpreterState_Get() == PyInterpreterState_Main()) return 0;
    PyErr_Format(PyExc_RuntimeError, "%s: not in a subinterpreter", what);
    return -1;
}

PyObject *cmpy_exception_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    if (type == NULL) return NULL;
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace != NULL) PyException_SetTraceback(value, trace);
    Py_DECREF(type);
    Py_XDECREF(trace);
    return value;
#endif
}
