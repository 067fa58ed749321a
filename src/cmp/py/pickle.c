#include "py/pickle.h"

#include "py/bufcache.h"
#include "py/otherpickler.h"
#include "py/reducers.h"
#include "py/wire.h"

#include <string.h>

/* A pickler that has seen more than this is not kept: its memo never shrinks, and is wiped for each object. */
#define KEEP_UP_TO ((size_t)64 << 10)
/* Copied rather than referred to, as a part of its own costs about as much. */
#define COPY_UP_TO 1024
/* Copies of this size let other threads run meanwhile. */
#define RELEASE_GIL_FROM ((size_t)1 << 20)

/* ---- the collector: the pickler's file and buffer callback ---- */

struct collector {
    PyObject_HEAD
    PyObject *chunks;  /* list of bytes: the pickle */
    PyObject *buffers; /* list of PickleBuffers: what travels beside it */
    size_t size;       /* of all chunks */
};

static PyObject *collector_write(PyObject *object, PyObject *chunk)
{
    struct collector *self = (struct collector *)object;
    /* Anything but bytes may change or end when this call does (the pickler's own views of a bytearray). */
    PyObject *bytes = PyBytes_CheckExact(chunk) ? Py_NewRef(chunk) : PyBytes_FromObject(chunk);
    if (bytes == NULL) return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(bytes);
    int failed = PyList_Append(self->chunks, bytes);
    Py_DECREF(bytes);
    if (failed < 0) return NULL;
    self->size += (size_t)size;
    return PyLong_FromSsize_t(size);
}

/* Arrays that may not be written to, as np.asarray() of an image and np.frombuffer() are, come out of the standard
 * library's pickles (protocol 4, up to Python 3.13) as fresh copies that may; under protocol 5 the word "readonly"
 * would travel with them. The pickler reads it from the PickleBuffer after this call. */
static void let_arrays_be_written(const Py_buffer *view)
{
#if PY_VERSION_HEX < 0x030e0000
    if (view->readonly && view->obj != NULL && strcmp(Py_TYPE(view->obj)->tp_name, "numpy.ndarray") == 0)
        ((Py_buffer *)view)->readonly = 0;
#else
    (void)view;
#endif
}

/* The pickler's buffer_callback: a true answer means in band. */
static PyObject *collector_buffer(PyObject *object, PyObject *buffer)
{
    struct collector *self = (struct collector *)object;
    const Py_buffer *view = PyPickleBuffer_GetBuffer(buffer);
    if (view == NULL) return NULL;
    let_arrays_be_written(view);
    if (view->len < CMPY_PICKLE_OUT_OF_BAND) Py_RETURN_TRUE;
    if (PyList_Append(self->buffers, buffer) < 0) return NULL;
    Py_RETURN_FALSE;
}

static int collector_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct collector *self = (struct collector *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->chunks);
    Py_VISIT(self->buffers);
    return 0;
}

static int collector_clear(PyObject *object)
{
    struct collector *self = (struct collector *)object;
    Py_CLEAR(self->chunks);
    Py_CLEAR(self->buffers);
    return 0;
}

