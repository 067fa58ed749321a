/* Members: the one notion of who. A table of slots in a segment or on a lock page; a process takes a slot at its
 * first use after birth, and everything owned (locks, blocks, claims, tickets) names slot and generation.
 *
 * One slot: `who` = pid (22 bits) and start time in clock ticks (42 bits) in one word, so that one CAS claims it
 * whole, 0 when free; `generation`, raised by the sweep just before it frees the slot. A kill between these two
 * stores raises the generation once more at the next sweep, which is harmless.
 *
 * A member is dead when its pidfd polls readable, or no process has that pid, or pid and start time disagree; an
 * unreaped zombie is dead. Where no descriptor is left to ask with, it counts as alive until the next look.
 * A forked child is a new member: handles notice by cmp_fork_epoch() (os/forkepoch.h) and join again. */
#ifndef CMP_SHM_MEMBER_H
#define CMP_SHM_MEMBER_H

#include "os/atomics.h"

#include <stdbool.h>
#include <stdint.h>

/* slot + 1 in bits 32-47, generation in bits 0-31; 0 is nobody, CMP_OWNER_NAMELESS a process that found no slot:
 * it works, but nothing of its is ever taken over. */
typedef uint64_t cmp_owner;
#define CMP_OWNER_NAMELESS ((cmp_owner)0xffff << 32)

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

/* This process's handle to one table. */
struct cmp_members {
    struct cmp_members_shm *shm;
    _Atomic uint64_t me; /* cmp_owner, valid while epoch is the process's */
    _Atomic uint32_t epoch;
};

void cmp_members_init(struct cmp_members_shm *shm, uint32_t nslots);
/* 0, or -EXDEV: the table belongs to another pid namespace. Costs nothing and takes no slot. */
int cmp_members_attach(struct cmp_members *members, struct cmp_members_shm *shm);
/* Who I am there; takes a slot if this process has none yet (a full table is swept of its dead first, by the
 * caller's `sweep`, if given). Never fails: nameless at worst. A few ns when already joined. */
cmp_owner cmp_members_me(struct cmp_members *members);
/* Gives this process's slot back, having nothing owned. For orderly ends. */
void cmp_members_leave(struct cmp_members *members);

/* Is this owner gone? Nobody and the nameless are never dead; a generation that has moved on is. About 2 us. */
bool cmp_members_dead(struct cmp_members *members, cmp_owner owner);
/* The pid behind an owner, 0 if its generation has moved on. */
int32_t cmp_members_pid(struct cmp_members *members, cmp_owner owner);
/* Frees the slot of a dead member after its things were taken back; only one sweeper at a time may. */
void cmp_members_bury(struct cmp_members *members, cmp_owner owner);

#endif
