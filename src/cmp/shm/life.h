/* Life: one page by which a server's clients know that it is there, without asking it.
 *
 * The server's main thread locks `held` when it begins and never unlocks it: when that thread ends, by SIGKILL too,
 * the kernel sets the owner-died bit in the mutex's futex word, and every client's next look, a plain load, sees it.
 * An orderly server says so before it ends, by `closed`. Nobody else writes here; nothing is ever repaired.
 *
 * A kill between any two steps of begin leaves a page that nobody was given yet. */
#ifndef CMP_SHM_LIFE_H
#define CMP_SHM_LIFE_H

#include "os/atomics.h"
#include "shm/mutex.h"

#include <stdbool.h>
#include <stdint.h>

struct cmp_life_shm {
    uint64_t magic; /* set before the page is handed on, never changed */
    _Atomic uint32_t closed;
    _Alignas(64) struct cmp_mutex held;
};

/* One process's handle; a forked child may use its copy as a client. */
struct cmp_life {
    struct cmp_life_shm *shm; /* NULL: no handle */
    int fd;
    uint64_t identity; /* of fd: a program may have closed it, and have got the number again for something else */
    uint32_t serving; /* the server's own handle: cmp_fork_epoch() of its process; 0 in a client */
};

enum cmp_life_state { CMP_LIFE_ON, CMP_LIFE_CLOSED, CMP_LIFE_LOST };

/* A new page, held by the calling thread until the thread ends. -EMFILE, -ENFILE, -ENOMEM. */
int cmp_life_begin(struct cmp_life *life);
/* Takes over fd on success. -EPROTO: no such page. */
int cmp_life_attach(struct cmp_life *life, int fd);
/* Unmaps. The server's thread closes its page and lets go of it first: the C library's list of held mutexes must not
 * lead into unmapped memory. */
void cmp_life_leave(struct cmp_life *life);

/* Is fd still the page's? */
bool cmp_life_owns_fd(const struct cmp_life *life);

/* A few ns. */
enum cmp_life_state cmp_life_state(const struct cmp_life *life);
/* By the server: from now on clients find it closed. They are woken by whoever keeps what they sleep on. */
void cmp_life_close(struct cmp_life *life);

#endif
