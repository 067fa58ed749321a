#include "py/decode.h"

#include "py/bulk.h"
#include "py/decoder.h"
#include "py/global.h"
#include "py/instance.h"
#include "py/integers.h"
#include "py/pickle.h"

#define NO_MARK SIZE_MAX /* of an object that nothing refers to */

/* So many attributes of an instance wait on the stack. */
#define FEW_ATTRIBUTES 16

static PyObject *decode_value(struct decoder *decoder);

/* ---- small pieces ---- */

/* A size of a container with `each` objects an item. Memory is only asked for what the bytes can still hold. */
static bool read_count(struct decoder *decoder, size_t each, Py_ssize_t *count)
{
    uint64_t size;
    if (!cmpy_wire_get_size(&decoder->at, decoder->end, &size) || decoder->owed > cmpy_decode_left(decoder) ||
        size > (cmpy_decode_left(decoder) - decoder->owed) / each || decoder->depth == CMPY_WIRE_DEPTH) {
        cmpy_decode_malformed("a container exceeds the bytes or the depth");
        return false;
    }
    decoder->owed += size * each;
    *count = (Py_ssize_t)size;
    return true;
}

static PyObject *decode_ref(struct decoder *decoder)
{
    uint64_t where;
    if (!cmpy_wire_get_size(&decoder->at, decoder->end, &where))
        return cmpy_decode_malformed("it ends within a reference");
    PyObject *object = cmpy_marks_find(&decoder->marks, where);
    return object == NULL ? cmpy_decode_malformed("a reference to nothing") : Py_NewRef(object);
}

/* ---- numbers ---- */

static PyObject *decode_int(struct decoder *decoder, unsigned tag)
{
    int64_t value;
    int32_t value4;
    int16_t value2;
    switch (tag) {
    case CMPY_WIRE_INT1:
        if (decoder->at == decoder->end) break;
        return PyLong_FromLong((int8_t)*decoder->at++);
    case CMPY_WIRE_INT2:
        if (!cmpy_decode_number(decoder, &value2, sizeof value2)) break;
        return PyLong_FromLong(value2);
    case CMPY_WIRE_INT4:
        if (!cmpy_decode_number(decoder, &value4, sizeof value4)) break;
        return PyLong_FromLong(value4);
    default:
        if (!cmpy_decode_number(decoder, &value, sizeof value)) break;
        return PyLong_FromLongLong(value);
    }
    return cmpy_decode_malformed("it ends within an int");
}

static PyObject *decode_int_big(struct decoder *decoder)
{
    size_t size;
    const unsigned char *payload = cmpy_decode_payload(decoder, 1, &size);
    return payload == NULL ? NULL : cmpy_integer_read(payload, size);
}

static PyObject *decode_float(struct decoder *decoder)
{
    double value;
    if (!cmpy_decode_number(decoder, &value, sizeof value)) return cmpy_decode_malformed("it ends within a float");
    return PyFloat_FromDouble(value);
}

/* A list or tuple of ints (width 1 to 8) or floats (width 0). */
static PyObject *decode_bulk(struct decoder *decoder, unsigned width, bool is_list)
{
    size_t count;
    const unsigned char *payload = cmpy_decode_payload(decoder, width == 0 ? 8 : width, &count);
    return payload == NULL ? NULL : cmpy_bulk_read(payload, count, width, is_list);
}

static PyObject *decode_bulk_ints(struct decoder *decoder, bool is_list)
{
    unsigned width = decoder->at < decoder->end ? *decoder->at++ : 0;
    if (width != 1 && width != 2 && width != 4 && width != 8) return cmpy_decode_malformed("an impossible width");
    return decode_bulk(decoder, width, is_list);
}

/* ---- containers ---- */

static PyObject *decode_item(struct decoder *decoder)
{
    decoder->owed--;
    return decode_value(decoder);
}

/* One that may contain itself: code that its items run, a __setstate__ say, can be led to it, and must find no place
 * without an item there. */
static PyObject *decode_growing_list(struct decoder *decoder, Py_ssize_t count, size_t mark)
{
    PyObject *list = PyList_New(0);
    if (list == NULL) return NULL;
    cmpy_marks_close(&decoder->marks, mark, list);
    decoder->depth++;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = decode_item(decoder);
        int failed = item == NULL ? -1 : PyList_Append(list, item);
        Py_XDECREF(item);
        if (failed < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    decoder->depth--;
    return list;
}

static PyObject *decode_sequence(struct decoder *decoder, size_t mark, bool is_list)
{
    Py_ssize_t count;
    if (!read_count(decoder, 1, &count)) return NULL;
    if (is_list && mark != NO_MARK) return decode_growing_list(decoder, count, mark);
    PyObject *sequence = is_list ? PyList_New(count) : PyTuple_New(count);
    if (sequence == NULL) return NULL;
    decoder->depth++;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = decode_item(decoder);
        if (item == NULL) {
            Py_DECREF(sequence);
            return NULL;
        }
        if (is_list) {
            PyList_SET_ITEM(sequence, i, item);
        } else {
            PyTuple_SET_ITEM(sequence, i, item);
        }
    }
    decoder->depth--;
    return sequence;
}

