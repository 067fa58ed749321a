/* What the module owns: one struct per module object (PEP 489), reached from any of our types. */
#ifndef CMP_PY_STATE_H
#define CMP_PY_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Every PyObject * here is a strong reference, visited and cleared by module.c through CMPY_STATE_OBJECTS:
 * a type file adds its own line to that list and nothing else. */
#define CMPY_STATE_OBJECTS(X) \
    X(empty_error)      /* queue.Empty; this and the next two from the first queue on, see py/channel.c */ \
    X(full_error)       /* queue.Full */ \
    X(shutdown_error)   /* queue.ShutDown, or cmp.queues' own before 3.13 */ \
    X(slab_type)        /* py/slab.c's */ \
    X(current_slab)     /* a weak reference to the slab that new cells come from */ \
    X(semlock_type)     /* py/semlock.c's */ \
    X(semlock_view_type) \
    X(lock_type)        /* py/lock.c's */ \
    X(rlock_type) \
    X(abandoned_warning) /* AbandonedLockWarning */ \
    X(semaphore_type)   /* py/semaphore.c's */ \
    X(bounded_semaphore_type) \
    X(condition_type)   /* py/condition.c's */ \
    X(event_type)       /* py/event.c's */ \
    X(barrier_type)     /* py/barrier.c's */ \
    X(broken_barrier_error) /* threading.BrokenBarrierError */ \
    X(assert_spawning)  /* multiprocessing.context.assert_spawning */ \
    X(dup_fd)           /* multiprocessing.reduction.DupFd */ \
    X(end_type)         /* py/reader.c's */ \
    X(life_type)        /* py/life.c's */ \
    X(managed_queue_type) /* py/managerqueue.c's */ \
    X(process_globals)  /* multiprocessing.process.__dict__, see py/books.h; the next three likewise */ \
    X(threading_globals) /* threading */ \
    X(util_globals)     /* multiprocessing.util, this and the next from the first process or pool on */ \
    X(popen_fork)       /* multiprocessing.popen_fork */ \
    X(atexit_clear)     /* atexit._clear, and so on */ \
    X(atexit_register)  \
    X(atexit_count)     \
    X(atexit_run)       \
    X(io_open)          /* io.open */ \
    X(itertools_count)  /* itertools.count */ \
    X(parent_type)      /* py/parent.c's */ \
    X(process_type)     /* py/processtype.c's */ \
    X(bootstrap_method) /* Process._bootstrap, to see whether a subclass has its own */ \
    X(forking_line)     /* py/fork.c's code object */ \
    X(forking_names)    /* and its names */ \
    X(fork_intent)      /* what tells the resource tracker of a fork, or None */ \
    X(cradle_counter)   /* py/cradle.c: what the next child hangs up, see there */ \
    X(cradle_children)  \
    X(cradle_parent)    \
    X(cradle_interrupt) /* what a signal handler raised between the fork and here, or NULL */ \
    X(cradle_stdin)     \
    X(cradle_stdin_raw) \
    X(buffered_type)    /* io.BufferedReader */ \
    X(text_type)        /* io.TextIOWrapper */ \
    X(writer_type)      /* io.BufferedWriter */ \
    X(random_type)      /* io.BufferedRandom */ \
    X(register_at_fork) /* os.register_at_fork */ \
    X(buffer_type)      /* bufcache.c */ \
    X(collector_type)   /* pickle.c: the file that our pickler writes to */ \
    X(pickler_type)     /* _pickle.Pickler */ \
    X(pickle_loads)     /* _pickle.loads */ \
    X(pickler)          /* the kept pickler and its collector, or both NULL */ \
    X(collector)        \
    X(copyreg_table)    /* copyreg.dispatch_table */ \
    X(extra_reducers)   /* ForkingPickler's */ \
    X(reducers)         /* reducers.c: both tables as one mapping */ \
    X(forking_pickler)  /* ForkingPickler, its dumps and its loads as they were: py/otherpickler.c */ \
    X(forking_dumps)    \
    X(forking_loads)    \
    X(reduction_globals) /* multiprocessing.reduction.__dict__ */ \
    X(queues_globals)   /* cmp.queues.__dict__, once it is loaded */ \
    X(otherpickler_wrap) /* cmp.otherpicklers.wrap, once another pickler is there */ \
    X(proxy_type)       /* managers.BaseProxy, once cmp.proxies is there; and its reducer for what travels */ \
    X(proxy_reducer)    \
    X(proxies_settle)   \
    X(dump_name)        \
    X(clear_memo_name)  \
    X(buffers_keyword)  /* ("buffers",) */ \
    X(engine_type)      /* py/engine.c's; the next ones are the pool's likewise */ \
    X(apply_result_type) \
    X(map_result_type)  \
    X(imap_job_type)    \
    X(imap_type)        \
    X(imap_unordered_type) \
    X(worker_function)  /* cmp._core.pool_worker, and so on */ \
    X(call_apart_function) \
    X(supervise_function) \
    X(call_back_function) \
    X(feed_function)    \
    X(end_pool_function) \
    X(timeout_error)    /* multiprocessing.TimeoutError */

/* Interned strings, state->str.X: looking an attribute up by one finds the interpreter's caches warm, by a char *
 * never, and a forked child pays for every page that such a look writes to. */
#define CMPY_STATE_NAMES(X) \
    X(BaseProcess) X(CLOSE) X(ForkingPickler) X(_ForkingPickler) X(INIT) X(RUN) X(TERMINATE) X(__class__) \
    X(__dict__) X(__getnewargs__) X(__getnewargs_ex__) X(__getstate__) X(__init__) X(__module__) X(__name__) \
    X(__reduce__) X(__reduce_ex__) X(__setstate__) X(__slotnames__) X(__slots__) X(_after_fork) X(_args) \
    X(_bootstrap) X(_children) X(_closed) X(_config) X(_current_process) X(_dangling) X(_identity) X(_exit_function) \
    X(_exiting) X(_finalizer_registry) X(_afterfork_registry) X(_kwargs) X(_lifeline) X(_logger) X(_main_thread) \
    X(_name) X(_parent_name) X(_parent_pid) X(_parent_process) X(_pid) X(_popen) X(_Popen) X(_process_counter) \
    X(_sentinel) X(_set_native_id) X(_start_method) X(_target) X(_threading_atexits) X(add) X(buffer) X(close) \
    X(copy) X(daemon) X(data) X(discard) X(dumps) X(exitcode) X(fget) X(flush) X(get_start_method) X(interrupt) \
    X(is_alive) X(join) X(kill) X(loads) X(name) X(pid) X(poll) X(raw) X(run) X(sentinel) X(start) X(terminate) \
    X(wait)

struct cmpy_codec;
struct cmpy_patch_running;

struct cmpy_state {
#define X(name) PyObject *name;
    CMPY_STATE_OBJECTS(X)
#undef X
    struct {
#define X(name) PyObject *name;
        CMPY_STATE_NAMES(X)
#undef X
    } str;
    unsigned int forking_version; /* of ForkingPickler, when it had its own dumps and loads */
    int cradle_stdin_fd; /* the number that cradle_stdin is set up for */
    struct cmpy_codec *codec; /* py/codec.h */
    struct cmpy_patch_running *patches_running; /* py/patches.c */
};

/* The state of the module that `type`, or a base of it, was made by; never NULL for our types. Borrowed from the
 * module, which every one of our heap types keeps alive. */
struct cmpy_state *cmpy_state_of_type(PyTypeObject *type);
struct cmpy_state *cmpy_state_of_module(PyObject *module);

#endif
