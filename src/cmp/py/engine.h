/* Engine: the working part of a Pool, apart from the object its users hold, so that the pool can be collected while
 * its supervisor and its results still need what is here.
 *
 * Who reads results is py/lead.h's; how workers come, py/recruit.h's, and go, py/roster.h's; who is called back,
 * py/callbacks.h's.
 *
 * Everything here is guarded by the GIL but what shm/ guards itself. A child made by fork inherits an engine that is
 * not its own: `epoch` tells, and every entry refuses. In a worker, only segment, queues and table are used. */
#ifndef CMP_PY_ENGINE_H
#define CMP_PY_ENGINE_H

#include "py/callbacks.h"
#include "py/job.h"
#include "py/state.h"
#include "py/tasks.h"

#include "shm/eventcount.h"
#include "shm/pooltable.h"
#include "shm/queue.h"

#include <stdbool.h>

struct cmpy_sink;

enum cmpy_pool_state { CMPY_POOL_RUN, CMPY_POOL_CLOSE, CMPY_POOL_TERMINATE };

/* The parent's knowledge of one worker; slot i of the pool table. */
struct cmpy_worker {
    PyObject *process;    /* NULL: the slot is free */
    int fd;               /* its sentinel, the process object's; -1: none */
    uint64_t fd_identity; /* what that number stands for (os/identity.h) */
    bool ended;           /* its exit code is known; settled by whoever leads next */
    bool settled;         /* ended, and its claim seen to: the supervisor frees the slot */
    int pid, exitcode;
    int64_t ended_ns;
};

struct cmpy_engine {
    PyObject_HEAD
    struct cmpy_state *state;
    uint32_t epoch;                 /* of the process that made the pool */
    bool open;                      /* segment, tasks, results and table are valid */
    Py_ssize_t pins;                /* calls inside without the GIL, and parcels in blocks: it stays open */
    struct cmp_segment segment;
    struct cmp_queue tasks, results;
    struct cmp_pooltable *table;
    int wake_fd;                    /* the supervisor's eventfd */
    uint64_t wake_identity;         /* what that number stands for (os/identity.h) */

    /* From here on: the parent's. */
    enum cmpy_pool_state pool_state;
    bool finished;                  /* all workers gone, all work done: what join() waits for */
    bool ended;                     /* py/ending.h has done its work */
    struct cmpy_tasks book;
    uint64_t out_kib;               /* what the tasks in the book weigh */
    uint64_t next_job;

    bool led;                       /* down to followers: py/lead.h's */
    unsigned long leader;           /* thread id, while led */
    Py_ssize_t nfollowers;
    Py_ssize_t nreturning;          /* threads that lead now and then, opening results in between */
    _Atomic uint32_t news;
    uint32_t seen;                  /* the leader's */
    struct cmp_eventcount followers;

    PyObject *process_factory, *ctx;       /* how workers are made: py/recruit.h */
    PyObject *initializer, *initargs, *maxtasks;
    PyObject *pool_list;                   /* Pool._pool; NULL once finished */
    Py_ssize_t nprocesses;
    uint32_t nslots;
    struct cmpy_worker *workers;           /* nslots of them */
    Py_ssize_t nended;                     /* ended and not yet settled */
    Py_ssize_t starting;                   /* workers that are being started right now */
    unsigned barren, guilt;                /* deaths in a row before the initializer was done; what they weigh */
    int64_t next_start_ns;                 /* the brake: not before */
    PyObject *last_words;                  /* why the pool gave up, a str; NULL: it has not */

    PyObject *feeds;                       /* list of jobs that are fed lazily */
    bool full, hungry;                     /* a feed stopped for CMPY_FEED_KIB; a feed has room again */
    bool wanted;                           /* the supervisor sleeps and may be asked to look for results */
    int64_t coalesce_until_ns, blind_until_ns; /* until then the supervisor lets results lie: see listen() */
    struct cmpy_callbacks callbacks;
    PyObject *leaving;                     /* helper threads that end now: py/thread.h's */
    struct cmpy_engine *next;              /* the supervisor's list */
};

int cmpy_engine_add(PyObject *module);

/* A new engine with room for `nslots` workers. NULL with an exception. */
struct cmpy_engine *cmpy_engine_create(struct cmpy_state *state, uint32_t nslots);
/* The engine that a helper thread's function was given. NULL with TypeError. */
struct cmpy_engine *cmpy_engine_of(struct cmpy_state *state, PyObject *object);
/* One pin less. With the last one of a finished pool go its segment and descriptors. */
void cmpy_engine_unpin(struct cmpy_engine *engine);
/* All is over: join() returns, when the threads that are leaving have ended. */
void cmpy_engine_finish(struct cmpy_engine *engine);
/* -1 with RuntimeError in a process that is not the pool's. */
int cmpy_engine_check_process(const struct cmpy_engine *engine);

/* Registers a task of `job` at `position` and queues its bytes: 0; 1: the pool ended meanwhile and has answered it, and
 * a signal handler's exception may be set; -1 with an exception: it is not queued. */
int cmpy_engine_submit(struct cmpy_engine *engine, struct cmpy_job *job, Py_ssize_t position, struct cmpy_sink *sink);
/* Hands the outcome of a task that has left the book to its job; takes over both. */
void cmpy_engine_answer(struct cmpy_engine *engine, struct cmpy_task *task, struct cmpy_parcel *parcel);
/* Delivers the exception now set as the outcome of a position that was never queued. */
void cmpy_engine_fail_position(struct cmpy_job *job, Py_ssize_t position);

/* Every task that is out ends without a result. `words`: last words, or NULL for a pool that was terminated. */
void cmpy_engine_end_all(struct cmpy_engine *engine, PyObject *words);
/* -1 with WorkerLostError: the pool has given up. */
int cmpy_engine_raise_last_words(const struct cmpy_engine *engine);
/* Is anything out, or still to be fed, or to be called back? */
bool cmpy_engine_busy(const struct cmpy_engine *engine);

#endif
