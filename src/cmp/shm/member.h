/* Members: the one notion of who. A table of slots in a segment or on a lock page; a process takes a slot at its
 * first use after birth, and everything owned (locks, blocks, claims, tickets) names slot and generation.
 *
 * One slot: `who` = pid (22 bits) and start time in clock ticks (42 bits) in one word, so that one CAS claims it
 * whole, 0 when free; `generation`, raised by the sweep just before it frees the slot. A kill between these two
 * stores raises the generation once more at the next sweep, which is harmless.
 * Who looks between them meets the old `who` under the new generation: a member yet to come, which is not dead
 * (cmp_members_dead).
 *
 * A member is dead when its pidfd polls readable, or no process has that pid, or pid and start time disagree; an
 * unreaped zombie is dead, a process whose first thread has ended is not. Where no descriptor is left to ask with, it
 * counts as alive until the next look. A forked child is a new member: handles notice by cmp_fork_epoch()
 * (os/forkepoch.h) and join again. One that was forked into a pid namespace of its own stays nameless, and takes nobody
 * for dead.
 *
 * Of a process without a slot ten bits of the start time are kept, modulo 1023: one that got its pid later, and started
 * by chance at such a moment, is taken for it as long as it lives. */
#ifndef CMP_SHM_MEMBER_H
#define CMP_SHM_MEMBER_H

#include "os/atomics.h"

#include <stdbool.h>
#include <stdint.h>

/* slot + 1 in bits 32-47, generation in bits 0-31; 0 is nobody. A process that found no slot has CMP_OWNER_SLOTLESS in
 * bits 32-47 and in the rest its pid (bits 0-21) and what fits of its start time (bits 22-31): enough for others to see
 * that it is gone, but no sweep of the table comes upon it. Without even that it is CMP_OWNER_NAMELESS: it works, but
 * nothing of its is ever taken over. */
typedef uint64_t cmp_owner;
#define CMP_OWNER_SLOTLESS UINT64_C(0xffff)
#define CMP_OWNER_NAMELESS (CMP_OWNER_SLOTLESS << 32)
#define CMP_OWNER_HAS_SLOT(owner) ((owner) >> 32 != CMP_OWNER_SLOTLESS)
#define CMP_MEMBERS_MOST 0xfffeu /* slots a table may have: the number after them is of those who found none */

struct cmp_member_shm {
    _Atomic uint64_t who;
    _Atomic uint32_t generation;
    uint32_t reserved;
};

struct cmp_members_shm {
    uint32_t nslots;
    uint32_t reserved;
    uint64_t pid_namespace; /* inode of the creator's; others are refused */
    struct cmp_member_shm slots[];
};

/* This process's handle to one table. Two handles of one process are two members. Threads may share one; all words
 * but shm are private to the process. */
struct cmp_members {
    struct cmp_members_shm *shm;
    uint32_t nslots;            /* as checked at attach */
    _Atomic uint32_t joining;   /* the epoch in which some thread is taking a slot, or has */
    _Atomic uint32_t epoch;     /* the epoch for which `me` holds */
    _Atomic uint64_t me;        /* cmp_owner */
    /* Called once by cmp_members_me when the table is full, to bury the dead; must not ask who it is. */
    void (*on_full)(void *arg);
    void *on_full_arg;
};

#define CMP_MEMBERS_SIZE(nslots) (sizeof(struct cmp_members_shm) + (nslots) * sizeof(struct cmp_member_shm))

/* `shm` is zeroed memory of CMP_MEMBERS_SIZE(nslots) bytes; only its first 16 are touched. */
void cmp_members_init(struct cmp_members_shm *shm, uint32_t nslots);
/* 0, -EXDEV: the table belongs to another pid namespace, -EPROTO: it cannot be one. Takes no slot, and clears the
 * handle's on_full. */
int cmp_members_attach(struct cmp_members *members, struct cmp_members_shm *shm);
/* Who I am there; takes a slot if this process has none yet. Never fails: without a slot at worst. A few ns when
 * already joined, some 30 us the first time in a process. */
cmp_owner cmp_members_me(struct cmp_members *members);
/* How this process is called without a slot: by its pid. Takes none. */
cmp_owner cmp_members_by_pid(const struct cmp_members *members);
/* Has this process taken a slot (or found none)? */
bool cmp_members_joined(const struct cmp_members *members);
/* Gives this process's slot back, having nothing owned. For orderly ends; no thread may be using the handle. */
void cmp_members_leave(struct cmp_members *members);
/* Who has slot number `slot` now, 0 if nobody or past the last. */
cmp_owner cmp_members_at(struct cmp_members *members, uint32_t slot);

/* Is this owner gone? Nobody and the nameless are never dead; a generation that has moved on is. About 20 us for a
 * process that lives, 2 us for a zombie. */
bool cmp_members_dead(struct cmp_members *members, cmp_owner owner);
/* The pid behind an owner, 0 if its generation has moved on. */
int32_t cmp_members_pid(struct cmp_members *members, cmp_owner owner);
/* Frees the slot of a dead member after its things were taken back; only one sweeper at a time may. */
void cmp_members_bury(struct cmp_members *members, cmp_owner owner);

#endif
