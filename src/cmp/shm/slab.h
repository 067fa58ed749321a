/* Cells: the 4096-byte pages that locks, semaphores, conditions, events and barriers live in, one each.
 *
 * A cell is either an anonymous shared page of its own, which fork alone hands on and which costs no descriptor, or
 * one page of a slab: a memfd of many cells, for spawned children and strangers, who get the slab's descriptor and
 * the cell's index. A cell of a slab is never used twice: the kernel frees a slab with its last user.
 *
 * Every cell is laid out alike, whatever lives in it: an identity that never changes, the words, tickets for waiters
 * that must be found one by one, and a member table of its own. What `word` and `aux` mean is said by the noun that
 * owns the cell (lockword.h, semaphore.h, condition.h, flag.h, barrier.h); a lock names its holder there by a
 * cmp_owner, so that a sweep finds the name. */
#ifndef CMP_SHM_SLAB_H
#define CMP_SHM_SLAB_H

#include "shm/eventcount.h"
#include "shm/life.h"
#include "shm/member.h"
#include "shm/mutex.h"

#include <stdbool.h>
#include <stdint.h>

#define CMP_CELL_BYTES 4096
/* What fits: more waiters of one condition wait in its crowd, more processes on one lock are named by their pids. */
#define CMP_CELL_TICKETS 96
#define CMP_CELL_MEMBERS 143

#define CMP_CELL_NAMED(word_or_owner) (((word_or_owner) >> 32) & 0xffff)

enum cmp_cell_kind {
    CMP_CELL_SLAB = 1, /* the first page of a slab */
    CMP_CELL_LOCK,
    CMP_CELL_RLOCK,
    CMP_CELL_SEMAPHORE,
    CMP_CELL_CONDITION,
    CMP_CELL_EVENT,
    CMP_CELL_BARRIER,
};

enum { CMP_TICKET_IDLE, CMP_TICKET_WAITING, CMP_TICKET_ASLEEP, CMP_TICKET_NOTIFIED };

/* A ticket's state: one of the above in bits 0-1, in the rest the number of the wait, which wraps. */
#define CMP_TICKET_KIND(state) ((state) & 3)
#define CMP_TICKET_AS(state, kind) (((state) & ~UINT32_C(3)) | (kind))
#define CMP_TICKET_NEXT_WAIT(state) (CMP_TICKET_AS(state, CMP_TICKET_WAITING) + 4)

/* One waiter that is to be found again: whose it is, and what became of it (condition.h).
 *
 *   owner  0 to a process: that process, by CAS [ticket.claim]. From it to 0: itself [ticket.free], the state being
 *          idle. From a dead one: to whoever passes its notification on, by CAS and only when notified [ticket.adopt];
 *          to 0 by a sweep, once it has made the state idle [ticket.reclaim]. The name of a dead one never comes back.
 *   state  Each wait has the next number: the owner's store of WAITING [ticket.wait] brings it, all else keeps it. To
 *          ASLEEP: the owner. To NOTIFIED: a notifier, by CAS. To IDLE: the owner, from any; a sweep, by CAS from any
 *          other than NOTIFIED, if the owner is dead. From NOTIFIED nobody but the owner takes it. A free one is idle.
 *   turn   Order of arrival, by the owner before WAITING; when it was notified, by CAS of a notifier.
 *
 * Who is not the owner may stand still between a look and a CAS for as long as it takes others to end this wait and
 * begin another. So a sweep and a notifier read the state before what makes them choose the ticket, and CAS from that
 * wait's number: it fails if another has begun.
 *
 * A kill between two stores leaves: claimed or wiped, idle, of a dead owner: the next sweep frees it. WAITING or ASLEEP
 * of a dead owner: the next notifier or sweep. NOTIFIED of a dead owner, who received it or was passing it on: the next
 * sleeper's timed look passes it on. A wait with the turn of a notification that did not come: it comes late in the
 * order, no more. */
struct cmp_ticket_shm {
    _Atomic uint64_t owner; /* cmp_owner; 0: free */
    _Atomic uint32_t state; /* also the futex its waiter sleeps on */
    _Atomic uint32_t turn;  /* compared by difference */
};

