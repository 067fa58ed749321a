#include "py/faults.h"

#include "os/fault.h"

#ifdef CMP_FAULTS

#include "py/errors.h"

/* [name, ...]: one for each place, so that a name may come more than once. */
static PyObject *points(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    PyObject *list = PyList_New(0);
    const char *name;
    for (size_t i = 0; list != NULL && (name = cmp_fault_name(i)) != NULL; i++) {
        PyObject *text = PyUnicode_FromString(name);
        if (text == NULL || PyList_Append(list, text) < 0) Py_CLEAR(list);
        Py_XDECREF(text);
    }
    return list;
}

static PyObject *arm(PyObject *module, PyObject *args)
{
    (void)module;
    const char *name;
    int after, number;
    unsigned count;
    if (!PyArg_ParseTuple(args, "spIi:_fault_arm", &name, &after, &count, &number)) return NULL;
    int code = cmp_fault_arm_me(name, after ? CMP_FAULT_AFTER : CMP_FAULT_BEFORE, count, number);
    return code < 0 ? cmpy_raise(name, code) : Py_NewRef(Py_None);
}

static PyObject *count(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer buffer; /* never given back: it is counted into until the process ends */
    if (!PyArg_ParseTuple(args, "w*:_fault_count", &buffer)) return NULL;
    size_t n = 0;
    while (cmp_fault_name(n) != NULL) n++;
    if ((size_t)buffer.len < n * sizeof(unsigned)) {
        PyBuffer_Release(&buffer);
        return PyErr_Format(PyExc_ValueError, "there are %zu points to count", n);
    }
    cmp_fault_count(buffer.buf);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_fault_points", points, METH_NOARGS, "The names of the fault points, in the order of the counters."},
    {"_fault_arm", arm, METH_VARARGS, "(name, after, count, signal): this process gets the signal there."},
    {"_fault_count", count, METH_VARARGS, "(buffer): counts this process's passes, an unsigned for each point."},
    {NULL, NULL, 0, NULL},
};

int cmpy_faults_add(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}

#else

int cmpy_faults_add(PyObject *module)
{
    (void)module;
    return 0;
}

#endif