static PyObject *dict_new(Py_ssize_t count)
{
#if PY_VERSION_HEX < 0x030e0000
    if (count > 5) return _PyDict_NewPresized(count); /* 5 items fit the smallest dict */
#else
    (void)count;
#endif
    return PyDict_New();
}

static PyObject *decode_dict(struct decoder *decoder, size_t mark)
{
    Py_ssize_t count;
    if (!read_count(decoder, 2, &count)) return NULL;
    PyObject *dict = dict_new(count);
    if (dict == NULL) return NULL;
    if (mark != NO_MARK) cmpy_marks_close(&decoder->marks, mark, dict); /* likewise */
    decoder->depth++;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *key = decode_item(decoder);
        PyObject *value = key == NULL ? NULL : decode_item(decoder);
        int failed = value == NULL ? -1 : PyDict_SetItem(dict, key, value);
        Py_XDECREF(value);
        Py_XDECREF(key);
        if (failed < 0) {
            Py_DECREF(dict);
            return NULL;
        }
    }
    decoder->depth--;
    return dict;
}

static PyObject *decode_set(struct decoder *decoder, size_t mark, bool is_frozen)
{
    Py_ssize_t count;
    if (!read_count(decoder, 1, &count)) return NULL;
    PyObject *set = is_frozen ? PyFrozenSet_New(NULL) : PySet_New(NULL);
    if (set == NULL) return NULL;
    if (!is_frozen && mark != NO_MARK) cmpy_marks_close(&decoder->marks, mark, set); /* an item may lead back to it */
    decoder->depth++;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = decode_item(decoder);
        int failed = item == NULL ? -1 : PySet_Add(set, item);
        Py_XDECREF(item);
        if (failed < 0) {
            Py_DECREF(set);
            return NULL;
        }
    }
    decoder->depth--;
    return set;
}

/* ---- instances ---- */

/* The name of an attribute, which is interned in the end: most are in the cache of names as such already. */
static PyObject *decode_attribute_name(struct decoder *decoder)
{
    if (decoder->at == decoder->end || *decoder->at != CMPY_WIRE_NAME) return decode_item(decoder);
    decoder->owed--;
    decoder->at++;
    return cmpy_decode_name(decoder, true);
}

