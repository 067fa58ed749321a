/* Calls: what a Pool is asked to do, from apply to imap_unordered, with the documentation that users see. Arguments are
 * checked here, with the stdlib's words; the work itself is results.h's and imap.h's. */
#ifndef CMP_PY_CALLS_H
#define CMP_PY_CALLS_H

#include "py/pool.h"

PyObject *cmpy_pool_apply(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_apply_async(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_map(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_map_async(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_starmap(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_starmap_async(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_imap(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *cmpy_pool_imap_unordered(Pool *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);

extern const char cmpy_pool_apply_doc[], cmpy_pool_apply_async_doc[], cmpy_pool_map_doc[], cmpy_pool_map_async_doc[],
    cmpy_pool_starmap_doc[], cmpy_pool_starmap_async_doc[], cmpy_pool_imap_doc[], cmpy_pool_imap_unordered_doc[];

#endif
