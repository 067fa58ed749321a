#include "py/marks.h"

#include <stdbool.h>
#include <string.h>

void cmpy_marks_init(struct cmpy_marks *marks)
{
    marks->marked = marks->marked_inline;
    marks->count = 0;
    marks->allocated = CMPY_MARKS_INLINE;
    marks->next = 0;
}

void cmpy_marks_clear(struct cmpy_marks *marks)
{
    for (size_t i = 0; i < marks->count; i++) Py_XDECREF(marks->marked[i].object);
    if (marks->marked != marks->marked_inline) PyMem_Free(marks->marked);
}

size_t cmpy_marks_open(struct cmpy_marks *marks, uint64_t where)
{
    if (marks->count == marks->allocated) {
        size_t allocated = 4 * marks->allocated;
        struct cmpy_marked *old = marks->marked == marks->marked_inline ? NULL : marks->marked;
        struct cmpy_marked *marked = PyMem_Realloc(old, allocated * sizeof *marked);
        if (marked == NULL) {
            PyErr_NoMemory();
            return CMPY_MARKS_FAILED;
        }
        if (old == NULL) memcpy(marked, marks->marked_inline, sizeof marks->marked_inline);
        marks->marked = marked;
        marks->allocated = allocated;
    }
    marks->marked[marks->count] = (struct cmpy_marked){where, NULL};
    return marks->count++;
}

void cmpy_marks_close(struct cmpy_marks *marks, size_t number, PyObject *object)
{
    if (marks->marked[number].object == NULL) marks->marked[number].object = Py_NewRef(object);
}

PyObject *cmpy_marks_find(struct cmpy_marks *marks, uint64_t where)
{
    size_t low = marks->next, high = marks->count;
    bool found = low < high && marks->marked[low].where == where;
    if (!found) low = 0;
    while (!found && low < high) {
        size_t middle = low + (high - low) / 2;
        if (marks->marked[middle].where < where) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == marks->count || marks->marked[low].where != where) return NULL;
    marks->next = low + 1;
    return marks->marked[low].object;
}