static void collector_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)collector_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef collector_methods[] = {
    {"write", collector_write, METH_O, NULL},
    {"buffer", collector_buffer, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot collector_slots[] = {
    {Py_tp_traverse, collector_traverse},
    {Py_tp_clear, collector_clear},
    {Py_tp_dealloc, collector_dealloc},
    {Py_tp_methods, collector_methods},
    {0, NULL},
};

static PyType_Spec collector_spec = {
    .name = "cmp._core._Collector",
    .basicsize = sizeof(struct collector),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = collector_slots,
};

static struct collector *collector_new(struct cmpy_state *state)
{
    PyTypeObject *type = (PyTypeObject *)state->collector_type;
    struct collector *self = (struct collector *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->chunks = PyList_New(0);
    self->buffers = PyList_New(0);
    if (self->chunks == NULL || self->buffers == NULL) Py_CLEAR(self);
    return self;
}

/* ---- dump ---- */

struct pair {
    PyObject *pickler;
    struct collector *collector;
};

static void pair_drop(struct pair *pair)
{
    Py_CLEAR(pair->pickler);
    Py_CLEAR(pair->collector);
}

static int pair_new(struct cmpy_state *state, struct pair *pair)
{
    PyObject *callback = NULL, *protocol = NULL;
    *pair = (struct pair){NULL, collector_new(state)};
    if (pair->collector == NULL) return -1;
    callback = PyObject_GetAttrString((PyObject *)pair->collector, "buffer");
    protocol = PyLong_FromLong(5);
    if (callback != NULL && protocol != NULL) {
        PyObject *args[] = {(PyObject *)pair->collector, protocol, Py_True, callback}; /* fix_imports: of no effect */
        pair->pickler = PyObject_Vectorcall(state->pickler_type, args, 4, NULL);
        if (pair->pickler != NULL &&
            PyObject_SetAttrString(pair->pickler, "dispatch_table", state->reducers) < 0) {
            Py_CLEAR(pair->pickler);
        }
    }
    Py_XDECREF(protocol);
    Py_XDECREF(callback);
    if (pair->pickler != NULL) return 0;
    pair_drop(pair);
    return -1;
}

/* Takes the kept pair out of the state: a reducer may put into a queue, another thread may pickle meanwhile. */
static int pair_take(struct cmpy_state *state, struct pair *pair)
{
    if (state->pickler == NULL) return pair_new(state, pair);
    *pair = (struct pair){state->pickler, (struct collector *)state->collector};
    state->pickler = state->collector = NULL;
    return 0;
}

/* After a dump that went well. What the pickler and its file refer to is let go of, which may run Python code. */
static void pair_give(struct cmpy_state *state, struct pair *pair)
{
    size_t size = pair->collector->size;
    pair->collector->size = 0;
    PyObject *none = size > KEEP_UP_TO ? NULL : PyObject_CallMethodNoArgs(pair->pickler, state->clear_memo_name);
    if (none == NULL || PyList_SetSlice(pair->collector->chunks, 0, PY_SSIZE_T_MAX, NULL) < 0 ||
        PyList_SetSlice(pair->collector->buffers, 0, PY_SSIZE_T_MAX, NULL) < 0) {
        PyErr_Clear();
        pair_drop(pair);
    }
    Py_XDECREF(none);
    if (pair->pickler == NULL || state->pickler != NULL) {
        pair_drop(pair);
        return;
    }
    state->pickler = pair->pickler;
    state->collector = (PyObject *)pair->collector;
}

static int write_chunk(struct cmpy_sink *sink, PyObject *bytes)
{
    if (PyBytes_GET_SIZE(bytes) <= COPY_UP_TO) {
        return cmpy_sink_raw(sink, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    }
    Py_buffer view;
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE) < 0) return -1;
    return cmpy_sink_refer(sink, &view);
}

static int write_collected(struct cmpy_sink *sink, struct collector *collector)
{
    Py_ssize_t nbuffers = PyList_GET_SIZE(collector->buffers), nchunks = PyList_GET_SIZE(collector->chunks);
    struct cmpy_wire_pickle header = {collector->size, (uint64_t)nbuffers};
    unsigned char tag = CMPY_WIRE_PICKLE;
    if (cmpy_sink_raw(sink, &tag, 1) < 0 || cmpy_sink_raw(sink, &header, sizeof header) < 0) return -1;
    for (Py_ssize_t i = 0; i < nbuffers; i++) {
        const Py_buffer *view = PyPickleBuffer_GetBuffer(PyList_GET_ITEM(collector->buffers, i));
        if (view == NULL) return -1;
        uint64_t size = (uint64_t)view->len;
        if (cmpy_sink_raw(sink, &size, sizeof size) < 0) return -1;
    }
    for (Py_ssize_t i = 0; i < nchunks; i++) {
        if (write_chunk(sink, PyList_GET_ITEM(collector->chunks, i)) < 0) return -1;
    }
    for (Py_ssize_t i = 0; i < nbuffers; i++) {
        /* The pickler has made sure that it is contiguous, in C or in Fortran order. */
        Py_buffer view;
        PyObject *buffer = PyList_GET_ITEM(collector->buffers, i);
        if (PyObject_GetBuffer(buffer, &view, PyBUF_FULL_RO) < 0) return -1;
        if (view.len != PyPickleBuffer_GetBuffer(buffer)->len) { /* an exporter in Python may do so */
            PyBuffer_Release(&view);
            PyErr_SetString(PyExc_BufferError, "a buffer changed its size while it was being pickled");
            return -1;
        }
        if (cmpy_sink_refer(sink, &view) < 0) return -1;
    }
    return 0;
}

static int dump(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *object)
{
    struct pair pair;
    if (pair_take(state, &pair) < 0) return -1;
    PyObject *none = PyObject_CallMethodOneArg(pair.pickler, state->dump_name, object);
    int result = none == NULL ? -1 : write_collected(sink, pair.collector);
    Py_XDECREF(none);
    if (result == 0) {
        pair_give(state, &pair);
    } else {
        pair_drop(&pair); /* a pickler is not fit for use after an exception */
    }
    return result;
}

int cmpy_pickle_dump(struct cmpy_state *state, struct cmpy_sink *sink, PyObject *object)
{
    if (!cmpy_otherpickler_is_there(state)) return dump(state, sink, object);
    PyObject *wrapped = cmpy_otherpickler_wrap(state, object);
    int result = wrapped == NULL ? -1 : dump(state, sink, wrapped);
    Py_XDECREF(wrapped);
    return result;
}

/* ---- load ---- */

static PyObject *buffer_copy(struct cmpy_state *state, const void *bytes, size_t size)
{
    void *memory;
    PyObject *buffer = cmpy_bufcache_new(state, size, &memory);
    if (buffer == NULL) return NULL;
    if (size >= RELEASE_GIL_FROM) {
        Py_BEGIN_ALLOW_THREADS
        memcpy(memory, bytes, size);
        Py_END_ALLOW_THREADS
    } else {
        memcpy(memory, bytes, size);
    }
    return buffer;
}

static PyObject *malformed(void)
{
    PyErr_SetString(PyExc_ValueError, "not an encoded object: sizes of a pickle exceed its bytes");
    return NULL;
}

/* A tuple of copies of the `n` buffers at `bytes`, of which *left are there. */
static PyObject *buffers_copy(struct cmpy_state *state, const unsigned char *sizes, size_t n,
                              const unsigned char *bytes, size_t *left)
{
    PyObject *buffers = PyTuple_New((Py_ssize_t)n);
    for (size_t i = 0; buffers != NULL && i < n; i++) {
        uint64_t size; /* read once, like all that may lie in shared memory */
        memcpy(&size, sizes + i * sizeof size, sizeof size);
        PyObject *buffer = size > *left ? malformed() : buffer_copy(state, bytes, size);
        if (buffer == NULL) {
            Py_CLEAR(buffers);
            break;
        }
        PyTuple_SET_ITEM(buffers, (Py_ssize_t)i, buffer);
        bytes += size;
        *left -= size;
    }
    return buffers;
}

PyObject *cmpy_pickle_load(struct cmpy_state *state, const unsigned char *bytes, size_t size, size_t *used)
{
    struct cmpy_wire_pickle header;
    if (size < sizeof header) return malformed();
    memcpy(&header, bytes, sizeof header);
    size_t left = size - sizeof header;
    if (header.nbuffers > left / sizeof(uint64_t)) return malformed();
    const unsigned char *sizes = bytes + sizeof header;
    const unsigned char *pickle = sizes + header.nbuffers * sizeof(uint64_t);
    left -= header.nbuffers * sizeof(uint64_t);
    if (header.size > left) return malformed();
    left -= header.size;

    /* Short pickles are copied, which costs less than a view; long ones are read where they lie. The unpickler copies
     * all it makes, and lets go of the view when it returns. */
    PyObject *buffers = NULL, *object = NULL;
    PyObject *source = header.size <= COPY_UP_TO
                           ? PyBytes_FromStringAndSize((const char *)pickle, (Py_ssize_t)header.size)
                           : PyMemoryView_FromMemory((char *)pickle, (Py_ssize_t)header.size, PyBUF_READ);
    if (source == NULL) return NULL;
    if (header.nbuffers == 0) {
        object = PyObject_CallOneArg(state->pickle_loads, source);
    } else {
        buffers = buffers_copy(state, sizes, header.nbuffers, pickle + header.size, &left);
        PyObject *args[] = {source, buffers};
        if (buffers != NULL) object = PyObject_Vectorcall(state->pickle_loads, args, 1, state->buffers_keyword);
    }
    Py_XDECREF(buffers);
    Py_DECREF(source);
    *used = size - left;
    return object;
}

/* ---- set-up ---- */

static int import_from(const char *module_name, const char *name, PyObject **out)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) return -1;
    *out = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return *out == NULL ? -1 : 0;
}

int cmpy_pickle_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    if (import_from("_pickle", "Pickler", &state->pickler_type) < 0) return -1;
    if (import_from("_pickle", "loads", &state->pickle_loads) < 0) return -1;
    if (import_from("copyreg", "dispatch_table", &state->copyreg_table) < 0) return -1;
    if (cmpy_otherpickler_add(module) < 0) return -1;
    state->extra_reducers = PyObject_GetAttrString(state->forking_pickler, "_extra_reducers");
    if (state->extra_reducers == NULL) return -1;
    if (!PyDict_Check(state->extra_reducers) || !PyDict_Check(state->copyreg_table)) {
        PyErr_SetString(PyExc_TypeError, "the tables of reducers (copyreg, ForkingPickler) must be dicts");
        return -1;
    }
    if ((state->dump_name = PyUnicode_InternFromString("dump")) == NULL) return -1;
    if ((state->clear_memo_name = PyUnicode_InternFromString("clear_memo")) == NULL) return -1;
    if ((state->buffers_keyword = Py_BuildValue("(s)", "buffers")) == NULL) return -1;
    state->collector_type = PyType_FromModuleAndSpec(module, &collector_spec, NULL);
    if (state->collector_type == NULL) return -1;
    return cmpy_reducers_add(module);
}
