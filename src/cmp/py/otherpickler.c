#include "py/otherpickler.h"

#include "py/books.h"
#include "py/instance.h"
#include "py/state.h"

/* Whether ForkingPickler's own dumps or loads is another, which is looked at when anything about the class changes. */
static bool has_other_methods(struct cmpy_state *state)
{
    PyTypeObject *class = (PyTypeObject *)state->forking_pickler;
    unsigned int version = cmpy_instance_version(class);
    if (version != 0 && version == state->forking_version) return false;
    if (PyDict_GetItem(class->tp_dict, state->str.dumps) != state->forking_dumps ||
        PyDict_GetItem(class->tp_dict, state->str.loads) != state->forking_loads)
        return true;
    (void)_PyType_Lookup(class, state->str.dumps); /* which gives it a version */
    state->forking_version = cmpy_instance_version(class);
    return false;
}

bool cmpy_otherpickler_is_there(struct cmpy_state *state)
{
    PyObject *now = NULL;
    if (state->queues_globals != NULL) now = PyDict_GetItem(state->queues_globals, state->str._ForkingPickler);
    if (now == NULL) now = PyDict_GetItem(state->reduction_globals, state->str.ForkingPickler);
    return now != state->forking_pickler || has_other_methods(state);
}

PyObject *cmpy_otherpickler_wrap(struct cmpy_state *state, PyObject *object)
{
    const struct cmpy_stdlib_name wanted[] = {{"cmp.otherpicklers", "wrap", &state->otherpickler_wrap}};
    if (cmpy_stdlib_fetch(wanted, 1) < 0) return NULL;
    return PyObject_CallOneArg(state->otherpickler_wrap, object);
}

/* ---- what is there from the beginning ---- */

PyDoc_STRVAR(watch_pickler_doc,
"_watch_pickler($module, globals, /)\n--\n\n"
"Those of cmp.queues, once it is loaded: a `_ForkingPickler` that comes to be there is what pickles.");

static PyObject *watch_pickler(PyObject *module, PyObject *globals)
{
    if (!PyDict_Check(globals)) return PyErr_Format(PyExc_TypeError, "a dict is wanted, not %R", globals);
    Py_XSETREF(cmpy_state_of_module(module)->queues_globals, Py_NewRef(globals));
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_watch_pickler", watch_pickler, METH_O, watch_pickler_doc},
    {NULL, NULL, 0, NULL},
};

/* A program may have been there before us: dumps is a classmethod of the stdlib's module, loads is pickle's. What is
 * not stays NULL here, and so is another's. */
static void keep_originals(struct cmpy_state *state)
{
    PyObject *own = ((PyTypeObject *)state->forking_pickler)->tp_dict, *dumps = PyDict_GetItem(own, state->str.dumps);
    PyObject *function = PyObject_GetAttr(state->forking_pickler, state->str.dumps), *plain = NULL;
    if (function != NULL && PyMethod_Check(function)) plain = PyMethod_GET_FUNCTION(function);
    if (plain != NULL && PyFunction_Check(plain) && PyFunction_GET_GLOBALS(plain) == state->reduction_globals)
        state->forking_dumps = Py_NewRef(dumps);
    Py_XDECREF(function);
    PyErr_Clear();
    PyObject *loads = PyObject_GetAttr(state->forking_pickler, state->str.loads);
    if (loads == state->pickle_loads) state->forking_loads = Py_XNewRef(PyDict_GetItem(own, state->str.loads));
    Py_XDECREF(loads);
    PyErr_Clear();
}

int cmpy_otherpickler_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *reducer = NULL;
    const struct cmpy_stdlib_name wanted[] = {
        {"multiprocessing.reduction", "__dict__", &state->reduction_globals},
        {"multiprocessing.reduction", "AbstractReducer", &reducer}, /* has the original, whatever was done since */
    };
    int failed = cmpy_stdlib_fetch(wanted, sizeof wanted / sizeof *wanted);
    if (failed == 0) state->forking_pickler = PyObject_GetAttr(reducer, state->str.ForkingPickler);
    Py_XDECREF(reducer);
    if (state->forking_pickler == NULL) return -1;
    if (!PyType_Check(state->forking_pickler)) {
        PyErr_SetString(PyExc_TypeError, "multiprocessing's ForkingPickler must be a class");
        return -1;
    }
    keep_originals(state);
    return PyModule_AddFunctions(module, functions);
}
