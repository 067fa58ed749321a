#include "py/encoder.h"

#include "py/global.h"
#include "py/instance.h"

/* ---- by name ---- */

enum cmpy_outcome cmpy_encode_global(struct encoder *encoder, PyObject *object)
{
    struct cmpy_sink *sink = encoder->sink;
    PyObject *names[2];
    Py_INCREF(object); /* in case the lookups run code after all: a key of sys.modules may have an __eq__ */
    int found = cmpy_global_names(encoder->state, object, &names[0], &names[1]);
    Py_DECREF(object);
    if (found <= 0) return found < 0 ? CMPY_FAILED : CMPY_FOREIGN;
    int failed = cmpy_sink_reserve(sink, 1 + 2 * (CMPY_WIRE_SIZE_MAX + 255));
    if (failed == 0) cmpy_encode_byte(sink, CMPY_WIRE_GLOBAL);
    for (int i = 0; i < 2; i++) {
        if (failed == 0) {
            size_t size = (size_t)PyUnicode_GET_LENGTH(names[i]);
            cmpy_encode_size(sink, size);
            cmpy_encode_number(sink, PyUnicode_1BYTE_DATA(names[i]), size);
        }
        Py_DECREF(names[i]);
    }
    return failed == 0 ? CMPY_WRITTEN : CMPY_FAILED;
}

/* ---- by class and attributes ---- */

static enum cmpy_outcome encode_class(struct encoder *encoder, PyObject *class)
{
    if (cmpy_sink_reserve(encoder->sink, CMPY_ENCODE_HEADER_MAX) < 0) return CMPY_FAILED;
    CMPY_ENCODE_UNLESS_NEW(encoder, class);
    return cmpy_encode_global(encoder, class);
}

static enum cmpy_outcome encode_attributes(struct encoder *encoder, PyObject *instance)
{
    PyObject *dict;
    if (cmpy_sink_reserve(encoder->sink, CMPY_ENCODE_HEADER_MAX) < 0) return CMPY_FAILED;
    if (cmpy_instance_dict(instance, &dict) < 0) return CMPY_FAILED;
    if (dict == NULL || PyDict_GET_SIZE(dict) == 0) {
        Py_XDECREF(dict);
        cmpy_encode_byte(encoder->sink, CMPY_WIRE_NONE);
        return CMPY_WRITTEN;
    }
    /* Two references, the instance's and ours: nobody else can lead here. */
    enum cmpy_seen seen = Py_REFCNT(dict) == 2 ? CMPY_SEEN_NEW : cmpy_encode_look(encoder, dict);
    enum cmpy_outcome outcome = seen == CMPY_SEEN_NEW       ? cmpy_encode_items(encoder, dict, true)
                           : seen == CMPY_SEEN_WRITTEN ? CMPY_WRITTEN
                           : seen == CMPY_SEEN_FAILED  ? CMPY_FAILED
                                                  : CMPY_FOREIGN;
    Py_DECREF(dict);
    return outcome;
}

enum cmpy_outcome cmpy_encode_instance(struct encoder *encoder, PyObject *object)
{
    int plain = cmpy_instance_plain(encoder->state, Py_TYPE(object));
    if (plain <= 0) return plain < 0 ? CMPY_FAILED : CMPY_FOREIGN;
    CMPY_ENCODE_UNLESS_NEW(encoder, object);
    cmpy_encode_byte(encoder->sink, CMPY_WIRE_INSTANCE);
    struct enclosing here;
    if (!cmpy_encode_enter(encoder, &here, object)) return CMPY_FOREIGN;
    enum cmpy_outcome outcome = encode_class(encoder, (PyObject *)Py_TYPE(object));
    if (outcome == CMPY_WRITTEN) outcome = encode_attributes(encoder, object);
    cmpy_encode_leave(encoder, &here);
    return outcome;
}
