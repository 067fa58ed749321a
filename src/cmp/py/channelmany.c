/* Putting and getting many objects at a time: one look and one lock for each batch. */
#include "py/channel.h"

#include "os/forkepoch.h"
#include "py/decode.h"
#include "py/encode.h"
#include "py/errors.h"
#include "py/wait.h"

#include <errno.h>

/* --- put --- */

struct putting {
    struct cmp_queue *queue;
    const struct cmp_message *messages;
    size_t n, done;
};

static int put_many_call(void *arg, int64_t deadline_ns)
{
    struct putting *p = arg;
    size_t done = 0;
    int code = cmp_queue_put_many(p->queue, p->messages + p->done, p->n - p->done, deadline_ns, &done);
    p->done += done;
    return code;
}

/* One batch of put_many: objects that were encoded one after the other into one sink. */
#define BATCH 64
#define BATCH_BYTES (64 * 1024)

struct batch {
    struct cmpy_sink sink;
    size_t n;
    uint64_t ends[BATCH]; /* where each object's bytes end in the sink */
};

/* Encodes up to a batch. 0, or -1 with an exception; *more tells whether the iterator has not ended. */
static int fill(struct cmpy_state *state, struct batch *batch, PyObject *iterator, bool *more)
{
    batch->n = 0;
    while (batch->n < BATCH && batch->sink.used + batch->sink.outside < BATCH_BYTES) {
        PyObject *object = PyIter_Next(iterator);
        if (object == NULL) {
            *more = false;
            return PyErr_Occurred() ? -1 : 0;
        }
        int code = cmpy_encode(state, &batch->sink, object);
        Py_DECREF(object);
        if (code < 0) {
            *more = false;
            return -1;
        }
        batch->ends[batch->n++] = batch->sink.used + batch->sink.outside;
    }
    return 0;
}

/* Cuts the sink's parts at the ends of the objects. `parts` has room for the sink's parts and one more per object. */
static void cut(const struct batch *batch, struct iovec *parts, struct cmp_message *messages)
{
    int in = 0;
    size_t from = 0; /* bytes of parts[in] that earlier objects have had */
    uint64_t at = 0;
    for (size_t i = 0; i < batch->n; i++) {
        struct cmp_message *message = &messages[i];
        *message = (struct cmp_message){.parts = parts, .size = batch->ends[i] - at};
        for (uint64_t left = message->size; left > 0;) {
            struct iovec part = batch->sink.parts[in];
            size_t n = part.iov_len - from < left ? part.iov_len - from : (size_t)left;
            *parts++ = (struct iovec){(char *)part.iov_base + from, n};
            message->nparts++;
            left -= n;
            from += n;
            if (from == part.iov_len) {
                in++;
                from = 0;
            }
        }
        at = batch->ends[i];
    }
}

/* Puts what was encoded. The number put, also when *code says that the rest was not. */
static size_t put_batch(struct cmpy_channel *channel, struct batch *batch, int64_t deadline_ns, int *code)
{
    struct cmp_message messages[BATCH];
    cmpy_sink_finish(&batch->sink);
    struct iovec *parts = PyMem_New(struct iovec, (size_t)batch->sink.nparts + BATCH);
    if (parts == NULL) {
        *code = -ENOMEM;
        return 0;
    }
    cut(batch, parts, messages);
    struct putting p = {.queue = &channel->queue, .messages = messages, .n = batch->n};
    channel->fed_epoch = cmp_fork_epoch();
    *code = cmpy_wait(put_many_call, &p, deadline_ns);
    PyMem_Free(parts);
    return p.done;
}

