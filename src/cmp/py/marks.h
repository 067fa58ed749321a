/* Marks: the objects of the message being decoded that come again in it (CMPY_WIRE_MARK in py/wire.h).
 *
 * Held in the order in which they begin, which is that of their places, so a reference finds its object by bisection,
 * mostly at the first look. On its user's stack; a message without marks pays for three stores. */
#ifndef CMP_PY_MARKS_H
#define CMP_PY_MARKS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

#define CMPY_MARKS_INLINE 8
#define CMPY_MARKS_FAILED SIZE_MAX

struct cmpy_marked {
    uint64_t where;
    PyObject *object; /* strong; NULL while it cannot be referred to, such as a tuple that is being made */
};

struct cmpy_marks {
    struct cmpy_marked *marked;
    size_t count, allocated;
    size_t next; /* the one after the one found last: objects often come again in the order they came first */
    struct cmpy_marked marked_inline[CMPY_MARKS_INLINE];
};

void cmpy_marks_init(struct cmpy_marks *marks);
/* Drops all references, which may run Python code. */
void cmpy_marks_clear(struct cmpy_marks *marks);

/* An object begins at `where`, beyond all earlier ones. Gives its number, or CMPY_MARKS_FAILED with MemoryError. */
size_t cmpy_marks_open(struct cmpy_marks *marks, uint64_t where);
/* From now on it can be referred to. Said twice, it changes nothing. */
void cmpy_marks_close(struct cmpy_marks *marks, size_t number, PyObject *object);
/* Borrowed; NULL without an exception if none begins there or it is still open. */
PyObject *cmpy_marks_find(struct cmpy_marks *marks, uint64_t where);

#endif
