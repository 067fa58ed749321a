#include "py/script.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static PyObject *script_run_file(PyObject *module, PyObject *argument)
{
    (void)module;
    PyObject *path = NULL;
    PyCompilerFlags flags = _PyCompilerFlags_INIT;
    if (!PyUnicode_FSConverter(argument, &path)) return NULL;
    FILE *file = fopen(PyBytes_AS_STRING(path), "rbe");
    if (file == NULL) {
        int error = errno;
        PyObject *argv = PySys_GetObject("orig_argv"); /* borrowed */
        PyObject *program = argv == NULL ? PyUnicode_FromString("python") : PySequence_GetItem(argv, 0);
        if (program != NULL)
            PySys_FormatStderr("%S: can't open file %R: [Errno %d] %s\n", program, argument, error, strerror(error));
        Py_XDECREF(program);
        Py_DECREF(path);
        return program == NULL ? NULL : PyLong_FromLong(2);
    }
    int code = PyRun_SimpleFileExFlags(file, PyBytes_AS_STRING(path), 1, &flags);
    Py_DECREF(path);
    return PyLong_FromLong(code != 0);
}

static PyObject *script_run_stdin(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    PyCompilerFlags flags = _PyCompilerFlags_INIT;
    return PyLong_FromLong(PyRun_AnyFileExFlags(stdin, "<stdin>", 0, &flags) != 0);
}

#if PY_VERSION_HEX >= 0x030D0000

/* From 3.13 on tracebacks show the lines of a -c program, which linecache has been told; a matter of looks, so that
 * an error in it is none. */
static void show_lines(PyObject *code, PyObject *text)
{
    PyObject *linecache = PyImport_ImportModule("linecache"), *name = PyUnicode_FromString("<string>"), *done = NULL;
    /* The first of these versions knew a text by the name of its file, later ones by the code object. */
    bool by_code = linecache != NULL && (PyObject_HasAttrString(linecache, "_code_key") ||
                                         PyObject_HasAttrString(linecache, "_interactive_cache"));
    PyObject *tell = linecache == NULL ? NULL : PyObject_GetAttrString(linecache, "_register_code");
    if (tell != NULL && name != NULL)
        done = PyObject_CallFunctionObjArgs(tell, by_code ? code : name, text, name, NULL);
    Py_XDECREF(done);
    Py_XDECREF(tell);
    Py_XDECREF(name);
    Py_XDECREF(linecache);
    PyErr_Clear();
}

static int run_string(PyObject *text, const char *utf8, PyCompilerFlags *flags)
{
    PyObject *main_module = PyImport_AddModule("__main__"); /* borrowed */
    PyObject *globals = main_module == NULL ? NULL : PyModule_GetDict(main_module), *result = NULL;
    PyObject *code = globals == NULL ? NULL : Py_CompileStringExFlags(utf8, "<string>", Py_file_input, flags, -1);
    if (code != NULL) {
        show_lines(code, text);
        result = PyEval_EvalCode(code, globals, globals);
    }
    Py_XDECREF(code);
    Py_XDECREF(result);
    if (result == NULL) PyErr_Print();
    return result == NULL;
}

#else

static int run_string(PyObject *text, const char *utf8, PyCompilerFlags *flags)
{
    (void)text;
    return PyRun_SimpleStringFlags(utf8, flags) != 0;
}

#endif

static PyObject *script_run_string(PyObject *module, PyObject *text)
{
    (void)module;
    PyCompilerFlags flags = _PyCompilerFlags_INIT;
    flags.cf_flags |= PyCF_IGNORE_COOKIE; /* the text is a str already, whatever its first line says */
    const char *utf8 = PyUnicode_AsUTF8(text);
    return utf8 == NULL ? NULL : PyLong_FromLong(run_string(text, utf8, &flags));
}

static PyObject *script_run_module(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *name, *alter_argv;
    if (!PyArg_ParseTuple(args, "OO:run_module", &name, &alter_argv)) return NULL;
    PyObject *runpy = PyImport_ImportModule("runpy");
    if (runpy == NULL) return NULL;
    PyObject *done = PyObject_CallMethod(runpy, "_run_module_as_main", "OO", name, alter_argv);
    Py_DECREF(runpy);
    if (done == NULL) PyErr_Print();
    Py_XDECREF(done);
    return PyLong_FromLong(done == NULL);
}

static PyMethodDef script_functions[] = {
    {"run_file", script_run_file, METH_O, "run_file($module, path, /)\n--\n\nRuns a script; path is absolute."},
    {"run_stdin", script_run_stdin, METH_NOARGS, "run_stdin($module, /)\n--\n\nRuns what stdin says, as `python -`."},
    {"run_string", script_run_string, METH_O, "run_string($module, code, /)\n--\n\nRuns code, as `python -c`."},
    {"run_module", script_run_module, METH_VARARGS,
     "run_module($module, name, alter_argv, /)\n--\n\nRuns a module, as `python -m`."},
    {0},
};

int cmpy_script_add(PyObject *module)
{
    return PyModule_AddFunctions(module, script_functions);
}
