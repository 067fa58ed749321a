/* Sentinel: the descriptor that becomes readable at a child's end, as its parent holds it: a pidfd.
 *
 * Where the kernel or a sandbox has no pidfds, there are two pipes as the stdlib has them: each of the two processes
 * holds one's write end, and the other one's read end becomes readable when that is gone. They are made before the
 * child; a pidfd is opened when somebody asks. */
#ifndef CMP_PY_SENTINEL_H
#define CMP_PY_SENTINEL_H

#include "py/state.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cmpy_sentinel {
    int fd;                    /* -1: none */
    int childs;                /* of the pipe by which the child sees us end; -1: there is no pipe */
    uint64_t identity, childs_identity; /* what these numbers stand for (os/identity.h) */
};

bool cmpy_sentinel_pidfds_work(void);

void cmpy_sentinel_init(struct cmpy_sentinel *sentinel);
/* Is it there, and its number not that of something else by now? */
bool cmpy_sentinel_is_open(const struct cmpy_sentinel *sentinel);
/* Opens one on a process: 0; -ESRCH: it is gone; -ENOSYS, -EMFILE, ... Or one that is readable for ever, for a child
 * that has ended and left nothing to open. */
int cmpy_sentinel_open(struct cmpy_sentinel *sentinel, pid_t pid);
int cmpy_sentinel_open_ended(struct cmpy_sentinel *sentinel);
/* Closes what is still its own. Only in the process that opened it: in a forked child the numbers may be anybody's. */
void cmpy_sentinel_close(struct cmpy_sentinel *sentinel);

/* Named after who holds the write end; all -1 where pidfds do. */
struct cmpy_sentinel_pipes {
    int child[2], parent[2];
};

/* Before the fork: -1 with OSError. After it, in the child: the write end of its own stays open until it ends, and
 * parent_process() gets the other. In the parent likewise. Closing is for a fork that failed. */
int cmpy_sentinel_make_pipes(struct cmpy_sentinel_pipes *pipes);
void cmpy_sentinel_keep_childs(struct cmpy_state *state, struct cmpy_sentinel_pipes *pipes);
void cmpy_sentinel_keep_parents(struct cmpy_sentinel *sentinel, struct cmpy_sentinel_pipes *pipes);
void cmpy_sentinel_close_pipes(struct cmpy_sentinel_pipes *pipes);

#endif
