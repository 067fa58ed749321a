/* For tests of processes that find the member table full: every slot is somebody's who lives. */
#ifndef CMP_TESTS_CROWDED_H
#define CMP_TESTS_CROWDED_H

#include "shm/member.h"

/* This process takes a slot, and then all that are free: whoever is forked from now on has none. */
static inline void crowd(struct cmp_members *members)
{
    cmp_owner me = cmp_members_me(members);
    uint64_t who = cmp_load(&members->shm->slots[(me >> 32) - 1].who, relaxed);
    for (uint32_t i = 0; i < members->nslots; i++)
        if (cmp_load(&members->shm->slots[i].who, relaxed) == 0)
            cmp_store(&members->shm->slots[i].who, who, relaxed, "test.crowd");
}

#endif
