#include "py/sentinel.h"

#include "os/eventfd.h"
#include "os/identity.h"
#include "os/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool cmpy_sentinel_pidfds_work(void)
{
    static int answer = -1; /* the kernel does not change its mind */
    if (answer < 0) {
        int fd = -1, code = cmp_pidfd_open(getpid(), &fd);
        answer = code != -ENOSYS;
        if (code == 0) close(fd);
    }
    return answer > 0;
}

/* --- the descriptor --- */

void cmpy_sentinel_init(struct cmpy_sentinel *sentinel)
{
    *sentinel = (struct cmpy_sentinel){.fd = -1, .childs = -1};
}

bool cmpy_sentinel_is_open(const struct cmpy_sentinel *sentinel)
{
    return cmp_identity_is(sentinel->fd, sentinel->identity);
}

static int keep(struct cmpy_sentinel *sentinel, int code, int fd)
{
    if (code < 0) return code;
    sentinel->fd = fd;
    sentinel->identity = cmp_identity_of(fd);
    return 0;
}

int cmpy_sentinel_open(struct cmpy_sentinel *sentinel, pid_t pid)
{
    int fd = -1, code = cmp_pidfd_open(pid, &fd);
    return keep(sentinel, code, fd);
}

int cmpy_sentinel_open_ended(struct cmpy_sentinel *sentinel)
{
    int fd = -1, code = cmp_eventfd_create(&fd);
    if (code == 0) cmp_eventfd_raise(fd);
    return keep(sentinel, code, fd);
}

void cmpy_sentinel_close(struct cmpy_sentinel *sentinel)
{
    if (cmpy_sentinel_is_open(sentinel)) close(sentinel->fd);
    if (cmp_identity_is(sentinel->childs, sentinel->childs_identity)) close(sentinel->childs);
    cmpy_sentinel_init(sentinel);
}

/* --- the pipes --- */

void cmpy_sentinel_close_pipes(struct cmpy_sentinel_pipes *pipes)
{
    int ends[] = {pipes->child[0], pipes->child[1], pipes->parent[0], pipes->parent[1]};
    for (int i = 0; i < 4; i++)
        if (ends[i] >= 0) close(ends[i]);
}

int cmpy_sentinel_make_pipes(struct cmpy_sentinel_pipes *pipes)
{
    *pipes = (struct cmpy_sentinel_pipes){{-1, -1}, {-1, -1}};
    if (cmpy_sentinel_pidfds_work()) return 0;
    if (pipe2(pipes->child, O_CLOEXEC) == 0 && pipe2(pipes->parent, O_CLOEXEC) == 0) return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    cmpy_sentinel_close_pipes(pipes);
    return -1;
}

void cmpy_sentinel_keep_childs(struct cmpy_state *state, struct cmpy_sentinel_pipes *pipes)
{
    if (pipes->child[0] < 0) return;
    close(pipes->child[0]);
    close(pipes->parent[1]);
    PyObject *number = PyLong_FromLong(pipes->parent[0]);
    if (number != NULL) (void)PyObject_SetAttrString(state->cradle_parent, "_sentinel", number);
    Py_XDECREF(number);
    PyErr_Clear();
}

void cmpy_sentinel_keep_parents(struct cmpy_sentinel *sentinel, struct cmpy_sentinel_pipes *pipes)
{
    if (pipes->child[0] < 0) return;
    close(pipes->child[1]);
    close(pipes->parent[0]);
    (void)keep(sentinel, 0, pipes->child[0]);
    sentinel->childs = pipes->parent[1];
    sentinel->childs_identity = cmp_identity_of(sentinel->childs);
}
