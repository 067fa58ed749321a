#include "py/memo.h"

#include <string.h>

void cmpy_memo_init(struct cmpy_memo *memo)
{
    memset(memo, 0, sizeof *memo);
    memo->entries = memo->small;
    memo->mask = CMPY_MEMO_SMALL - 1;
}

void cmpy_memo_begin(struct cmpy_memo *memo)
{
    memo->used = 0;
    if (++memo->generation == 0) {
        memset(memo->small, 0, sizeof memo->small);
        memo->generation = 1;
    }
}

void cmpy_memo_end(struct cmpy_memo *memo)
{
    if (memo->entries == memo->small) return;
    PyMem_Free(memo->entries);
    memo->entries = memo->small;
    memo->mask = CMPY_MEMO_SMALL - 1;
}

int cmpy_memo_grow(struct cmpy_memo *memo)
{
    struct cmpy_memo_entry *old = memo->entries;
    size_t count = memo->mask + 1;
    if (count > SIZE_MAX / 64) {
        PyErr_NoMemory();
        return -1;
    }
    /* Zeroed entries have generation 0, which is never the memo's. Four times: half of the growing is copying. */
    struct cmpy_memo_entry *entries = PyMem_Calloc(4 * count, sizeof *entries);
    if (entries == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memo->entries = entries;
    memo->mask = 4 * count - 1;
    size_t used = memo->used;
    memo->used = 0;
    for (size_t i = 0; i < count; i++) {
        if (old[i].generation == memo->generation) *cmpy_memo_find(memo, old[i].object) = old[i];
    }
    memo->used = used;
    if (old != memo->small) PyMem_Free(old);
    return 0;
}
