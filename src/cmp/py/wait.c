#include "py/wait.h"

#include "os/clock.h"
#include "py/bufcache.h"

#include <errno.h>
#include <math.h>

/* A signal that arrives after the last look for signals and before the sleep begins interrupts nothing: so even a
 * sleep without end is cut into pieces of this length, between which signals are looked for. */
#define SIGNAL_LOOK_NS INT64_C(1000000000)

int cmpy_deadline(int block, PyObject *timeout, int64_t *deadline_ns)
{
    if (!block) {
        *deadline_ns = CMPY_TRY;
        return 0;
    }
    if (timeout == NULL || timeout == Py_None) {
        *deadline_ns = CMPY_FOREVER;
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) return -1;
    if (isnan(seconds)) {
        PyErr_SetString(PyExc_ValueError, "Invalid value NaN (not a number)");
        return -1;
    }
    if (seconds <= 0) {
        *deadline_ns = CMPY_TRY;
        return 0;
    }
    int64_t now_ns = cmp_now_ns();
    /* Centuries, also as infinity, are for ever. */
    *deadline_ns = seconds >= 9e9 ? CMPY_FOREVER : now_ns + (int64_t)(seconds * 1e9);
    return 0;
}

int cmpy_wait(cmpy_call call, void *arg, int64_t deadline_ns)
{
    int code = call(arg, CMPY_TRY);
    if (code != -EBUSY && (code != -EAGAIN || deadline_ns == CMPY_TRY)) return code;
    for (;;) {
        int64_t until_ns = 1; /* long past: waits for internal locks and for nothing else */
        Py_BEGIN_ALLOW_THREADS
        if (deadline_ns != CMPY_TRY) {
            until_ns = cmp_tick_ns() + SIGNAL_LOOK_NS;
            if (until_ns > deadline_ns) until_ns = deadline_ns;
        }
        code = call(arg, until_ns);
        Py_END_ALLOW_THREADS
        if (code == -ETIMEDOUT && deadline_ns == CMPY_TRY) return -EAGAIN;
        if (code == -ETIMEDOUT && until_ns == deadline_ns) return code;
        if (code != -EINTR && code != -ETIMEDOUT) return code;
        if (code == -ETIMEDOUT) cmpy_bufcache_idle();
        if (PyErr_CheckSignals() < 0) return CMPY_RAISED;
    }
}

void cmpy_breathe(unsigned *count)
{
    if (++*count % 256 != 0) return;
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
}
