/* Memo: which objects of the message being encoded have been written, and where.
 *
 * A hash table keyed by address, for the time of one cmpy_encode in which no Python code runs (so no address can come
 * to mean another object). Beginning anew costs nothing: entries name the generation they belong to. A table that had
 * to grow is given back at the end, so small messages always meet the small, cache-warm one. */
#ifndef CMP_PY_MEMO_H
#define CMP_PY_MEMO_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

#define CMPY_MEMO_SMALL 64

struct cmpy_memo_entry {
    PyObject *object;     /* compared, never followed */
    uint64_t where;       /* distance of its tag from the first tag, as the decoder will see it */
    uint32_t at;          /* the tag's place in the sink's run of bytes, from the object's start */
    uint32_t generation;  /* the entry is empty unless this is the memo's */
};

struct cmpy_memo {
    struct cmpy_memo_entry *entries;
    size_t mask, used;
    uint32_t generation;
    struct cmpy_memo_entry small[CMPY_MEMO_SMALL];
};

void cmpy_memo_init(struct cmpy_memo *memo);
void cmpy_memo_begin(struct cmpy_memo *memo);
void cmpy_memo_end(struct cmpy_memo *memo);
/* Makes the table larger; -1 with MemoryError. */
int cmpy_memo_grow(struct cmpy_memo *memo);

/* The entry of `object`, or the empty one where it belongs (generation differs from the memo's): its finder fills it
 * in whole and raises `used`. NULL with MemoryError. */
static inline struct cmpy_memo_entry *cmpy_memo_find(struct cmpy_memo *memo, PyObject *object)
{
    if (memo->used > memo->mask / 2 && cmpy_memo_grow(memo) < 0) return NULL;
    /* Objects are 16-byte aligned; the multiplier (2^64 / golden ratio) spreads what is left over the high bits. */
    size_t i = (size_t)((((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
    for (;; i++) {
        struct cmpy_memo_entry *entry = &memo->entries[i & memo->mask];
        if (entry->generation != memo->generation || entry->object == object) return entry;
    }
}

#endif
