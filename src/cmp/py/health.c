#include "py/health.h"

#include "py/cell.h"
#include "py/engine.h"
#include "py/reader.h"
#include "shm/block.h"
#include "shm/condition.h"
#include "shm/lockword.h"
#include "shm/queue_layout.h"
#include "shm/segment_layout.h"
#include "shm/sweep.h"

#include <errno.h>

#define KINDS 16 /* as many as the four bits of a tenure can say */

struct people {
    unsigned alive, dead;
};

static struct people count_people(struct cmp_members *members)
{
    struct people people = {0, 0};
    for (uint32_t slot = 0; slot < members->nslots; slot++) {
        cmp_owner owner = cmp_members_at(members, slot);
        if (owner == 0) continue;
        if (cmp_members_dead(members, owner)) people.dead++;
        else people.alive++;
    }
    return people;
}

/* ---- a queue and its segment ---- */

struct findings {
    int queue, blocks, swept;
    uint64_t kinds[KINDS];
    uint64_t size;
    struct people people;
    struct cmp_block_use use;
};

static void count_kind(void *arg, cmp_ref block, _Atomic uint64_t *tenure)
{
    struct findings *found = arg;
    (void)block;
    found->kinds[CMP_TENURE_KIND(cmp_load(tenure, relaxed))]++;
}

/* Without the GIL: it waits for internal locks. */
static void look_into(struct cmp_queue *queue, bool sweep, struct findings *found)
{
    struct cmp_segment *segment = queue->segment;
    if (sweep) found->swept = cmp_sweep(segment);
    for (struct cmp_queue *each = segment->queues; each != NULL; each = each->next)
        if (found->queue == 0) found->queue = cmp_queue_check(each);
    found->blocks = cmp_block_settle(segment);
    if (found->blocks == 0) found->blocks = cmp_block_check(segment);
    if (found->blocks == 0) found->blocks = cmp_block_walk(segment, count_kind, found);
    found->use = cmp_block_use(segment);
    found->people = count_people(&segment->members);
    found->size = cmp_queue_size(queue);
}

static PyObject *health_of_queue(struct cmp_queue *queue, bool sweep)
{
    struct findings found = {0};
    Py_BEGIN_ALLOW_THREADS
    look_into(queue, sweep, &found);
    Py_END_ALLOW_THREADS
    unsigned repairs = cmp_load(&queue->segment->shm->repairs, relaxed);
    for (struct cmp_queue *each = queue->segment->queues; each != NULL; each = each->next)
        repairs += cmp_load(&each->shm->repairs, relaxed);
    return Py_BuildValue("{s:O,s:I,s:I,s:I,s:i,s:K,s:K,s:K,s:K,s:K,s:K}",
                         "whole", found.queue == 0 && found.blocks == 0 ? Py_True : Py_False,
                         "repairs", repairs, "alive", found.people.alive, "dead", found.people.dead,
                         "swept", found.swept, "size", (unsigned long long)found.size,
                         "held", (unsigned long long)found.kinds[CMP_TENURE_MEMBER],
                         "items", (unsigned long long)found.kinds[CMP_TENURE_ITEM],
                         "chunks", (unsigned long long)found.kinds[CMP_TENURE_CHUNK],
                         "returned", (unsigned long long)found.kinds[CMP_TENURE_RETURNED],
                         "busy_bytes", (unsigned long long)found.use.busy_bytes);
}

/* Thread ids, 0 where a lock is free: the segment's three, then two of each queue. */
static PyObject *holders_of_queue(struct cmp_queue *queue)
{
    const struct cmp_segment_shm *shm = queue->segment->shm;
    PyObject *list = Py_BuildValue("[iii]", cmp_mutex_holder(&shm->blocks.lock), cmp_mutex_holder(&shm->growth),
                                   cmp_mutex_holder(&shm->sweeping));
    for (struct cmp_queue *each = queue->segment->queues; list != NULL && each != NULL; each = each->next) {
        PyObject *both = Py_BuildValue("[ii]", cmp_mutex_holder(&each->shm->put_lock),
                                       cmp_mutex_holder(&each->shm->take_lock));
        PyObject *longer = both == NULL ? NULL : PySequence_InPlaceConcat(list, both);
        Py_XDECREF(both);
        Py_SETREF(list, longer);
    }
    return list;
}

/* ---- a lock, semaphore, condition, event or barrier ---- */

static PyObject *health_of_cell(struct cmp_cell *cell, bool sweep)
{
    struct cmp_cell_shm *shm = cell->shm;
    struct people people;
    unsigned tickets = 0;
    Py_BEGIN_ALLOW_THREADS
    if (sweep && shm->kind == CMP_CELL_CONDITION) cmp_condition_sweep(cell);
    else if (sweep) cmp_cell_sweep(cell);
    people = count_people(&cell->members);
    Py_END_ALLOW_THREADS
    for (unsigned i = 0; i < CMP_CELL_TICKETS; i++)
        if (cmp_load(&shm->tickets[i].owner, relaxed) != 0) tickets++;
    unsigned long long word = cmp_load(&shm->word, relaxed);
    bool is_lock = shm->kind == CMP_CELL_LOCK || shm->kind == CMP_CELL_RLOCK;
    return Py_BuildValue("{s:K,s:I,s:I,s:I,s:I}", "word", word,
                         "repairs", is_lock ? (unsigned)(word >> CMP_LOCK_EPOCH_SHIFT) : 0u,
                         "alive", people.alive, "dead", people.dead, "tickets", tickets);
}

