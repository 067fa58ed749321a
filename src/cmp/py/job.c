#include "py/job.h"

#include "py/engine.h"
#include "py/lead.h"

void cmpy_job_begin(struct cmpy_job *job, const struct cmpy_job_kind *kind, struct cmpy_engine *engine, PyObject *pool,
                    PyObject *function)
{
    job->kind = kind;
    job->engine = (struct cmpy_engine *)Py_NewRef((PyObject *)engine);
    job->pool = Py_NewRef(pool);
    job->function = Py_XNewRef(function);
    job->number = engine->next_job++;
}

void cmpy_job_set_callbacks(struct cmpy_job *job, PyObject *callback, PyObject *error_callback)
{
    if (callback != NULL && callback != Py_None) job->callback = Py_NewRef(callback);
    if (error_callback != NULL && error_callback != Py_None) job->error_callback = Py_NewRef(error_callback);
    job->calls_back = job->callback != NULL || job->error_callback != NULL;
    if (job->calls_back) job->engine->callbacks.out++;
}

void cmpy_job_call(struct cmpy_job *job, bool success, PyObject *value)
{
    PyObject *callback = success ? job->callback : job->error_callback;
    if (callback == NULL) return;
    Py_INCREF(callback);
    PyObject *result = PyObject_CallOneArg(callback, value);
    if (result == NULL) PyErr_WriteUnraisable(callback);
    Py_XDECREF(result);
    Py_DECREF(callback);
}

void cmpy_job_arrived(struct cmpy_job *job)
{
    /* A pool that was terminated calls nobody, as in the stdlib. */
    if (!job->calls_back || job->engine->pool_state == CMPY_POOL_TERMINATE) cmpy_job_finish(job);
    else cmpy_callbacks_queue(job);
}

void cmpy_job_finish(struct cmpy_job *job)
{
    job->done = true;
    if (job->calls_back) job->engine->callbacks.out--;
    job->calls_back = false;
    if (job->waiters > 0) cmpy_lead_news(job->engine);
    PyObject *pool = job->pool, *function = job->function, *callback = job->callback, *other = job->error_callback;
    job->pool = job->function = job->callback = job->error_callback = NULL;
    Py_XDECREF(function);
    Py_XDECREF(callback);
    Py_XDECREF(other);
    Py_XDECREF(pool);
}

int cmpy_job_traverse(struct cmpy_job *job, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(job));
    Py_VISIT(job->pool);
    Py_VISIT(job->function);
    Py_VISIT(job->callback);
    Py_VISIT(job->error_callback);
    return 0;
}

void cmpy_job_clear(struct cmpy_job *job)
{
    Py_CLEAR(job->pool);
    Py_CLEAR(job->function);
    Py_CLEAR(job->callback);
    Py_CLEAR(job->error_callback);
}
