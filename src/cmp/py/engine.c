#include "py/engine.h"

#include "os/clock.h"
#include "os/forkepoch.h"
#include "os/identity.h"
#include "py/descriptor.h"
#include "py/encode.h"
#include "py/errors.h"
#include "py/feeder.h"
#include "py/lead.h"
#include "py/parcel.h"
#include "py/supervisor.h"
#include "py/wait.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Larger messages are copied without the GIL. */
#define PUT_WITH_GIL (32 * 1024)

/* --- its life --- */

static size_t queue_bytes(void)
{
    return (cmp_queue_shm_size() + 127) & ~(size_t)127;
}

static struct cmpy_engine *engine_new(struct cmpy_state *state)
{
    PyTypeObject *type = (PyTypeObject *)state->engine_type;
    struct cmpy_engine *engine = (struct cmpy_engine *)type->tp_alloc(type, 0);
    if (engine == NULL) return NULL;
    engine->state = state;
    engine->wake_fd = -1;
    engine->segment.fd = -1;
    engine->epoch = cmp_fork_epoch();
    cmp_eventcount_init(&engine->followers);
    cmpy_callbacks_init(&engine->callbacks);
    return engine;
}

/* Handles to what lies in the segment. */
static int attach_parts(struct cmpy_engine *engine, bool fresh, uint32_t nslots)
{
    char *root = cmp_segment_root(&engine->segment);
    struct cmp_queue_shm *tasks = (struct cmp_queue_shm *)root;
    struct cmp_queue_shm *results = (struct cmp_queue_shm *)(root + queue_bytes());
    engine->table = (struct cmp_pooltable *)(root + 2 * queue_bytes());
    int code;
    if (fresh) {
        cmp_pooltable_init(engine->table, nslots);
        code = cmp_queue_init(&engine->tasks, &engine->segment, tasks, 0);
        if (code == 0) code = cmp_queue_init(&engine->results, &engine->segment, results, 0);
    } else {
        size_t bytes = engine->segment.root_bytes, before = 2 * queue_bytes();
        code = bytes > before ? cmp_pooltable_check(engine->table, bytes - before) : -EPROTO;
        if (code == 0) code = cmp_queue_attach(&engine->tasks, &engine->segment, tasks);
        if (code == 0) code = cmp_queue_attach(&engine->results, &engine->segment, results);
    }
    engine->tasks.on_take_repair = cmp_pooltable_withdraw;
    engine->tasks.repair_arg = engine->table;
    return code;
}

struct cmpy_engine *cmpy_engine_create(struct cmpy_state *state, uint32_t nslots)
{
    struct cmpy_engine *engine = engine_new(state);
    if (engine == NULL) return NULL;
    size_t root_bytes = 2 * queue_bytes() + cmp_pooltable_size(nslots);
    int code = cmp_segment_create(&engine->segment, root_bytes, "cmp-pool");
    if (code < 0) goto failed;
    engine->open = true;
    code = attach_parts(engine, true, nslots);
    if (code < 0) goto failed;
    engine->results.on_look = cmpy_lead_look;
    engine->results.look_arg = engine;
    engine->workers = PyMem_Calloc(nslots, sizeof *engine->workers);
    engine->nslots = nslots;
    engine->feeds = PyList_New(0);
    engine->leaving = PyList_New(0);
    if (engine->workers == NULL || engine->feeds == NULL || engine->leaving == NULL) {
        code = -ENOMEM;
        goto failed;
    }
    return engine;

failed:
    Py_DECREF(engine);
    cmpy_raise("Pool", code);
    return NULL;
}

struct cmpy_engine *cmpy_engine_of(struct cmpy_state *state, PyObject *object)
{
    if (Py_TYPE(object) == (PyTypeObject *)state->engine_type) return (struct cmpy_engine *)object;
    PyErr_SetString(PyExc_TypeError, "a pool's engine is wanted");
    return NULL;
}

static void engine_close(struct cmpy_engine *engine)
{
    if (!engine->open) return;
    engine->open = false;
    cmp_segment_close(&engine->segment);
}

void cmpy_engine_unpin(struct cmpy_engine *engine)
{
    if (--engine->pins == 0 && engine->finished) engine_close(engine);
}

