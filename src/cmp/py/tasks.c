#include "py/tasks.h"

#include <string.h>

#define FIRST_PLACES 64

/* An entry lies at the place its id names, and nowhere else: an id whose place is taken is not given out. So nothing
 * is ever searched for or moved, also when tens of thousands of neighbours are out. As at most half of the places are
 * taken, at most as many ids are passed over as are given in one round. */
static struct cmpy_task *place_of(const struct cmpy_tasks *tasks, uint32_t id)
{
    return &tasks->places[id & (tasks->nplaces - 1)];
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
        if (tasks->places[i].id != 0) *place_of(&larger, tasks->places[i].id) = tasks->places[i];
    PyMem_Free(tasks->places);
    *tasks = larger;
    return 0;
}

uint32_t cmpy_tasks_add(struct cmpy_tasks *tasks, struct cmpy_job *job, Py_ssize_t position, uint32_t kib)
{
    if (tasks->count * 2 >= tasks->nplaces &&
        resize(tasks, tasks->nplaces == 0 ? FIRST_PLACES : tasks->nplaces * 2) < 0)
        return 0;
    struct cmpy_task *place;
    do {
        if (++tasks->last_id == 0) tasks->last_id = 1;
        place = place_of(tasks, tasks->last_id);
    } while (place->id != 0);
    *place = (struct cmpy_task){.id = tasks->last_id, .kib = kib, .position = position, .job = job};
    tasks->count++;
    return tasks->last_id;
}

bool cmpy_tasks_remove(struct cmpy_tasks *tasks, uint32_t id, struct cmpy_task *task)
{
    if (tasks->count == 0 || id == 0) return false;
    struct cmpy_task *place = place_of(tasks, id);
    if (place->id != id) return false;
    *task = *place;
    memset(place, 0, sizeof *place);
    tasks->count--;
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
