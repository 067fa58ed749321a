#include "py/channel.h"

#include "os/eventfd.h"
#include "os/forkepoch.h"
#include "py/books.h"
#include "py/context.h"
#include "py/decode.h"
#include "py/descriptor.h"
#include "py/encode.h"
#include "py/errors.h"
#include "py/wait.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* --- its life --- */

static struct cmpy_channel *channel_new(struct cmpy_state *state)
{
    const struct cmpy_stdlib_name errors[] = {
        {"cmp.queues", "Empty", &state->empty_error},
        {"cmp.queues", "Full", &state->full_error},
        {"cmp.queues", "ShutDown", &state->shutdown_error},
    };
    if (cmpy_stdlib_fetch(errors, sizeof errors / sizeof *errors) < 0) return NULL;
    struct cmpy_channel *channel = PyMem_Calloc(1, sizeof *channel);
    if (channel == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    channel->references = 1;
    channel->state = state;
    channel->event_fd = -1;
    return channel;
}

struct cmpy_channel *cmpy_channel_create(struct cmpy_state *state, uint64_t capacity)
{
    struct cmpy_channel *channel = channel_new(state);
    if (channel == NULL) return NULL;
    int code = cmp_segment_create(&channel->segment, cmp_queue_shm_size(), "cmp-queue");
    if (code < 0) {
        PyMem_Free(channel);
        cmpy_raise("Queue", code);
        return NULL;
    }
    code = cmp_queue_init(&channel->queue, &channel->segment, cmp_segment_root(&channel->segment), capacity);
    if (code == 0) code = cmp_eventfd_create(&channel->event_fd);
    if (code < 0) {
        cmpy_channel_drop(channel);
        cmpy_raise("Queue", code);
        return NULL;
    }
    cmp_queue_use_eventfd(&channel->queue, channel->event_fd);
    return channel;
}

struct cmpy_channel *cmpy_channel_keep(struct cmpy_channel *channel)
{
    channel->references++;
    return channel;
}

void cmpy_channel_drop(struct cmpy_channel *channel)
{
    if (channel == NULL || --channel->references > 0) return;
    cmpy_channel_drop(channel->replaced);
    /* A number that user code has closed and that now is something else is not ours to close. */
    if (channel->event_fd >= 0 && cmp_queue_owns_eventfd(&channel->queue)) close(channel->event_fd);
    cmp_segment_close(&channel->segment);
    Py_XDECREF(channel->life);
    PyMem_Free(channel);
}

/* --- to a spawned child --- */

PyObject *cmpy_channel_export(struct cmpy_channel *channel)
{
    if (!cmp_segment_owns_fd(&channel->segment) || !cmp_queue_owns_eventfd(&channel->queue))
        return cmpy_raise("Queue: its descriptors were closed", -EBADF);
    PyObject *memory = cmpy_descriptor_export(channel->state, channel->segment.fd);
    if (memory == NULL) return NULL;
    PyObject *event = cmpy_descriptor_export(channel->state, channel->event_fd);
    if (event == NULL) {
        Py_DECREF(memory);
        return NULL;
    }
    return Py_BuildValue("(NN)", memory, event);
}

struct cmpy_channel *cmpy_channel_import(struct cmpy_state *state, PyObject *exported)
{
    if (!PyTuple_Check(exported) || PyTuple_GET_SIZE(exported) != 2) {
        PyErr_SetString(PyExc_TypeError, "not the state of a queue");
        return NULL;
    }
    struct cmpy_channel *channel = channel_new(state);
    if (channel == NULL) return NULL;
    int fd = cmpy_descriptor_import(PyTuple_GET_ITEM(exported, 0));
    if (fd < 0) goto failed;
    channel->event_fd = cmpy_descriptor_import(PyTuple_GET_ITEM(exported, 1));
    if (channel->event_fd < 0) goto failed;
    int code = cmp_segment_attach(&channel->segment, fd);
    if (code < 0) {
        cmpy_raise("Queue", code);
        goto failed;
    }
    code = cmp_queue_attach(&channel->queue, &channel->segment, cmp_segment_root(&channel->segment));
    cmp_queue_use_eventfd(&channel->queue, channel->event_fd);
    if (code < 0) {
        cmpy_channel_drop(channel);
        cmpy_raise("Queue", code);
        return NULL;
    }
    return channel;

failed:
    if (channel->event_fd >= 0) close(channel->event_fd);
    if (fd >= 0) close(fd);
    PyMem_Free(channel);
    return NULL;
}

/* --- of the queues' types --- */

static void settle(struct cmpy_channel **place, struct cmpy_channel *channel)
{
    channel->replaced = *place;
    *place = channel;
}

int cmpy_channel_init(struct cmpy_channel **place, PyTypeObject *type, PyObject *ctx, uint64_t capacity)
{
    if (ctx == NULL) {
        const char *name = strrchr(type->tp_name, '.');
        PyErr_Format(PyExc_TypeError, "%s.__init__() missing 1 required keyword-only argument: 'ctx'",
                     name == NULL ? type->tp_name : name + 1);
        return -1;
    }
    struct cmpy_state *state = cmpy_state_of_type(type);
    int of_fork = cmpy_context_is_fork(state, ctx);
    if (of_fork < 0) return -1;
    struct cmpy_channel *channel = cmpy_channel_create(state, capacity);
    if (channel == NULL) return -1;
    channel->of_fork = of_fork != 0;
    settle(place, channel);
    return 0;
}

PyObject *cmpy_channel_getstate(struct cmpy_channel *channel, PyObject *owner)
{
    PyObject *spawning = PyObject_CallOneArg(channel->state->assert_spawning, owner);
    if (spawning == NULL) return NULL;
    Py_DECREF(spawning);
#if PY_VERSION_HEX >= 0x030B0500 /* since when the stdlib refuses */
    if (channel->of_fork) return cmpy_context_refuse_spawn();
#endif
    return cmpy_channel_export(channel);
}

int cmpy_channel_setstate(struct cmpy_channel **place, PyTypeObject *type, PyObject *exported)
{
    struct cmpy_channel *channel = cmpy_channel_import(cmpy_state_of_type(type), exported);
    if (channel == NULL) return -1;
    settle(place, channel);
    return 0;
}

/* --- put --- */

struct putting {
    struct cmp_queue *queue;
    const struct cmp_message *message;
};

static int put_call(void *arg, int64_t deadline_ns)
{
    struct putting *p = arg;
    return cmp_queue_put(p->queue, p->message, deadline_ns);
}

int cmpy_channel_raise_put(struct cmpy_channel *channel, int code)
{
    if (code == -EAGAIN || code == -ETIMEDOUT) PyErr_SetNone(channel->state->full_error);
    else if (code == -EPIPE) PyErr_SetNone(channel->state->shutdown_error);
    else cmpy_raise("Queue.put", code);
    return -1;
}

int cmpy_channel_put(struct cmpy_channel *channel, PyObject *object, int64_t deadline_ns, bool *encoded)
{
    struct cmpy_sink sink;
    cmpy_sink_init(&sink);
    *encoded = false;
    int code = cmpy_encode(channel->state, &sink, object);
    if (code == 0) {
        *encoded = true;
        cmpy_sink_finish(&sink);
        struct cmp_message message = {.parts = sink.parts, .nparts = sink.nparts, .size = sink.size};
        struct putting p = {.queue = &channel->queue, .message = &message};
        channel->fed_epoch = cmp_fork_epoch();
        code = cmpy_wait(put_call, &p, deadline_ns);
        if (code < 0) cmpy_channel_raise_put(channel, code);
    }
    cmpy_sink_clear(&sink);
    return code < 0 ? -1 : 0;
}

/* --- get --- */

struct getting {
    struct cmp_queue *queue;
    struct cmp_taken taken;
};

static int get_call(void *arg, int64_t deadline_ns)
{
    struct getting *g = arg;
    return cmp_queue_take(g->queue, &g->taken, NULL, deadline_ns);
}

PyObject *cmpy_channel_raise_get(struct cmpy_channel *channel, int code)
{
    if (code == -EAGAIN || code == -ETIMEDOUT) PyErr_SetNone(channel->state->empty_error);
    else if (code == -EPIPE) PyErr_SetNone(channel->state->shutdown_error);
    else return cmpy_raise("Queue.get", code);
    return NULL;
}

PyObject *cmpy_channel_get(struct cmpy_channel *channel, int64_t deadline_ns)
{
    struct getting g;
    g.queue = &channel->queue;
    int code = cmpy_wait(get_call, &g, deadline_ns);
    if (code < 0) return cmpy_channel_raise_get(channel, code);
    struct cmpy_source source = {.bytes = g.taken.data, .size = g.taken.size};
    PyObject *object = cmpy_decode(channel->state, &source);
    cmp_queue_release(&channel->queue, &g.taken);
    return object;
}

/* --- the rest --- */

static int poll_call(void *arg, int64_t deadline_ns)
{
    return cmp_queue_wait(arg, deadline_ns);
}

int cmpy_channel_poll(struct cmpy_channel *channel, int64_t deadline_ns)
{
    int code = cmpy_wait(poll_call, &channel->queue, deadline_ns);
    if (code == 0 || code == -EPIPE) return 1; /* a get would not wait */
    if (code == -EAGAIN || code == -ETIMEDOUT) return 0;
    cmpy_raise("poll", code);
    return -1;
}

bool cmpy_channel_empty(struct cmpy_channel *channel)
{
    if (cmp_queue_size(&channel->queue) > 0) return false;
    /* Or who sleeps on the descriptor, and asks this, would not sleep again. */
    (void)cmp_queue_settle(&channel->queue, 0);
    return true;
}

static int settle_call(void *arg, int64_t deadline_ns)
{
    return cmp_queue_settle(arg, deadline_ns);
}

int cmpy_channel_was_announced_in_vain(struct cmpy_channel *channel)
{
    int code = cmpy_wait(settle_call, &channel->queue, CMPY_FOREVER);
    if (code >= 0) return code;
    cmpy_raise("recv", code);
    return -1;
}

static int arm_call(void *arg, int64_t deadline_ns)
{
    return cmp_queue_arm(arg, deadline_ns);
}

int cmpy_channel_fileno(struct cmpy_channel *channel)
{
    int code = cmp_queue_owns_eventfd(&channel->queue) ? cmpy_wait(arm_call, &channel->queue, CMPY_FOREVER) : -EBADF;
    if (code == 0) return channel->event_fd;
    cmpy_raise("fileno", code);
    return -1;
}

struct shutting {
    struct cmp_queue *queue;
    bool immediate;
};

static int shutdown_call(void *arg, int64_t deadline_ns)
{
    struct shutting *shutting = arg;
    /* It may have much to throw away: never with the GIL held. */
    return deadline_ns == CMPY_TRY ? -EBUSY : cmp_queue_shutdown(shutting->queue, shutting->immediate, deadline_ns);
}

int cmpy_channel_shutdown(struct cmpy_channel *channel, bool immediate)
{
    struct shutting shutting = {.queue = &channel->queue, .immediate = immediate};
    int code = cmpy_wait(shutdown_call, &shutting, CMPY_FOREVER);
    if (code == 0) return 0;
    cmpy_raise("Queue.shutdown", code);
    return -1;
}

static int join_call(void *arg, int64_t deadline_ns)
{
    return cmp_queue_join(arg, deadline_ns);
}

int cmpy_channel_join(struct cmpy_channel *channel)
{
    int code = cmpy_wait(join_call, &channel->queue, CMPY_FOREVER);
    if (code == 0) return 0;
    cmpy_raise("JoinableQueue.join", code);
    return -1;
}

/* --- the module --- */

int cmpy_channel_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    const struct cmpy_stdlib_name wanted[] = {
        {"multiprocessing.context", "assert_spawning", &state->assert_spawning},
        {"multiprocessing.reduction", "DupFd", &state->dup_fd},
    };
    return cmpy_stdlib_fetch(wanted, sizeof wanted / sizeof *wanted);
}
