#include "py/descriptor.h"

#include "os/scm.h"
#include "py/errors.h"

#include <fcntl.h>
#include <unistd.h>

PyObject *cmpy_descriptor_export(struct cmpy_state *state, int fd)
{
    return PyObject_CallFunction(state->dup_fd, "i", fd);
}

int cmpy_descriptor_import(PyObject *exported)
{
    PyObject *number = PyObject_CallMethod(exported, "detach", NULL);
    if (number == NULL) return -1;
    int fd = PyObject_AsFileDescriptor(number);
    Py_DECREF(number);
    if (fd < 0) return -1;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

PyDoc_STRVAR(send_doc,
"send_descriptors($module, socket, descriptors, /)\n--\n\n"
"Send a tuple of descriptors over a connected UNIX socket, itself given by number.");

static PyObject *send_descriptors(PyObject *Py_UNUSED(module), PyObject *args)
{
    int socket, fds[CMP_SCM_MOST], code;
    PyObject *numbers;
    if (!PyArg_ParseTuple(args, "iO!:send_descriptors", &socket, &PyTuple_Type, &numbers)) return NULL;
    Py_ssize_t n = PyTuple_GET_SIZE(numbers);
    if (n < 1 || n > CMP_SCM_MOST) return PyErr_Format(PyExc_ValueError, "cannot send %zd descriptors at once", n);
    for (Py_ssize_t i = 0; i < n; i++) {
        fds[i] = PyObject_AsFileDescriptor(PyTuple_GET_ITEM(numbers, i));
        if (fds[i] < 0) return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    code = cmp_scm_send(socket, fds, (int)n);
    Py_END_ALLOW_THREADS
    if (code < 0) return cmpy_raise("send_descriptors", code);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(receive_doc,
"receive_descriptors($module, socket, count, /)\n--\n\n"
"Receive exactly so many descriptors, which are the caller's to close.");

static PyObject *receive_descriptors(PyObject *Py_UNUSED(module), PyObject *args)
{
    int socket, count, fds[CMP_SCM_MOST], code;
    if (!PyArg_ParseTuple(args, "ii:receive_descriptors", &socket, &count)) return NULL;
    if (count < 1 || count > CMP_SCM_MOST)
        return PyErr_Format(PyExc_ValueError, "cannot receive %d descriptors at once", count);
    Py_BEGIN_ALLOW_THREADS
    code = cmp_scm_receive(socket, fds, count);
    Py_END_ALLOW_THREADS
    if (code < 0) return cmpy_raise("receive_descriptors", code);
    PyObject *numbers = PyTuple_New(count);
    for (int i = 0; numbers != NULL && i < count; i++) {
        PyObject *number = PyLong_FromLong(fds[i]);
        if (number == NULL) Py_CLEAR(numbers);
        else PyTuple_SET_ITEM(numbers, i, number);
    }
    if (numbers == NULL)
        for (int i = 0; i < count; i++) close(fds[i]);
    return numbers;
}

static PyMethodDef descriptor_functions[] = {
    {"send_descriptors", send_descriptors, METH_VARARGS, send_doc},
    {"receive_descriptors", receive_descriptors, METH_VARARGS, receive_doc},
    {0},
};

int cmpy_descriptor_add(PyObject *module)
{
    return PyModule_AddFunctions(module, descriptor_functions);
}
