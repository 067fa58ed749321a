/* cmp._core: this file only assembles. Each type's file has one `cmpy_<noun>_add(module)`. */
#include "py/state.h"

#include "py/channel.h"
#include "py/codec.h"
#include "py/barrier.h"
#include "py/books.h"
#include "py/callbacks.h"
#include "py/cell.h"
#include "py/condition.h"
#include "py/descriptor.h"
#include "py/engine.h"
#include "py/event.h"
#include "py/ending.h"
#include "py/faults.h"
#include "py/feeder.h"
#include "py/fork.h"
#include "py/imap.h"
#include "py/health.h"
#include "py/life.h"
#include "py/managerqueue.h"
#include "py/parent.h"
#include "py/pool.h"
#include "py/popen.h"
#include "py/process.h"
#include "py/semlock.h"
#include "py/slab.h"
#include "py/supervisor.h"
#include "py/thread.h"
#include "py/worker.h"
#include "py/queue.h"
#include "py/reader.h"
#include "py/results.h"
#include "py/simplequeue.h"
#include "py/script.h"

static int module_exec(PyObject *module);

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
#define X(name) Py_VISIT(state->name);
    CMPY_STATE_OBJECTS(X)
#undef X
#define X(name) Py_VISIT(state->str.name);
    CMPY_STATE_NAMES(X)
#undef X
    return 0;
}

static int module_clear(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
#define X(name) Py_CLEAR(state->name);
    CMPY_STATE_OBJECTS(X)
#undef X
#define X(name) Py_CLEAR(state->str.name);
    CMPY_STATE_NAMES(X)
#undef X
    cmpy_codec_clear(state);
    return 0;
}

static void module_free(void *module)
{
    (void)module_clear(module);
    cmpy_codec_free(cmpy_state_of_module(module));
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "cmp._core",
    .m_doc = "The C side of cmp: processes, queues, pools and locks over shared memory.",
    .m_size = sizeof(struct cmpy_state),
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

struct cmpy_state *cmpy_state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

struct cmpy_state *cmpy_state_of_type(PyTypeObject *type)
{
    /* PyType_GetModuleByDef, which 3.10 lacks: a user's subclass carries no module, the first base of ours does. */
    PyObject *mro = type->tp_mro;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (!PyType_HasFeature(base, Py_TPFLAGS_HEAPTYPE)) continue;
        PyObject *module = ((PyHeapTypeObject *)base)->ht_module;
        if (module != NULL && PyModule_GetDef(module) == &module_def) return PyModule_GetState(module);
    }
    Py_UNREACHABLE();
}

/* What the stdlib has that is looked up once; the parts of it that take long to load are left to who needs them. */
static int import_names(struct cmpy_state *state)
{
    const struct cmpy_stdlib_name wanted[] = {
        {"multiprocessing.process", "__dict__", &state->process_globals},
        {"threading", "__dict__", &state->threading_globals},
        {"threading", "BrokenBarrierError", &state->broken_barrier_error},
        {"io", "open", &state->io_open},
        {"io", "TextIOWrapper", &state->text_type},
        {"io", "BufferedWriter", &state->writer_type},
        {"io", "BufferedRandom", &state->random_type},
        {"os", "register_at_fork", &state->register_at_fork},
        {"itertools", "count", &state->itertools_count},
        {"atexit", "_clear", &state->atexit_clear},
        {"atexit", "register", &state->atexit_register},
        {"atexit", "_ncallbacks", &state->atexit_count},
        {"atexit", "_run_exitfuncs", &state->atexit_run},
    };
    return cmpy_stdlib_fetch(wanted, sizeof wanted / sizeof *wanted);
}

/* In this order: some need the types of those before them. */
static int (*const adders[])(PyObject *module) = {
    cmpy_parent_add, cmpy_popen_add, cmpy_process_add, cmpy_script_add, cmpy_codec_add,
    cmpy_slab_add, cmpy_semlock_add_type, cmpy_lock_add, cmpy_semaphore_add, cmpy_condition_add, cmpy_event_add,
    cmpy_barrier_add, cmpy_channel_add, cmpy_reader_add, cmpy_queue_add, cmpy_simplequeue_add, cmpy_health_add,
    cmpy_cell_add, cmpy_descriptor_add, cmpy_life_add, cmpy_managerqueue_add, cmpy_engine_add, cmpy_results_add,
    cmpy_imap_add, cmpy_worker_add, cmpy_thread_add, cmpy_supervisor_add, cmpy_feeder_add, cmpy_callbacks_add,
    cmpy_ending_add, cmpy_pool_add, cmpy_fork_add, cmpy_faults_add,
};

/* A type made from a spec calls itself by its full name in the interpreter's messages ("'cmp.queues.Queue' object has
 * no attribute ..."); one whose name was set uses that, as classes written in Python do. */
static int name_types(PyObject *module)
{
    PyObject *key, *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(PyModule_GetDict(module), &place, &key, &value)) {
        if (!PyType_Check(value) || PyType_HasFeature((PyTypeObject *)value, Py_TPFLAGS_IMMUTABLETYPE)) continue;
        PyObject *name = PyObject_GetAttrString(value, "__name__");
        int code = name == NULL ? -1 : PyObject_SetAttrString(value, "__name__", name);
        Py_XDECREF(name);
        if (code < 0) return -1;
    }
    return 0;
}

static int module_exec(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
#define X(name) \
    if ((state->str.name = PyUnicode_InternFromString(#name)) == NULL) return -1;
    CMPY_STATE_NAMES(X)
#undef X
    if (import_names(state) < 0) return -1;
    for (size_t i = 0; i < sizeof adders / sizeof *adders; i++)
        if (adders[i](module) < 0) return -1;
    return name_types(module);
}

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
