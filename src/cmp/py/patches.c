#include "py/patches.h"

#include <stdbool.h>

/* ---- finding them ---- */

/* The globals tell the module, and functools.wraps does not change them; the name is there for those who put one of the
 * stdlib's functions in the place of another. */
static bool is_function_of_stdlib(struct cmpy_state *state, PyObject *value, PyObject *name)
{
    if (!PyFunction_Check(value) || PyFunction_GET_GLOBALS(value) != state->process_globals) return false;
    PyObject *its_name = ((PyCodeObject *)PyFunction_GET_CODE(value))->co_name;
    return its_name == name || PyUnicode_Compare(its_name, name) == 0;
}

/* Or one of our own methods, which somebody has taken from a class of ours. */
static bool is_method_of_ours(struct cmpy_state *state, PyObject *value, PyObject *name)
{
    return Py_IS_TYPE(value, &PyMethodDescr_Type) && (PyObject *)PyDescr_TYPE(value) == state->process_type
        && PyUnicode_Compare(PyDescr_NAME(value), name) == 0;
}

static bool is_original(struct cmpy_state *state, PyObject *value, PyObject *name)
{
    if (!Py_IS_TYPE(value, &PyProperty_Type))
        return is_function_of_stdlib(state, value, name) || is_method_of_ours(state, value, name);
    PyObject *getter = PyObject_GetAttr(value, state->str.fget);
    bool its_own = getter != NULL && is_function_of_stdlib(state, getter, name);
    Py_XDECREF(getter);
    PyErr_Clear();
    return its_own;
}

/* What the classes behind our Process say to that name, borrowed. NULL without an exception: nothing, or too early. */
static PyObject *next_in_mro(struct cmpy_state *state, PyTypeObject *type, PyObject *name)
{
    PyObject *mro = type->tp_mro, *value;
    Py_ssize_t count = PyTuple_GET_SIZE(mro), i = 0;
    while (i < count && PyTuple_GET_ITEM(mro, i) != state->process_type) i++;
    for (i++; i < count; i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (base == &PyBaseObject_Type) break; /* nobody can patch it */
        if (base->tp_dict == NULL) continue;   /* the interpreter's own classes have theirs elsewhere */
        value = PyDict_GetItemWithError(base->tp_dict, name);
        if (value != NULL || PyErr_Occurred()) return value;
    }
    return NULL;
}

/* ---- patches that run ---- */

/* In the heap, not on the stack of who calls: greenlets put stacks aside. It is this process's own memory, written with
 * the GIL held, and no call is left in between: of a killed process nothing remains. */
struct cmpy_patch_running {
    PyObject *self, *name; /* borrowed from who calls */
    unsigned long thread;
    struct cmpy_patch_running *next;
};

static bool is_running(struct cmpy_state *state, PyObject *self, PyObject *name)
{
    struct cmpy_patch_running *running = state->patches_running;
    while (running != NULL
           && (running->self != self || running->name != name || running->thread != PyThread_get_thread_ident()))
        running = running->next;
    return running != NULL;
}

static struct cmpy_patch_running *enter(struct cmpy_state *state, PyObject *self, PyObject *name)
{
    struct cmpy_patch_running *running = PyMem_Malloc(sizeof *running);
    if (running == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *running = (struct cmpy_patch_running){self, name, PyThread_get_thread_ident(), state->patches_running};
    state->patches_running = running;
    return running;
}

/* The threads' calls end in any order. */
static void leave(struct cmpy_state *state, struct cmpy_patch_running *running)
{
    struct cmpy_patch_running **place = &state->patches_running;
    while (*place != running) place = &(*place)->next;
    *place = running->next;
    PyMem_Free(running);
}

void cmpy_patches_forget_others(struct cmpy_state *state)
{
    struct cmpy_patch_running **place = &state->patches_running;
    while (*place != NULL) {
        struct cmpy_patch_running *running = *place;
        if (running->thread == PyThread_get_thread_ident()) place = &running->next;
        else leave(state, running);
    }
}

/* What self.<name> would give. */
static PyObject *bind(PyObject *value, PyObject *self)
{
    descrgetfunc get = Py_TYPE(value)->tp_descr_get;
    return get == NULL ? Py_NewRef(value) : get(value, self, (PyObject *)Py_TYPE(self));
}

/* 1 with the patch in *value, borrowed; 0 or -1 as in the header. */
static int look(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject **value)
{
    *value = next_in_mro(state, Py_TYPE(self), name);
    if (*value == NULL) return PyErr_Occurred() ? -1 : 0;
    return !is_original(state, *value, name) && !is_running(state, self, name);
}

int cmpy_patch_find(struct cmpy_state *state, PyObject *self, PyObject *name)
{
    PyObject *value;
    return look(state, self, name, &value);
}

typedef PyObject *(*use)(PyObject *bound, void *arguments);

static int find_and_use(struct cmpy_state *state, PyObject *self, PyObject *name, use use, void *arguments,
                        PyObject **result)
{
    PyObject *value;
    int found = look(state, self, name, &value);
    if (found <= 0) return found;
    struct cmpy_patch_running *running = enter(state, self, name);
    if (running == NULL) return -1;
    Py_INCREF(value);
    PyObject *bound = bind(value, self);
    *result = bound == NULL ? NULL : use(bound, arguments);
    Py_XDECREF(bound);
    Py_DECREF(value);
    leave(state, running);
    return *result == NULL ? -1 : 1;
}

/* ---- ways to use one ---- */

struct tuple_call {
    PyObject *args, *kwargs;
};

static PyObject *call(PyObject *bound, void *arguments)
{
    struct tuple_call *given = arguments;
    return PyObject_Call(bound, given->args, given->kwargs);
}

int cmpy_patch_call(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject *args, PyObject *kwargs,
                    PyObject **result)
{
    return find_and_use(state, self, name, call, &(struct tuple_call){args, kwargs}, result);
}

struct vector_call {
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *names;
};

static PyObject *vectorcall(PyObject *bound, void *arguments)
{
    struct vector_call *given = arguments;
    return PyObject_Vectorcall(bound, given->args, (size_t)given->nargs, given->names);
}

int cmpy_patch_vectorcall(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *names, PyObject **result)
{
    return find_and_use(state, self, name, vectorcall, &(struct vector_call){args, nargs, names}, result);
}

static PyObject *keep(PyObject *bound, void *arguments)
{
    (void)arguments;
    return Py_NewRef(bound);
}

int cmpy_patch_get(struct cmpy_state *state, PyObject *self, PyObject *name, PyObject **result)
{
    return find_and_use(state, self, name, keep, NULL, result);
}
