/* Tasks: the parent's book of what is out, by task id: which job asked for it, and at which of its positions.
 *
 * Ids are 32 bits, never 0, given in order; one that is still out is not given again. Removing an entry is what makes
 * a task's outcome the only one: whoever comes second finds nothing. Guarded by the GIL; runs no Python code. */
#ifndef CMP_PY_TASKS_H
#define CMP_PY_TASKS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

struct cmpy_job;

struct cmpy_task {
    uint32_t id;           /* 0: an empty place */
    uint32_t kib;          /* what it takes in the task queue, rounded up */
    Py_ssize_t position;
    struct cmpy_job *job;  /* strong */
};

struct cmpy_tasks {
    struct cmpy_task *places; /* a power of two of them, at most half of them used */
    size_t nplaces, count;
    uint32_t last_id;
};

/* Takes over a reference to the job. 0 with MemoryError, and the reference is still the caller's. */
uint32_t cmpy_tasks_add(struct cmpy_tasks *tasks, struct cmpy_job *job, Py_ssize_t position, uint32_t kib);
/* Gives the entry, with its reference to the job, to the caller; false: no such task is out. */
bool cmpy_tasks_remove(struct cmpy_tasks *tasks, uint32_t id, struct cmpy_task *task);
/* Some entry's id, 0 when none is left. `from` is where to go on looking: 0 at first, then as it was left. */
uint32_t cmpy_tasks_any(const struct cmpy_tasks *tasks, size_t *from);
/* Drops the memory; no entry is left. */
void cmpy_tasks_free(struct cmpy_tasks *tasks);

#endif
