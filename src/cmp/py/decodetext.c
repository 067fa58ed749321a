#include "py/decoder.h"

#include "py/codec.h"
#include "py/names.h"

#include <sys/mman.h>

/* Copies of this size let other threads run meanwhile. */
#define RELEASE_GIL_FROM ((size_t)1 << 20)
/* glibc's largest threshold: from here on it maps and unmaps each piece. */
#define ASK_HUGE_FROM ((size_t)32 << 20)

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

PyObject *cmpy_decode_ascii(struct decoder *decoder)
{
    size_t size;
    const unsigned char *payload = cmpy_decode_payload(decoder, 1, &size);
    if (payload == NULL) return NULL;
    /* Empty and one-character strings are the interpreter's own objects. */
    if (size <= 1) return PyUnicode_FromKindAndData(PyUnicode_1BYTE_KIND, payload, (Py_ssize_t)size);
    PyObject *string = PyUnicode_New((Py_ssize_t)size, 127);
    if (string == NULL) return NULL;
    copy_large(PyUnicode_1BYTE_DATA(string), payload, size);
    if (is_ascii(PyUnicode_1BYTE_DATA(string), size)) return string;
    memset(PyUnicode_1BYTE_DATA(string), '?', size); /* whole again before it goes */
    Py_DECREF(string);
    return cmpy_decode_malformed("a character that is not ASCII");
}

/* The interpreter takes four-byte characters on trust. */
static bool is_unicode(const Py_UCS4 *characters, size_t length)
{
    bool all = true;
    for (size_t i = 0; i < length; i++) all &= characters[i] <= 0x10FFFF;
    return all;
}

PyObject *cmpy_decode_wide(struct decoder *decoder, int kind)
{
    size_t length;
    const unsigned char *payload = cmpy_decode_payload(decoder, (size_t)kind, &length);
    if (payload == NULL) return NULL;
    if (kind == PyUnicode_1BYTE_KIND) return PyUnicode_FromKindAndData(kind, payload, (Py_ssize_t)length);
    /* A copy: it is aligned, and stays as it was when it was checked. */
    void *copy = PyMem_Malloc(length * (size_t)kind);
    if (copy == NULL) return PyErr_NoMemory();
    memcpy(copy, payload, length * (size_t)kind);
    PyObject *string = kind == PyUnicode_4BYTE_KIND && !is_unicode(copy, length)
                           ? cmpy_decode_malformed("a character beyond Unicode")
                           : PyUnicode_FromKindAndData(kind, copy, (Py_ssize_t)length);
    PyMem_Free(copy);
    return string;
}

PyObject *cmpy_decode_name(struct decoder *decoder, bool interned)
{
    struct cmpy_names *names = &decoder->state->codec->names;
    size_t size;
    const unsigned char *payload = cmpy_decode_payload(decoder, 1, &size);
    if (payload == NULL) return NULL;
    if (size > CMPY_WIRE_NAME_MAX) return cmpy_decode_malformed("a name is too long");
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

PyObject *cmpy_decode_bytes(struct decoder *decoder)
{
    size_t size;
    const unsigned char *payload = cmpy_decode_payload(decoder, 1, &size);
    if (payload == NULL) return NULL;
    if (size < RELEASE_GIL_FROM) return PyBytes_FromStringAndSize((const char *)payload, (Py_ssize_t)size);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) return NULL;
    if (size >= ASK_HUGE_FROM) ask_huge(PyBytes_AS_STRING(bytes), size);
    copy_large(PyBytes_AS_STRING(bytes), payload, size);
    return bytes;
}
