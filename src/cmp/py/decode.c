#include "py/decode.h"

#include "py/bulk.h"
#include "py/codec.h"
#include "py/global.h"
#include "py/instance.h"
#include "py/integers.h"
#include "py/marks.h"
#include "py/pickle.h"
#include "py/wire.h"

#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

/* Copies of this size let other threads run meanwhile. */
#define RELEASE_GIL_FROM ((size_t)1 << 20)
/* glibc's largest threshold: from here on it maps and unmaps each piece. */
#define ASK_HUGE_FROM ((size_t)32 << 20)

struct decoder {
    struct cmpy_state *state;
    const unsigned char *start, *at, *end;
    size_t owed;          /* items promised by open containers and not yet begun: each takes a byte at least */
    int depth;
    struct cmpy_marks marks;
};

/* So many attributes of an instance wait on the stack. */
#define FEW_ATTRIBUTES 16

#define NO_MARK SIZE_MAX /* of an object that nothing refers to */

static PyObject *decode_value(struct decoder *decoder);

static void *malformed(const char *what)
{
    PyErr_Format(PyExc_ValueError, "not an encoded object: %s", what);
    return NULL;
}

/* ---- small pieces ---- */

static inline size_t left(const struct decoder *decoder)
{
    return (size_t)(decoder->end - decoder->at);
}

static inline bool read_number(struct decoder *decoder, void *number, size_t size)
{
    if (left(decoder) < size) return false;
    memcpy(number, decoder->at, size);
    decoder->at += size;
    return true;
}

/* A size, and that many pieces of `each` bytes, which the caller then takes: where they lie. NULL with ValueError. */
static const unsigned char *read_payload(struct decoder *decoder, size_t each, size_t *count)
{
    uint64_t size;
    if (!cmpy_wire_get_size(&decoder->at, decoder->end, &size) || size > left(decoder) / each) return malformed("a size exceeds the bytes");
    const unsigned char *payload = decoder->at;
    decoder->at += size * each;
    *count = size;
    return payload;
}

/* A size of a container with `each` objects an item. Memory is only asked for what the bytes can still hold. */
static bool read_count(struct decoder *decoder, size_t each, Py_ssize_t *count)
{
    uint64_t size;
    if (!cmpy_wire_get_size(&decoder->at, decoder->end, &size) || decoder->owed > left(decoder) ||
        size > (left(decoder) - decoder->owed) / each || decoder->depth == CMPY_WIRE_DEPTH) {
        malformed("a container exceeds the bytes or the depth");
        return false;
    }
    decoder->owed += size * each;
    *count = (Py_ssize_t)size;
    return true;
}

static void copy_large(void *to, const void *from, size_t size)
{
    if (size < RELEASE_GIL_FROM) {
        memcpy(to, from, size);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, from, size);
    Py_END_ALLOW_THREADS
}

static PyObject *decode_ref(struct decoder *decoder)
{
    uint64_t where;
    if (!cmpy_wire_get_size(&decoder->at, decoder->end, &where)) return malformed("it ends within a reference");
    PyObject *object = cmpy_marks_find(&decoder->marks, where);
    return object == NULL ? malformed("a reference to nothing") : Py_NewRef(object);
}

/* ---- strings and bytes ---- */

/* Whether all bytes are below 128, as an ASCII str promises to the interpreter. */
static bool is_ascii(const unsigned char *bytes, size_t size)
{
    uint64_t all = 0;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t eight;
        memcpy(&eight, bytes + i, 8);
        all |= eight;
    }
    for (; i < size; i++) all |= bytes[i];
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

static PyObject *decode_ascii(struct decoder *decoder)
{
    size_t size;
    const unsigned char *payload = read_payload(decoder, 1, &size);
    if (payload == NULL) return NULL;
    /* Empty and one-character strings are the interpreter's own objects. */
    if (size <= 1) return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, payload, (Py_ssize_t)size);
    PyObject *string = PyUnicode_New((Py_ssize_t)size, 127);
    if (string == NULL) return NULL;
    copy_large(PyUnicode_1BYTE_DATA(string), payload, size);
    if (is_ascii(PyUnicode_1BYTE_DATA(string), size)) return string;
    memset(PyUnicode_1BYTE_DATA(string), '?', size); /* whole again before it goes */
    Py_DECREF(string);
    return malformed("a character that is not ASCII");
}

/* The interpreter takes four-byte characters on trust. */
static bool is_unicode(const Py_UCS4 *characters, size_t length)
{
    bool all = true;
    for (size_t i = 0; i < length; i++) all &= characters[i] <= 0x10FFFF;
    return all;
}

/* A string of characters of `kind` bytes, of which at least one usually needs as many. */
static PyObject *decode_wide(struct decoder *decoder, int kind)
{
    size_t length;
    const unsigned char *payload = read_payload(decoder, (size_t)kind, &length);
    if (payload == NULL) return NULL;
    if (kind == PyUnicode_1BYTE_KIND) return PyUnicode_FromKindAndData(kind, payload, (Py_ssize_t)length);
    /* A copy: it is aligned, and stays as it was when it was checked. */
    void *copy = PyMem_Malloc(length * (size_t)kind);
    if (copy == NULL) return PyErr_NoMemory();
    memcpy(copy, payload, length * (size_t)kind);
    PyObject *string = kind == PyUnicode_4BYTE_KIND && !is_unicode(copy, length)
                           ? malformed("a character beyond Unicode")
                           : PyUnicode_FromKindAndData(kind, copy, (Py_ssize_t)length);
    PyMem_Free(copy);
    return string;
}

