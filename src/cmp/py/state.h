/* What the module owns: one struct per module object (PEP 489), reached from any of our types. */
#ifndef CMP_PY_STATE_H
#define CMP_PY_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Every PyObject * here is a strong reference, visited and cleared by module.c through CMPY_STATE_OBJECTS:
 * a type file adds its own line to that list and nothing else. */
#define CMPY_STATE_OBJECTS(X) \
    X(empty_error)      /* queue.Empty */ \
    X(full_error)       /* queue.Full */ \
    X(process_globals)  /* multiprocessing.process.__dict__, see py/books.h; the next four likewise */ \
    X(util_globals)     /* multiprocessing.util */ \
    X(popen_fork)       /* multiprocessing.popen_fork */ \
    X(threading_globals) /* threading */ \
    X(atexit_module)    /* atexit */ \
    X(io_open)          /* io.open */ \
    X(itertools_count)  /* itertools.count */ \
    X(parent_type)      /* py/parent.c's */ \
    X(bootstrap_method) /* Process._bootstrap, to see whether a subclass has its own */ \
    X(forking_line)     /* py/fork.c's code object */ \
    X(next_stdin)       /* py/bootstrap.c: sys.stdin of the children to come ... */ \
    X(next_stdin_raw)   /* ... and its FileIO */ \
    X(buffer_type)      /* bufcache.c */ \
    X(collector_type)   /* pickle.c: the file that our pickler writes to */ \
    X(pickler_type)     /* _pickle.Pickler */ \
    X(pickle_loads)     /* _pickle.loads */ \
    X(pickler)          /* the kept pickler and its collector, or both NULL */ \
    X(collector)        \
    X(copyreg_table)    /* copyreg.dispatch_table */ \
    X(extra_reducers)   /* ForkingPickler's */ \
    X(reducers)         /* reducers.c: both tables as one mapping */ \
    X(dump_name)        \
    X(clear_memo_name)  \
    X(buffers_keyword)  /* ("buffers",) */

struct cmpy_codec;

struct cmpy_state {
#define X(name) PyObject *name;
    CMPY_STATE_OBJECTS(X)
#undef X
    struct cmpy_codec *codec; /* py/codec.h */
};

/* The state of the module that `type`, or a base of it, was made by; never NULL for our types. Borrowed from the
 * module, which every one of our heap types keeps alive. */
struct cmpy_state *cmpy_state_of_type(PyTypeObject *type);
struct cmpy_state *cmpy_state_of_module(PyObject *module);

#endif