Py_ssize_t cmpy_channel_put_many(struct cmpy_channel *channel, PyObject *iterable, int64_t deadline_ns)
{
    PyObject *iterator = PyObject_GetIter(iterable);
    if (iterator == NULL) return -1;
    Py_ssize_t total = 0;
    bool more = true, failed = false;
    while (more && !failed) {
        struct batch batch;
        cmpy_sink_init(&batch.sink);
        failed = fill(channel->state, &batch, iterator, &more) < 0;
        if (batch.n > 0) {
            /* What precedes an object that cannot be pickled is put all the same. */
            PyObject *type = NULL, *value = NULL, *trace = NULL;
            if (failed) PyErr_Fetch(&type, &value, &trace);
            int code;
            total += (Py_ssize_t)put_batch(channel, &batch, deadline_ns, &code);
            if (failed && code == CMPY_RAISED) { /* a signal handler's, such as KeyboardInterrupt, is told first */
                Py_XDECREF(type);
                Py_XDECREF(value);
                Py_XDECREF(trace);
            } else if (failed) {
                PyErr_Restore(type, value, trace);
            } else if (code < 0) {
                bool late = code == -EAGAIN || code == -ETIMEDOUT;
                more = false;
                if (!late || total == 0) failed = cmpy_channel_raise_put(channel, code) < 0;
            }
        }
        cmpy_sink_clear(&batch.sink);
    }
    Py_DECREF(iterator);
    return failed ? -1 : total;
}

/* --- get --- */

struct getting_many {
    struct cmp_queue *queue;
    size_t most, done;
    struct cmp_item items[CMP_QUEUE_TAKE_MAX];
    char bytes[16 * 1024];
};

static int get_many_call(void *arg, int64_t deadline_ns)
{
    struct getting_many *g = arg;
    return cmp_queue_take_many(g->queue, g->items, g->most, g->bytes, sizeof g->bytes, deadline_ns, &g->done);
}

/* Decodes one batch onto the list, all of it: -1 with the first exception if one of them failed, or with Ctrl-C's. */
static int append_decoded(struct cmpy_channel *channel, struct getting_many *g, PyObject *list)
{
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    uint64_t untold = 0;
    for (size_t i = 0; i < g->done; i++) {
        struct cmpy_source source = {.bytes = g->items[i].data, .size = g->items[i].size};
        PyObject *object = cmpy_decode(channel->state, &source);
        if (object == NULL || PyList_Append(list, object) < 0) {
            untold += type != NULL;
            if (type != NULL && !cmpy_exception_interrupts()) {
                PyErr_Clear();
            } else {
                Py_XDECREF(type);
                Py_XDECREF(value);
                Py_XDECREF(trace);
                PyErr_Fetch(&type, &value, &trace);
            }
        }
        Py_XDECREF(object);
        cmp_queue_release_item(&channel->queue, &g->items[i]);
    }
    if (type == NULL) return 0;
    /* Of several that failed the caller learns of one, and can say of that one only that it is done. */
    if (untold > 0) (void)cmp_queue_count_done(&channel->queue, untold);
    /* What was taken with it is not lost: the exception carries it. One without room for attributes carries nothing. */
    PyErr_NormalizeException(&type, &value, &trace);
    if (PyObject_SetAttrString(value, "items", list) < 0) PyErr_Clear();
    PyErr_Restore(type, value, trace);
    return -1;
}

PyObject *cmpy_channel_get_many(struct cmpy_channel *channel, Py_ssize_t most, int64_t deadline_ns)
{
    PyObject *list = PyList_New(0);
    if (list == NULL) return NULL;
    struct getting_many g;
    g.queue = &channel->queue;
    while (PyList_GET_SIZE(list) < most) {
        g.most = (size_t)(most - PyList_GET_SIZE(list));
        g.done = 0;
        /* With something in hand no signal handler is let in: what it raised would lose that. */
        bool first = PyList_GET_SIZE(list) == 0;
        int code = first ? cmpy_wait(get_many_call, &g, deadline_ns) : cmpy_wait_once(get_many_call, &g, CMPY_TRY);
        if (code < 0 && !first) break;
        if (code < 0) {
            Py_DECREF(list);
            return cmpy_channel_raise_get(channel, code);
        }
        if (append_decoded(channel, &g, list) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}