static PyObject *decode_name(struct decoder *decoder, bool interned)
{
    struct cmpy_names *names = &decoder->state->codec->names;
    size_t size;
    const unsigned char *payload = read_payload(decoder, 1, &size);
    if (payload == NULL) return NULL;
    if (size > CMPY_WIRE_NAME_MAX) return malformed("a name is too long");
    return interned ? cmpy_names_intern(names, (const char *)payload, size)
                    : cmpy_names_get(names, (const char *)payload, size);
}

/* Memory of this size is a fresh mapping of its own in every malloc we know: huge pages save most of its faults, and
 * the advice goes when it goes. */
static void ask_huge(char *memory, size_t size)
{
    const uintptr_t below = 65536 - 1; /* pages have 64 KiB at most */
    uintptr_t start = ((uintptr_t)memory + below) & ~below, end = ((uintptr_t)memory + size) & ~below;
    (void)madvise((void *)start, end - start, MADV_HUGEPAGE);
}

static PyObject *decode_bytes(struct decoder *decoder)
{
    size_t size;
    const unsigned char *payload = read_payload(decoder, 1, &size);
    if (payload == NULL) return NULL;
    if (size < RELEASE_GIL_FROM) return PyBytes_FromStringAndSize((const char *)payload, (Py_ssize_t)size);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) return NULL;
    if (size >= ASK_HUGE_FROM) ask_huge(PyBytes_AS_STRING(bytes), size);
    copy_large(PyBytes_AS_STRING(bytes), payload, size);
    return bytes;
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
        if (!read_number(decoder, &value2, sizeof value2)) break;
        return PyLong_FromLong(value2);
    case CMPY_WIRE_INT4:
        if (!read_number(decoder, &value4, sizeof value4)) break;
        return PyLong_FromLong(value4);
    default:
        if (!read_number(decoder, &value, sizeof value)) break;
        return PyLong_FromLongLong(value);
    }
    return malformed("it ends within an int");
}

static PyObject *decode_int_big(struct decoder *decoder)
{
    size_t size;
    const unsigned char *payload = read_payload(decoder, 1, &size);
    return payload == NULL ? NULL : cmpy_integer_read(payload, size);
}

static PyObject *decode_float(struct decoder *decoder)
{
    double value;
    if (!read_number(decoder, &value, sizeof value)) return malformed("it ends within a float");
    return PyFloat_FromDouble(value);
}

/* A list or tuple of ints (width 1 to 8) or floats (width 0). */
static PyObject *decode_bulk(struct decoder *decoder, unsigned width, bool is_list)
{
    size_t count;
    const unsigned char *payload = read_payload(decoder, width == 0 ? 8 : width, &count);
    return payload == NULL ? NULL : cmpy_bulk_read(payload, count, width, is_list);
}

static PyObject *decode_bulk_ints(struct decoder *decoder, bool is_list)
{
    unsigned width = decoder->at < decoder->end ? *decoder->at++ : 0;
    if (width != 1 && width != 2 && width != 4 && width != 8) return malformed("an impossible width");
    return decode_bulk(decoder, width, is_list);
}

/* ---- containers ---- */

static PyObject *decode_item(struct decoder *decoder)
{
    decoder->owed--;
    return decode_value(decoder);
}

static PyObject *decode_sequence(struct decoder *decoder, size_t mark, bool is_list)
{
    Py_ssize_t count;
    if (!read_count(decoder, 1, &count)) return NULL;
    PyObject *sequence = is_list ? PyList_New(count) : PyTuple_New(count);
    if (sequence == NULL) return NULL;
    if (is_list && mark != NO_MARK) cmpy_marks_close(&decoder->marks, mark, sequence); /* it may contain itself */
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
    return decode_name(decoder, true);
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
    if (decoder->depth == CMPY_WIRE_DEPTH) return malformed("instances nest too deeply");
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
    const unsigned char *module = read_payload(decoder, 1, &module_size);
    const unsigned char *qualname = module == NULL ? NULL : read_payload(decoder, 1, &qualname_size);
    if (qualname == NULL) return NULL;
    return cmpy_global_find(decoder->state, (const char *)module, module_size, (const char *)qualname, qualname_size);
}

static PyObject *decode_pickle(struct decoder *decoder)
{
    size_t used;
    PyObject *object = cmpy_pickle_load(decoder->state, decoder->at, left(decoder), &used);
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
    case CMPY_WIRE_STR_ASCII: return decode_ascii(decoder);
    case CMPY_WIRE_STR_UCS1: return decode_wide(decoder, PyUnicode_1BYTE_KIND);
    case CMPY_WIRE_STR_UCS2: return decode_wide(decoder, PyUnicode_2BYTE_KIND);
    case CMPY_WIRE_STR_UCS4: return decode_wide(decoder, PyUnicode_4BYTE_KIND);
    case CMPY_WIRE_NAME: return decode_name(decoder, false);
    case CMPY_WIRE_BYTES: return decode_bytes(decoder);
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
    default: return malformed("an unknown tag");
    }
}

static PyObject *decode_value(struct decoder *decoder)
{
    if (decoder->at == decoder->end) return malformed("it ends too early");
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