void cmpy_engine_finish(struct cmpy_engine *engine)
{
    /* Whoever still has the engine, the workers' objects go with the pool. */
    PyObject *pool_list = engine->pool_list;
    engine->pool_list = NULL;
    engine->pins++;
    engine->finished = true;
    Py_DECREF(pool_list);
    cmpy_lead_news(engine);
    cmpy_callbacks_end(engine);
    cmpy_engine_unpin(engine);
    Py_CLEAR(engine->process_factory); /* in a subclass a method, which holds the pool: a circle unless it ends here */
}

static void engine_dealloc(struct cmpy_engine *engine)
{
    PyTypeObject *type = Py_TYPE(engine);
    engine_close(engine);
    bool is_spawned_worker = engine->workers == NULL; /* which has a descriptor of its own */
    if (is_spawned_worker && cmp_identity_is(engine->wake_fd, engine->wake_identity)) close(engine->wake_fd);
    cmpy_tasks_free(&engine->book);
    if (engine->workers != NULL)
        for (uint32_t i = 0; i < engine->nslots; i++) Py_XDECREF(engine->workers[i].process);
    PyMem_Free(engine->workers);
    Py_XDECREF(engine->process_factory);
    Py_XDECREF(engine->ctx);
    Py_XDECREF(engine->initializer);
    Py_XDECREF(engine->initargs);
    Py_XDECREF(engine->maxtasks);
    Py_XDECREF(engine->pool_list);
    Py_XDECREF(engine->last_words);
    Py_XDECREF(engine->feeds);
    Py_XDECREF(engine->leaving);
    type->tp_free((PyObject *)engine);
    Py_DECREF(type);
}

int cmpy_engine_check_process(const struct cmpy_engine *engine)
{
    if (engine->epoch == cmp_fork_epoch()) return 0;
    PyErr_SetString(PyExc_RuntimeError,
                    "this pool belongs to the process that made it: a forked child cannot use it, and makes its own");
    return -1;
}

/* --- to a spawned worker --- */

static PyObject *engine_reduce(struct cmpy_engine *engine, PyObject *Py_UNUSED(ignored))
{
    struct cmpy_state *state = engine->state;
    PyObject *memory = NULL, *event = NULL, *module = NULL, *attach = NULL, *reduced = NULL;
    PyObject *spawning = PyObject_CallOneArg(state->assert_spawning, (PyObject *)engine);
    if (spawning == NULL) return NULL;
    Py_DECREF(spawning);
    if (!cmp_segment_owns_fd(&engine->segment) || !cmp_identity_is(engine->wake_fd, engine->wake_identity))
        return cmpy_raise("Pool: its descriptor was closed", -EBADF);
    memory = cmpy_descriptor_export(state, engine->segment.fd);
    if (memory == NULL) goto out;
    event = cmpy_descriptor_export(state, engine->wake_fd);
    if (event == NULL) goto out;
    module = PyImport_ImportModule("cmp._core");
    if (module == NULL) goto out;
    attach = PyObject_GetAttrString(module, "_attach_engine");
    if (attach != NULL) reduced = Py_BuildValue("(O(OO))", attach, memory, event);
out:
    Py_XDECREF(memory);
    Py_XDECREF(event);
    Py_XDECREF(module);
    Py_XDECREF(attach);
    return reduced;
}

static PyObject *attach_engine(PyObject *module, PyObject *args)
{
    PyObject *memory, *event;
    if (!PyArg_ParseTuple(args, "OO:_attach_engine", &memory, &event)) return NULL;
    struct cmpy_engine *engine = engine_new(cmpy_state_of_module(module));
    if (engine == NULL) return NULL;
    int fd = cmpy_descriptor_import(memory);
    if (fd >= 0) engine->wake_fd = cmpy_descriptor_import(event);
    if (fd < 0 || engine->wake_fd < 0) goto failed;
    engine->wake_identity = cmp_identity_of(engine->wake_fd);
    int code = cmp_segment_attach(&engine->segment, fd);
    if (code == 0) {
        fd = -1;
        engine->open = true;
        code = attach_parts(engine, false, 0);
    }
    if (code == 0) return (PyObject *)engine;
    cmpy_raise("Pool", code);
failed:
    if (fd >= 0) close(fd);
    Py_DECREF(engine);
    return NULL;
}

/* --- giving work --- */

struct putting {
    struct cmp_queue *queue;
    struct cmp_message message;
};

static int put_call(void *arg, int64_t deadline_ns)
{
    struct putting *p = arg;
    if (deadline_ns == CMPY_TRY && p->message.size > PUT_WITH_GIL) return -EBUSY; /* come back without the GIL */
    return cmp_queue_put(p->queue, &p->message, deadline_ns);
}