/* ---- the functions ---- */

static bool has_cell(struct cmpy_state *state, PyObject *object)
{
    PyObject *types[] = {state->semlock_type, state->condition_type, state->event_type, state->barrier_type};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (PyObject_TypeCheck(object, (PyTypeObject *)types[i])) return true;
    return false;
}

/* Of a queue by its `_reader`, of a pool's engine: its tasks'. It is there as long as *keeper, a new reference. NULL
 * with an exception. */
static struct cmp_queue *queue_of(struct cmpy_state *state, PyObject *object, PyObject **keeper)
{
    *keeper = NULL;
    if (PyObject_TypeCheck(object, (PyTypeObject *)state->engine_type)) {
        struct cmpy_engine *engine = (struct cmpy_engine *)object;
        if (!engine->open) {
            PyErr_SetString(PyExc_ValueError, "the pool has ended");
            return NULL;
        }
        *keeper = Py_NewRef(object);
        return &engine->tasks;
    }
    PyObject *end = PyObject_GetAttrString(object, "_reader");
    if (end == NULL) return NULL;
    struct cmpy_channel *channel = cmpy_reader_channel(state, end);
    if (channel != NULL) {
        *keeper = end;
        return &channel->queue;
    }
    Py_DECREF(end);
    PyErr_Format(PyExc_TypeError, "%.100s is no queue or lock of cmp's", Py_TYPE(object)->tp_name);
    return NULL;
}

PyDoc_STRVAR(health_doc,
"_health($module, object, /, sweep=False)\n--\n\n"
"What an inspection of a queue's or a lock's shared memory finds, as a dict.\n\n"
"Of a queue: whether it is whole; dead owners of internal locks met so far (repairs); processes that\n"
"are registered there, alive and dead; its items; blocks by whose they are. Of a lock: take-overs\n"
"(repairs), modulo 32768, processes, waiters' tickets. With sweep, what the dead owned is freed first.");

static PyObject *health(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "sweep", NULL};
    struct cmpy_state *state = cmpy_state_of_module(module);
    PyObject *object;
    int sweep = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|p:_health", names, &object, &sweep)) return NULL;
    if (has_cell(state, object)) {
        struct cmpy_cell *self = (struct cmpy_cell *)object;
        return cmpy_cell_ready(self) ? health_of_cell(&self->cell, sweep != 0) : NULL;
    }
    PyObject *keeper;
    struct cmp_queue *queue = queue_of(state, object, &keeper);
    struct cmpy_engine *engine = keeper == object && queue != NULL ? (struct cmpy_engine *)object : NULL;
    if (engine != NULL) engine->pins++; /* the pool may end meanwhile */
    PyObject *found = queue == NULL ? NULL : health_of_queue(queue, sweep != 0);
    if (engine != NULL) cmpy_engine_unpin(engine);
    Py_XDECREF(keeper);
    return found;
}

PyDoc_STRVAR(holders_doc,
"_holders($module, queue, /)\n--\n\n"
"The ids of the threads that hold the internal locks of a queue right now, 0 where one is free.");

static PyObject *holders(PyObject *module, PyObject *object)
{
    PyObject *keeper;
    struct cmp_queue *queue = queue_of(cmpy_state_of_module(module), object, &keeper);
    PyObject *found = queue == NULL ? NULL : holders_of_queue(queue);
    Py_XDECREF(keeper);
    return found;
}

PyDoc_STRVAR(claims_doc,
"_claims($module, engine, /)\n--\n\n"
"How many workers' slots of a pool name a task right now.");

static PyObject *claims(PyObject *module, PyObject *object)
{
    struct cmpy_engine *engine = cmpy_engine_of(cmpy_state_of_module(module), object);
    if (engine == NULL) return NULL;
    long n = 0;
    for (uint32_t i = 0; engine->open && i < engine->table->nslots; i++)
        if (cmp_load(&engine->table->slots[i].claim, relaxed) != 0) n++;
    return PyLong_FromLong(n);
}

static PyMethodDef health_functions[] = {
    {"_claims", claims, METH_O, claims_doc},
    {"_health", (PyCFunction)(void (*)(void))health, METH_VARARGS | METH_KEYWORDS, health_doc},
    {"_holders", holders, METH_O, holders_doc},
    {0},
};

int cmpy_health_add(PyObject *module)
{
    return PyModule_AddFunctions(module, health_functions);
}
