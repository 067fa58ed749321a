/* cmp._core: this file only assembles. Each type's file has one `cmpy_<noun>_add(module)`. */
#include "py/state.h"

#include "py/channel.h"
#include "py/codec.h"
#include "py/barrier.h"
#include "py/cell.h"
#include "py/condition.h"
#include "py/descriptor.h"
#include "py/engine.h"
#include "py/event.h"
#include "py/feeder.h"
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

static int import_name(const char *module_name, const char *name, PyObject **out)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) return -1;
    *out = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *out == NULL ? -1 : 0;
}

static int module_exec(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
#define X(name) \
    if ((state->str.name = PyUnicode_InternFromString(#name)) == NULL) return -1;
    CMPY_STATE_NAMES(X)
#undef X
    if (import_name("queue", "Empty", &state->empty_error) < 0) return -1;
    if (import_name("queue", "Full", &state->full_error) < 0) return -1;
    if (import_name("multiprocessing.process", "__dict__", &state->process_globals) < 0) return -1;
    if (import_name("multiprocessing.util", "__dict__", &state->util_globals) < 0) return -1;
    if (import_name("multiprocessing.popen_fork", "__dict__", &state->popen_fork) < 0) return -1;
    if (import_name("threading", "__dict__", &state->threading_globals) < 0) return -1;
    if (import_name("io", "open", &state->io_open) < 0) return -1;
    if (import_name("itertools", "count", &state->itertools_count) < 0) return -1;
    if (import_name("atexit", "_clear", &state->atexit_clear) < 0) return -1;
    if (import_name("atexit", "register", &state->atexit_register) < 0) return -1;
    if (import_name("atexit", "_ncallbacks", &state->atexit_count) < 0) return -1;
    if (import_name("atexit", "_run_exitfuncs", &state->atexit_run) < 0) return -1;
    if (cmpy_parent_add(module) < 0 || cmpy_popen_add(module) < 0 || cmpy_process_add(module) < 0) return -1;
    if (cmpy_script_add(module) < 0) return -1;
    if (cmpy_codec_add(module) < 0) return -1;
    if (import_name("threading", "BrokenBarrierError", &state->broken_barrier_error) < 0) return -1;
    if (cmpy_slab_add(module) < 0 || cmpy_semlock_add_type(module) < 0 || cmpy_lock_add(module) < 0) return -1;
    if (cmpy_semaphore_add(module) < 0 || cmpy_condition_add(module) < 0) return -1;
    if (cmpy_event_add(module) < 0 || cmpy_barrier_add(module) < 0) return -1;
    if (cmpy_channel_add(module) < 0 || cmpy_reader_add(module) < 0) return -1;
    if (cmpy_queue_add(module) < 0 || cmpy_simplequeue_add(module) < 0 || cmpy_health_add(module) < 0) return -1;
    if (cmpy_cell_add(module) < 0 || cmpy_descriptor_add(module) < 0 || cmpy_life_add(module) < 0 || cmpy_managerqueue_add(module) < 0) return -1;
    if (cmpy_engine_add(module) < 0 || cmpy_results_add(module) < 0 || cmpy_imap_add(module) < 0) return -1;
    if (cmpy_worker_add(module) < 0 || cmpy_supervisor_add(module) < 0 || cmpy_feeder_add(module) < 0) return -1;
    if (cmpy_pool_add(module) < 0) return -1;
    return 0;
}

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&module_def);
}
