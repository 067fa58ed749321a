#include "py/codec.h"

#include "py/bufcache.h"
#include "py/decode.h"
#include "py/encode.h"
#include "py/pickle.h"

#include <string.h>

/* ---- for tests: the codec without a queue around it ---- */

PyDoc_STRVAR(encode_doc, "_encode(object, /)\n--\n\n"
                         "For tests: the bytes that put() would write into shared memory.");

static PyObject *codec_encode(PyObject *module, PyObject *object)
{
    struct cmpy_sink sink;
    PyObject *bytes = NULL;
    cmpy_sink_init(&sink);
    if (cmpy_encode(cmpy_state_of_module(module), &sink, object) == 0) {
        cmpy_sink_finish(&sink);
        bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)sink.size);
        char *at = bytes == NULL ? NULL : PyBytes_AS_STRING(bytes);
        for (int i = 0; bytes != NULL && i < sink.nparts; i++) {
            memcpy(at, sink.parts[i].iov_base, sink.parts[i].iov_len);
            at += sink.parts[i].iov_len;
        }
    }
    cmpy_sink_clear(&sink);
    return bytes;
}

PyDoc_STRVAR(decode_doc, "_decode(bytes, /)\n--\n\n"
                         "For tests: the object that get() would make of these bytes; ValueError unless it takes all.");

static PyObject *codec_decode(PyObject *module, PyObject *bytes)
{
    if (!PyBytes_Check(bytes)) return PyErr_Format(PyExc_TypeError, "bytes expected, got %R", Py_TYPE(bytes));
    struct cmpy_source source = {(const unsigned char *)PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes), 0};
    PyObject *object = cmpy_decode(cmpy_state_of_module(module), &source);
    if (object != NULL && source.at != source.size) {
        Py_DECREF(object);
        PyErr_SetString(PyExc_ValueError, "not an encoded object: bytes are left over");
        return NULL;
    }
    return object;
}

static PyMethodDef codec_functions[] = {
    {"_encode", codec_encode, METH_O, encode_doc},
    {"_decode", codec_decode, METH_O, decode_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- the module's part ---- */

int cmpy_codec_add(PyObject *module)
{
    struct cmpy_state *state = cmpy_state_of_module(module);
    state->codec = PyMem_Calloc(1, sizeof *state->codec);
    if (state->codec == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    cmpy_memo_init(&state->codec->memo);
    if (cmpy_bufcache_add(module) < 0 || cmpy_pickle_add(module) < 0) return -1;
    return PyModule_AddFunctions(module, codec_functions);
}

void cmpy_codec_clear(struct cmpy_state *state)
{
    if (state->codec != NULL) cmpy_names_clear(&state->codec->names);
}

void cmpy_codec_free(struct cmpy_state *state)
{
    PyMem_Free(state->codec);
    state->codec = NULL;
}
