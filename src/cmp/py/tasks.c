#include "py/tasks.h"

#include <string.h>

#define FIRST_PLACES 64

/* Ids are given in order, so they lie side by side: no need to scatter them. */
static size_t home(const struct cmpy_tasks *tasks, uint32_t id)
{
    return id & (tasks->nplaces - 1);
}

static size_t place_of(const struct cmpy_tasks *tasks, uint32_t id)
{
    size_t at = home(tasks, id);
    while (tasks->places[at].id != 0 && tasks->places[at].id != id) at = (at + 1) & (tasks->nplaces - 1);
    return at;
}

static int resize(struct cmpy_tasks *tasks, size_t nplaces)
{
    struct cmpy_tasks larger = {.nplaces = nplaces, .count = tasks->count, .last_id = tasks->last_id};
    larger.places = PyMem_Calloc(nplaces, sizeof *larger.places);
    if (larger.places == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < tasks->nplaces; i++)
        if (tasks->places[i].id != 0) larger.places[place_of(&larger, tasks->places[i].id)] = tasks->places[i];
    PyMem_Free(tasks->places);
    *tasks = larger;
    return 0;
}

uint32_t cmpy_tasks_add(struct cmpy_tasks *tasks, struct cmpy_job *job, Py_ssize_t position, uint32_t kib)
{
    if (tasks->count * 2 >= tasks->nplaces &&
        resize(tasks, tasks->nplaces == 0 ? FIRST_PLACES : tasks->nplaces * 2) < 0)
        return 0;
    size_t at;
    do {
        if (++tasks->last_id == 0) tasks->last_id = 1;
        at = place_of(tasks, tasks->last_id);
    } while (tasks->places[at].id != 0);
    tasks->places[at] = (struct cmpy_task){.id = tasks->last_id, .bytes = kib, .position = position, .job = job};
    tasks->count++;
    return tasks->last_id;
}

const struct cmpy_task *cmpy_tasks_find(const struct cmpy_tasks *tasks, uint32_t id)
{
    if (tasks->count == 0 || id == 0) return NULL;
    const struct cmpy_task *task = &tasks->places[place_of(tasks, id)];
    return task->id == 0 ? NULL : task;
}

bool cmpy_tasks_remove(struct cmpy_tasks *tasks, uint32_t id, struct cmpy_task *task)
{
    if (tasks->count == 0 || id == 0) return false;
    size_t mask = tasks->nplaces - 1, at = place_of(tasks, id);
    if (tasks->places[at].id == 0) return false;
    *task = tasks->places[at];
    tasks->count--;
    /* Those behind move up, unless their home lies between the gap and them: no search may meet the gap too early. */
    for (size_t next = (at + 1) & mask; tasks->places[next].id != 0; next = (next + 1) & mask) {
        size_t wanted = home(tasks, tasks->places[next].id);
        if (((next - wanted) & mask) < ((next - at) & mask)) continue;
        tasks->places[at] = tasks->places[next];
        at = next;
    }
    memset(&tasks->places[at], 0, sizeof tasks->places[at]);
    if (tasks->count == 0 && tasks->nplaces > 16 * FIRST_PLACES) cmpy_tasks_free(tasks);
    return true;
}

uint32_t cmpy_tasks_any(const struct cmpy_tasks *tasks, size_t *from)
{
    if (tasks->count == 0) return 0;
    while (tasks->places[*from & (tasks->nplaces - 1)].id == 0) ++*from;
    return tasks->places[*from & (tasks->nplaces - 1)].id;
}

void cmpy_tasks_free(struct cmpy_tasks *tasks)
{
    PyMem_Free(tasks->places);
    tasks->places = NULL;
    tasks->nplaces = 0;
}
