/* Hostile messages: bytes that get() decodes, in an interpreter of its own. An object or an exception comes of them,
 * within what memory the bytes account for; and what came can be encoded, and decoded again, like any other object.
 *
 * What pickle does with arbitrary bytes is pickle's affair (it may call anything, and asks for any memory), so a
 * function that gives back what it got stands in for it. And an audit hook lets no global be found, nothing be
 * imported. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

PyMODINIT_FUNC PyInit__core(void);

/* A module of a package, which the interpreter's own importer does not look for among the built-in ones. */
#define LOAD                                                                          \
    "import _imp, _pickle, gc, importlib.machinery as m, multiprocessing.reduction\n" \
    "_pickle.loads = lambda data, buffers=(): (bytes(data), *map(bytes, buffers))\n"  \
    "spec = m.ModuleSpec('cmp._core', m.BuiltinImporter)\n"                          \
    "core = _imp.create_builtin(spec)\n"                                             \
    "_imp.exec_builtin(core)\n"                                                      \
    "gc.disable()\n"

static PyObject *encode, *decode, *collect;
static bool loaded;

static void must(bool fact)
{
    if (fact) return;
    if (PyErr_Occurred()) PyErr_Print();
    abort();
}

static int forbid(const char *event, PyObject *args, void *data)
{
    static const char *const forbidden[] = {"pickle.find_class", "import"};
    (void)args;
    (void)data;
    for (size_t i = 0; loaded && i < sizeof forbidden / sizeof *forbidden; i++) {
        if (strncmp(event, forbidden[i], strlen(forbidden[i])) != 0) continue;
        PyErr_SetString(PyExc_ImportError, "forbidden here");
        return -1;
    }
    return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    setenv("PYTHONMALLOC", "malloc", 1); /* where the sanitizer can see it */
    must(PyImport_AppendInittab("cmp._core", PyInit__core) == 0);
    Py_InitializeEx(0);
    PyObject *names = PyDict_New();
    must(names != NULL && PyRun_String(LOAD, Py_file_input, names, names) != NULL);
    PyObject *core = PyDict_GetItemString(names, "core");
    must((encode = PyObject_GetAttrString(core, "_encode")) != NULL);
    must((decode = PyObject_GetAttrString(core, "_decode")) != NULL);
    must((collect = PyObject_GetAttrString(PyDict_GetItemString(names, "gc"), "collect")) != NULL);
    must(PySys_AddAuditHook(forbid, NULL) == 0);
    loaded = true;
    return 0;
}

/* An error of ours in using the interpreter, or of counting bytes. */
static void tolerate(void)
{
    must(PyErr_Occurred() != NULL);
    must(!PyErr_ExceptionMatches(PyExc_SystemError) && !PyErr_ExceptionMatches(PyExc_MemoryError));
    PyErr_Clear();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned runs;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)size);
    must(bytes != NULL);
    PyObject *object = PyObject_CallOneArg(decode, bytes);
    if (object == NULL) {
        tolerate();
    } else {
        PyObject *again = PyObject_CallOneArg(encode, object);
        PyObject *twin = again == NULL ? NULL : PyObject_CallOneArg(decode, again);
        must(again == NULL || twin != NULL || PyErr_ExceptionMatches(PyExc_ImportError));
        if (twin == NULL) tolerate();
        else must(Py_TYPE(twin) == Py_TYPE(object));
        Py_XDECREF(twin);
        Py_XDECREF(again);
    }
    Py_XDECREF(object);
    Py_DECREF(bytes);
    must(!PyErr_Occurred());
    if (++runs % 64 == 0) Py_XDECREF(PyObject_CallNoArgs(collect)); /* cycles */
    return 0;
}
