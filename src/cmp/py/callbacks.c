#include "py/callbacks.h"

#include "py/engine.h"
#include "py/supervisor.h"
#include "py/thread.h"
#include "py/wait.h"

#include <errno.h>

void cmpy_callbacks_init(struct cmpy_callbacks *callbacks)
{
    callbacks->last = &callbacks->first;
    cmp_eventcount_init(&callbacks->bell);
}

static void ring(struct cmpy_callbacks *callbacks)
{
    (void)cmp_rmw(fetch_add, &callbacks->rings, 1, seq_cst, "callbacks.ring");
    if (!cmp_eventcount_quiet(&callbacks->bell)) cmp_eventcount_notify_all(&callbacks->bell);
}

int cmpy_callbacks_prepare(struct cmpy_engine *engine)
{
    if (engine->callbacks.running) return 0;
    struct cmpy_state *state = engine->state;
    return cmpy_thread_start(state, "cmp-pool-callbacks", state->call_back_function, (PyObject *)engine);
}

void cmpy_callbacks_queue(struct cmpy_job *job)
{
    struct cmpy_callbacks *callbacks = &job->engine->callbacks;
    Py_INCREF(job);
    job->next_called = NULL;
    *callbacks->last = job;
    callbacks->last = &job->next_called;
    ring(callbacks);
}

void cmpy_callbacks_end(struct cmpy_engine *engine)
{
    if (engine->callbacks.object != NULL) cmpy_thread_leaves(engine->leaving, engine->callbacks.object);
    ring(&engine->callbacks);
}

bool cmpy_callbacks_is_me(const struct cmpy_engine *engine)
{
    return engine->callbacks.running && engine->callbacks.thread == PyThread_get_thread_ident();
}

/* --- the thread --- */

static _Thread_local bool calls_back;

bool cmpy_callbacks_is_any(void)
{
    return calls_back;
}

static void call_all(struct cmpy_engine *engine)
{
    struct cmpy_callbacks *callbacks = &engine->callbacks;
    while (callbacks->first != NULL) {
        struct cmpy_job *job = callbacks->first;
        callbacks->first = job->next_called;
        if (callbacks->first == NULL) callbacks->last = &callbacks->first;
        job->next_called = NULL;
        job->kind->call_back(job);
        cmpy_job_finish(job);
        Py_DECREF(job);
    }
    if (engine->pool_state != CMPY_POOL_RUN) cmpy_supervisor_kick(); /* perhaps it is over now */
}

struct listening {
    struct cmpy_callbacks *callbacks;
    uint32_t heard;
};

static int look_for_rings(void *arg)
{
    struct listening *l = arg;
    return cmp_load(&l->callbacks->rings, acquire) == l->heard ? -EAGAIN : 0;
}

static int listen_call(void *arg, int64_t deadline_ns)
{
    struct listening *l = arg;
    return cmp_eventcount_wait(&l->callbacks->bell, look_for_rings, NULL, l, deadline_ns, 0, NULL);
}

static PyObject *call_back(PyObject *module, PyObject *argument)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    struct cmpy_engine *engine = cmpy_engine_of(state, argument);
    if (engine == NULL) return NULL;
    struct cmpy_callbacks *callbacks = &engine->callbacks;
    if (callbacks->running) Py_RETURN_NONE; /* two were started at once, or one whose start() was interrupted lives */
    callbacks->running = calls_back = true;
    callbacks->thread = PyThread_get_thread_ident();
    callbacks->object = cmpy_thread_current(state);
    if (callbacks->object == NULL) PyErr_Clear();
    while (!engine->finished) {
        struct listening l = {callbacks, cmp_load(&callbacks->rings, relaxed)};
        call_all(engine);
        if (!engine->finished) (void)cmpy_wait(listen_call, &l, CMPY_FOREVER);
    }
    callbacks->running = calls_back = false;
    Py_CLEAR(callbacks->object);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_call_back", call_back, METH_O, "The thread that calls a pool's callbacks."},
    {NULL, NULL, 0, NULL},
};

int cmpy_callbacks_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (PyModule_AddFunctions(module, functions) < 0) return -1;
    state->call_back_function = PyObject_GetAttrString(module, "_call_back");
    return state->call_back_function == NULL ? -1 : 0;
}