/* Attributes that nothing else refers to: kept aside until all are there, then given to the instance. */
static int decode_attributes(struct decoder *decoder, PyObject *instance)
{
    Py_ssize_t count, done = 0;
    if (!read_count(decoder, 2, &count)) return -1;
    PyObject *few[2 * FEW_ATTRIBUTES], **pairs = few;
    if (count > FEW_ATTRIBUTES) pairs = PyMem_Malloc((size_t)count * 2 * sizeof *pairs);
    if (pairs == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    decoder->depth++;
    for (; done < 2 * count; done++) {
        pairs[done] = done % 2 == 0 ? decode_attribute_name(decoder) : decode_item(decoder);
        if (pairs[done] == NULL) break;
    }
    decoder->depth--;
    int failed = done < 2 * count ? -1 : cmpy_instance_fill(decoder->state, instance, pairs, count);
    while (done > 0) Py_DECREF(pairs[--done]);
    if (pairs != few) PyMem_Free(pairs);
    return failed;
}

static int decode_state(struct decoder *decoder, PyObject *instance)
{
    if (decoder->at < decoder->end && *decoder->at == CMPY_WIRE_DICT) {
        decoder->owed--;
        decoder->at++;
        return decode_attributes(decoder, instance);
    }
    PyObject *attributes = decode_item(decoder);
    if (attributes == NULL) return -1;
    int failed = attributes == Py_None ? 0 : cmpy_instance_restore(decoder->state, instance, attributes);
    Py_DECREF(attributes);
    return failed;
}

static PyObject *decode_instance(struct decoder *decoder, size_t mark)
{
    if (decoder->depth == CMPY_WIRE_DEPTH) return cmpy_decode_malformed("instances nest too deeply");
    decoder->depth++;
    decoder->owed += 2;
    PyObject *class = decode_item(decoder);
    PyObject *instance = class == NULL ? NULL : cmpy_instance_new(class);
    Py_XDECREF(class);
    if (instance == NULL) return NULL;
    if (mark != NO_MARK) cmpy_marks_close(&decoder->marks, mark, instance); /* its attributes may lead back to it */
    if (decode_state(decoder, instance) < 0) Py_CLEAR(instance);
    decoder->depth--;
    return instance;
}

/* ---- one value ---- */

static PyObject *decode_global(struct decoder *decoder)
{
    size_t module_size, qualname_size;
    const unsigned char *module = cmpy_decode_payload(decoder, 1, &module_size);
    const unsigned char *qualname = module == NULL ? NULL : cmpy_decode_payload(decoder, 1, &qualname_size);
    if (qualname == NULL) return NULL;
    return cmpy_global_find(decoder->state, (const char *)module, module_size, (const char *)qualname, qualname_size);
}

static PyObject *decode_pickle(struct decoder *decoder)
{
    size_t used;
    PyObject *object = cmpy_pickle_load(decoder->state, decoder->at, cmpy_decode_left(decoder), &used);
    if (object != NULL) decoder->at += used;
    return object;
}

static PyObject *decode_tagged(struct decoder *decoder, unsigned tag, size_t mark)
{
    switch (tag) {
    case CMPY_WIRE_NONE: return Py_NewRef(Py_None);
    case CMPY_WIRE_FALSE: return Py_NewRef(Py_False);
    case CMPY_WIRE_TRUE: return Py_NewRef(Py_True);
    case CMPY_WIRE_INT1:
    case CMPY_WIRE_INT2:
    case CMPY_WIRE_INT4:
    case CMPY_WIRE_INT8: return decode_int(decoder, tag);
    case CMPY_WIRE_INT_BIG: return decode_int_big(decoder);
    case CMPY_WIRE_FLOAT: return decode_float(decoder);
    case CMPY_WIRE_STR_ASCII: return cmpy_decode_ascii(decoder);
    case CMPY_WIRE_STR_UCS1: return cmpy_decode_wide(decoder, PyUnicode_1BYTE_KIND);
    case CMPY_WIRE_STR_UCS2: return cmpy_decode_wide(decoder, PyUnicode_2BYTE_KIND);
    case CMPY_WIRE_STR_UCS4: return cmpy_decode_wide(decoder, PyUnicode_4BYTE_KIND);
    case CMPY_WIRE_NAME: return cmpy_decode_name(decoder, false);
    case CMPY_WIRE_BYTES: return cmpy_decode_bytes(decoder);
    case CMPY_WIRE_TUPLE: return decode_sequence(decoder, mark, false);
    case CMPY_WIRE_LIST: return decode_sequence(decoder, mark, true);
    case CMPY_WIRE_DICT: return decode_dict(decoder, mark);
    case CMPY_WIRE_SET: return decode_set(decoder, mark, false);
    case CMPY_WIRE_FROZENSET: return decode_set(decoder, mark, true);
    case CMPY_WIRE_LIST_INTS: return decode_bulk_ints(decoder, true);
    case CMPY_WIRE_TUPLE_INTS: return decode_bulk_ints(decoder, false);
    case CMPY_WIRE_LIST_FLOATS: return decode_bulk(decoder, 0, true);
    case CMPY_WIRE_TUPLE_FLOATS: return decode_bulk(decoder, 0, false);
    case CMPY_WIRE_REF: return decode_ref(decoder);
    case CMPY_WIRE_GLOBAL: return decode_global(decoder);
    case CMPY_WIRE_PICKLE: return decode_pickle(decoder);
    case CMPY_WIRE_INSTANCE: return decode_instance(decoder, mark);
    default: return cmpy_decode_malformed("an unknown tag");
    }
}

static PyObject *decode_value(struct decoder *decoder)
{
    if (decoder->at == decoder->end) return cmpy_decode_malformed("it ends too early");
    const unsigned char *place = decoder->at++;
    unsigned tag = *place;
    if ((tag & CMPY_WIRE_MARK) == 0) return decode_tagged(decoder, tag, NO_MARK);

    size_t mark = cmpy_marks_open(&decoder->marks, (uint64_t)(place - decoder->start));
    if (mark == CMPY_MARKS_FAILED) return NULL;
    PyObject *object = decode_tagged(decoder, tag & ~CMPY_WIRE_MARK, mark);
    /* Lists and dicts are known since before their items, all others from now on. */
    if (object != NULL) cmpy_marks_close(&decoder->marks, mark, object);
    return object;
}

PyObject *cmpy_decode(struct cmpy_state *state, struct cmpy_source *source)
{
    struct decoder decoder;
    decoder.state = state;
    decoder.start = decoder.at = source->bytes + source->at;
    decoder.end = source->bytes + source->size;
    decoder.owed = 0;
    decoder.depth = 0;
    cmpy_marks_init(&decoder.marks);
    PyObject *object = decode_value(&decoder);
    cmpy_marks_clear(&decoder.marks);
    source->at = (size_t)(decoder.at - source->bytes);
    return object;
}

const void *cmpy_source_raw(struct cmpy_source *source, size_t size)
{
    if (source->size - source->at < size) return NULL;
    const void *raw = source->bytes + source->at;
    source->at += size;
    return raw;
}