int cmpy_engine_submit(struct cmpy_engine *engine, struct cmpy_job *job, Py_ssize_t position, struct cmpy_sink *sink)
{
    /* Encoding ran users' code, in which the pool may have ended: then nobody would answer this task any more. */
    if (engine->last_words != NULL) return cmpy_engine_raise_last_words(engine);
    if (engine->pool_state == CMPY_POOL_TERMINATE) {
        PyErr_SetString(PyExc_ValueError, "Pool not running");
        return -1;
    }
    cmpy_sink_finish(sink);
    uint32_t kib = (uint32_t)(sink->size < (UINT64_C(1) << 40) ? (sink->size + 1023) / 1024 : UINT32_MAX);
    uint32_t id = cmpy_tasks_add(&engine->book, job, position, kib);
    if (id == 0) return -1;
    Py_INCREF(job);
    engine->out_kib += kib;
    struct putting p = {.queue = &engine->tasks,
                        .message = {.parts = sink->parts, .nparts = sink->nparts, .size = sink->size, .tag = id}};
    engine->pins++;
    int code = engine->open ? cmpy_wait(put_call, &p, CMPY_FOREVER) : -EPIPE;
    cmpy_engine_unpin(engine);
    if (code == 0) return 0;
    struct cmpy_task task;
    if (!cmpy_tasks_remove(&engine->book, id, &task)) {
        /* The pool ended meanwhile, and the task with it. */
        return 1;
    }
    engine->out_kib -= task.kib;
    Py_DECREF(job);
    if (code == -EPIPE) PyErr_SetString(PyExc_ValueError, "Pool not running");
    else if (code != CMPY_RAISED) cmpy_raise("Pool: a task", code);
    return -1;
}

void cmpy_engine_fail_position(struct cmpy_job *job, Py_ssize_t position)
{
    struct cmpy_parcel *parcel = cmpy_parcel_error();
    parcel->position = position;
    job->kind->receive(job, parcel);
}

/* --- outcomes --- */

void cmpy_engine_answer(struct cmpy_engine *engine, struct cmpy_task *task, struct cmpy_parcel *parcel)
{
    engine->out_kib -= task->kib;
    if (engine->full && engine->out_kib < CMPY_FEED_KIB / 2) engine->hungry = true;
    parcel->position = task->position;
    task->job->kind->receive(task->job, parcel);
    Py_DECREF(task->job);
}

int cmpy_engine_raise_last_words(const struct cmpy_engine *engine)
{
    PyObject *module = PyImport_ImportModule("cmp.pool");
    PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "WorkerLostError");
    if (type != NULL) PyErr_SetObject(type, engine->last_words);
    Py_XDECREF(type);
    Py_XDECREF(module);
    return -1;
}

void cmpy_engine_end_all(struct cmpy_engine *engine, PyObject *words)
{
    cmpy_feeds_end(engine);
    size_t from = 0;
    for (uint32_t id; (id = cmpy_tasks_any(&engine->book, &from)) != 0;) {
        struct cmpy_task task;
        if (cmpy_tasks_remove(&engine->book, id, &task))
            cmpy_engine_answer(engine, &task, cmpy_parcel_make(CMPY_PARCEL_ENDED, Py_XNewRef(words)));
    }
    cmpy_lead_news(engine);
}

bool cmpy_engine_busy(const struct cmpy_engine *engine)
{
    return engine->book.count > 0 || engine->callbacks.out > 0 || PyList_GET_SIZE(engine->feeds) > 0;
}

/* --- tables --- */

static PyMethodDef engine_methods[] = {
    {"__reduce__", (PyCFunction)engine_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot engine_slots[] = {
    {Py_tp_dealloc, engine_dealloc},
    {Py_tp_methods, engine_methods},
    {Py_tp_doc, "The working part of a pool, as its workers get it."},
    {0, NULL},
};

static PyType_Spec engine_spec = {
    .name = "cmp._core.PoolEngine",
    .basicsize = sizeof(struct cmpy_engine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = engine_slots,
};

static PyMethodDef functions[] = {
    {"_attach_engine", attach_engine, METH_VARARGS, "A pool's engine, in a spawned worker."},
    {NULL, NULL, 0, NULL},
};

int cmpy_engine_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->engine_type = PyType_FromModuleAndSpec(module, &engine_spec, NULL);
    return state->engine_type == NULL ? -1 : PyModule_AddFunctions(module, functions);
}
