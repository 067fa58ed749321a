#include "py/parcel.h"

#include "os/clock.h"
#include "os/forkepoch.h"
#include "py/decode.h"
#include "py/errors.h"

#include <string.h>
#include <time.h>

#define INTERRUPT_NS (50 * CMP_MS)

/* Its position is that of whom it was last handed to; guarded by the GIL like all else. */
struct cmpy_parcel cmpy_parcel_starved = {.kind = CMPY_PARCEL_STARVED};

/* NULL: no memory; no exception. */
static struct cmpy_parcel *allocate(size_t size)
{
    struct cmpy_parcel *parcel = PyMem_Malloc(sizeof *parcel + size);
    if (parcel == NULL) return NULL;
    memset(parcel, 0, sizeof *parcel);
    parcel->references = 1;
    return parcel;
}

struct cmpy_parcel *cmpy_parcel_take(struct cmpy_engine *engine, struct cmp_taken *taken)
{
    bool inlined = taken->block == 0;
    struct cmpy_parcel *parcel = allocate(inlined ? taken->size : 0);
    if (parcel == NULL) {
        cmp_queue_release(&engine->results, taken);
        return &cmpy_parcel_starved;
    }
    parcel->size = taken->size;
    if (inlined) {
        memcpy(parcel->bytes, taken->data, taken->size);
        parcel->data = parcel->bytes;
    } else {
        parcel->engine = engine;
        Py_INCREF(engine);
        engine->pins++;
        parcel->block = taken->block;
        parcel->data = taken->data;
    }
    return parcel;
}

struct cmpy_parcel *cmpy_parcel_make(enum cmpy_parcel_kind kind, PyObject *object)
{
    struct cmpy_parcel *parcel = allocate(0);
    if (parcel == NULL) {
        Py_XDECREF(object);
        return &cmpy_parcel_starved;
    }
    parcel->kind = kind;
    parcel->object = object;
    return parcel;
}

struct cmpy_parcel *cmpy_parcel_error(void)
{
    return cmpy_parcel_make(CMPY_PARCEL_ERROR, cmpy_exception_take());
}

void cmpy_parcel_keep(struct cmpy_parcel *parcel)
{
    parcel->references++;
}

static void release_block(struct cmpy_parcel *parcel)
{
    /* To a child, which has a copy, the block does not belong. */
    if (parcel->block == 0 || parcel->engine->epoch != cmp_fork_epoch()) return;
    struct cmp_taken taken;
    taken.block = parcel->block;
    cmp_queue_release(&parcel->engine->results, &taken);
    cmpy_engine_unpin(parcel->engine);
}

void cmpy_parcel_drop(struct cmpy_parcel *parcel)
{
    if (parcel == &cmpy_parcel_starved || --parcel->references > 0) return;
    release_block(parcel);
    Py_XDECREF(parcel->object);
    Py_XDECREF((PyObject *)parcel->engine);
    PyMem_Free(parcel);
}

static PyObject *pool_name(const char *name)
{
    PyObject *module = PyImport_ImportModule("cmp.pool");
    PyObject *value = module == NULL ? NULL : PyObject_GetAttrString(module, name);
    Py_XDECREF(module);
    return value;
}

/* cmp.pool.<name>(*arguments); takes over the arguments. */
static PyObject *make(const char *name, PyObject *arguments)
{
    PyObject *type = arguments == NULL ? NULL : pool_name(name);
    PyObject *made = type == NULL ? NULL : PyObject_CallObject(type, arguments);
    Py_XDECREF(type);
    Py_XDECREF(arguments);
    return made;
}

/* A traceback's text, then the exception: the text arrives even where the exception does not unpickle. */
static PyObject *open_error(struct cmpy_state *state, struct cmpy_source *source)
{
    PyObject *text = cmpy_decode(state, source);
    if (text == NULL) return NULL;
    PyObject *error = text == Py_None ? NULL : make("RemoteTraceback", PyTuple_Pack(1, text));
    PyObject *cause = error;
    if (cause == NULL && text != Py_None) goto failed;
    error = cmpy_decode(state, source);
    if (error == NULL) {
        if (cmpy_exception_interrupts()) goto failed; /* no fault of the bytes */
        PyObject *why = cmpy_exception_take();
        error = make("MaybeEncodingError", Py_BuildValue("(NO)", why, text));
        if (error == NULL) goto failed;
    }
    if (!PyExceptionInstance_Check(error)) {
        PyErr_SetString(PyExc_TypeError, "a task's error is no exception");
        Py_DECREF(error);
        goto failed;
    }
    if (cause != NULL) PyException_SetCause(error, cause);
    Py_DECREF(text);
    return error;

failed:
    Py_XDECREF(cause);
    Py_DECREF(text);
    return NULL;
}

/* Ctrl-C goes to the whole group, and a worker's answer to it may overtake the signal on its way to this process. What
 * it did to the task is not what the user should hear: the signal's own exception is, if it comes. */
static int await_signal(void)
{
    int64_t end_ns = cmp_now_ns() + INTERRUPT_NS;
    do {
        if (PyErr_CheckSignals() < 0) return -1;
        struct timespec pause = cmp_timespec(CMP_MS);
        Py_BEGIN_ALLOW_THREADS
        (void)nanosleep(&pause, NULL);
        Py_END_ALLOW_THREADS
    } while (cmp_now_ns() < end_ns);
    return PyErr_CheckSignals();
}

static int open_bytes(struct cmpy_state *state, struct cmpy_parcel *parcel, bool *success, PyObject **value)
{
    /* A child's copy leads to a block which its parent gives back as it likes. */
    if (parcel->block != 0 && cmpy_engine_check_process(parcel->engine) < 0) return -1;
    struct cmpy_source source = {.bytes = parcel->data, .size = parcel->size};
    const struct cmpy_result_header *at = cmpy_source_raw(&source, sizeof *at);
    struct cmpy_result_header header = {.status = CMPY_RESULT_VALUE};
    if (at != NULL) memcpy(&header, at, sizeof header);
    *success = header.status == CMPY_RESULT_VALUE;
    if (header.interrupted && await_signal() < 0) return -1;
    *value = *success ? cmpy_decode(state, &source) : open_error(state, &source);
    if (*value == NULL) {
        if (cmpy_exception_interrupts()) return -1;
        *success = false;
        *value = cmpy_exception_take();
    }
    return 0;
}

int cmpy_parcel_open(struct cmpy_state *state, struct cmpy_parcel *parcel, bool *success, PyObject **value)
{
    *success = false;
    switch (parcel->kind) {
    case CMPY_PARCEL_BYTES: return open_bytes(state, parcel, success, value);
    case CMPY_PARCEL_ERROR: *value = Py_NewRef(parcel->object); break;
    case CMPY_PARCEL_LOST:
        *value = make("WorkerLostError",
                      Py_BuildValue("(NiOd)", parcel->pid != 0 ? PyLong_FromLong(parcel->pid) : Py_NewRef(Py_None),
                                    parcel->exitcode,
                                    parcel->object != NULL ? parcel->object : Py_None, parcel->seconds));
        break;
    case CMPY_PARCEL_ENDED:
        *value = parcel->object != NULL ? make("WorkerLostError", PyTuple_Pack(1, parcel->object))
                                        : make("PoolEndedError", PyTuple_New(0));
        break;
    case CMPY_PARCEL_STARVED:
        PyErr_NoMemory();
        *value = cmpy_exception_take();
        break;
    }
    return *value == NULL ? -1 : 0;
}