/* Written by any process that has the cell, at any time, by single atomic operations only, so no death
 * can leave it half-way. The first line is written before the cell is handed to anybody and never again, `sweeping`
 * apart. */
struct cmp_cell_shm {
    uint32_t magic;
    uint32_t kind;
    uint64_t limit; /* most a semaphore may hold; parties of a barrier; cells of a slab */
    struct cmp_mutex sweeping; /* one buries the dead at a time; only ever tried */

    _Alignas(64) _Atomic uint64_t word;
    _Atomic uint64_t aux;
    struct cmp_eventcount changed; /* of `word` */
    struct cmp_eventcount crowd;   /* of `aux`, in a condition */
    _Atomic uint32_t turns;        /* next ticket's turn */
    _Atomic uint32_t tickets_used; /* tickets at and past it were never claimed */

    _Alignas(64) struct cmp_ticket_shm tickets[CMP_CELL_TICKETS];
    struct cmp_members_shm members; /* CMP_CELL_MEMBERS slots, to the end of the page */
};

/* This process's handle to one slab. */
struct cmp_slab {
    char *map;
    int fd;
    uint64_t identity; /* of fd: user code that closes every descriptor may have had its number reused */
};

/* This process's handle to one cell; its threads share it, and it stays where it is. Who this process is there, is
 * asked by cmp_members_me(&cell->members). */
struct cmp_cell {
    struct cmp_cell_shm *shm; /* NULL: closed */
    struct cmp_members members;
    struct cmp_spin spin;
    bool own_page; /* anonymous, unmapped with the handle */
    const struct cmp_life *life; /* of the manager that keeps the object; NULL for none */
    /* Whom this process last found alive, and when: asking costs some microseconds. */
    _Atomic uint64_t seen_alive;
    _Atomic int64_t seen_alive_ns;
};

/* -EMFILE, -ENFILE, -ENOMEM. */
int cmp_slab_create(struct cmp_slab *slab);
/* Takes over fd on success. -EPROTO: not a slab, or another layout; -EXDEV: of another pid namespace. */
int cmp_slab_attach(struct cmp_slab *slab, int fd);
void cmp_slab_close(struct cmp_slab *slab);
/* Is fd still the slab's? -EBADF if someone closed it under us. */
int cmp_slab_check_fd(const struct cmp_slab *slab);
/* A cell that nobody had before; claimed by one atomic step, so processes that share the slab since a fork may both
 * claim. A kill after it wastes the cell. -ENOSPC: all are gone. */
int cmp_slab_claim(struct cmp_slab *slab, uint32_t *index);

/* A new cell on a page of its own. -ENOMEM. */
int cmp_cell_create(struct cmp_cell *cell, enum cmp_cell_kind kind, uint64_t limit);
/* A new cell at an index just claimed. */
int cmp_cell_create_at(struct cmp_cell *cell, struct cmp_slab *slab, uint32_t index, enum cmp_cell_kind kind,
                       uint64_t limit);
/* A cell that lives already. -EPROTO: no such cell, or it holds something else; -EXDEV. The slab outlives it. */
int cmp_cell_attach(struct cmp_cell *cell, struct cmp_slab *slab, uint32_t index, enum cmp_cell_kind kind);
/* Gives the member slot back if `owns` is false, and the page if it is the handle's own. */
void cmp_cell_close(struct cmp_cell *cell, bool owns);

/* 0, or -ESHUTDOWN: the manager that keeps the object has ended. Whoever waits looks between its slices. */
int cmp_cell_look(const struct cmp_cell *cell);

/* cmp_members_dead(), but an owner that this process found alive at most believe_ns ago still is. */
bool cmp_cell_dead(struct cmp_cell *cell, cmp_owner owner, int64_t believe_ns);

/* Frees the tickets of a dead owner but those that were notified; false if somebody else is at it. */
bool cmp_cell_free_tickets(struct cmp_cell *cell, cmp_owner dead);

/* Buries dead members that the cell no longer needs to name, and frees the dead's tickets. One process at a time;
 * others return at once. Joining a full table does it first. */
void cmp_cell_sweep(struct cmp_cell *cell);

#endif
