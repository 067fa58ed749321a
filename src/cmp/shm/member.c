#include "shm/member.h"

#include "os/child.h"
#include "os/forkepoch.h"
#include "os/pidfd.h"
#include "os/procstat.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#define PID_BITS 22 /* the kernel's largest pid_max is 2^22 */
#define PID_MASK ((UINT64_C(1) << PID_BITS) - 1)
#define START_MASK ((UINT64_C(1) << (64 - PID_BITS)) - 1)

static_assert(sizeof(struct cmp_member_shm) == 16, "part of the layout");
static_assert(offsetof(struct cmp_members_shm, slots) == 16, "part of the layout");

static uint64_t make_who(int32_t pid, uint64_t start_ticks)
{
    return ((start_ticks & START_MASK) << PID_BITS) | ((uint64_t)pid & PID_MASK);
}

static int32_t pid_of(uint64_t who)
{
    return (int32_t)(who & PID_MASK);
}

static cmp_owner make_owner(uint32_t slot, uint32_t generation)
{
    return ((cmp_owner)(slot + 1) << 32) | generation;
}

/* The slot an owner names, NULL for nobody, the nameless and numbers that cannot be. */
static struct cmp_member_shm *slot_of(struct cmp_members *members, cmp_owner owner)
{
    uint64_t number = owner >> 32;
    if (number == 0 || number > members->nslots) return NULL;
    return &members->shm->slots[number - 1];
}

void cmp_members_init(struct cmp_members_shm *shm, uint32_t nslots)
{
    shm->nslots = nslots < CMP_MEMBERS_MOST ? nslots : CMP_MEMBERS_MOST;
    shm->pid_namespace = cmp_procstat_pid_namespace();
}

int cmp_members_attach(struct cmp_members *members, struct cmp_members_shm *shm)
{
    if (shm->pid_namespace != cmp_procstat_pid_namespace()) return -EXDEV;
    uint32_t nslots = shm->nslots; /* read once: what is checked is what is used */
    if (nslots > CMP_MEMBERS_MOST) return -EPROTO;
    *members = (struct cmp_members){.shm = shm, .nslots = nslots};
    return 0;
}

/* Has this process been forked into another pid namespace than the table's? Then it cannot say who it is, nor ask after
 * the others. Where /proc is out of reach (a chroot) it is believed to be in the same. */
static bool is_foreign(const struct cmp_members *members)
{
    uint64_t here = cmp_procstat_pid_namespace(), there = members->shm->pid_namespace;
    return here != 0 && there != 0 && here != there;
}

/* A free slot, by one CAS of `who`; -1 if there is none. */
static int64_t claim(struct cmp_members *members, uint64_t who)
{
    for (uint32_t i = 0; i < members->nslots; i++) {
        struct cmp_member_shm *slot = &members->shm->slots[i];
        uint64_t free_slot = 0;
        if (cmp_load(&slot->who, relaxed) != 0) continue;
        /* acquire: the generation read next is at least the one that the last burial left; pairs with its release. */
        if (cmp_cas(&slot->who, &free_slot, who, acq_rel, "member.claim")) return i;
    }
    return -1;
}

/* What of a start time an owner without a slot can say: 1 to 1023, or 0 if it is not known. */
static uint64_t digest(uint64_t start_ticks)
{
    return start_ticks == 0 ? 0 : start_ticks % 1023 + 1;
}

cmp_owner cmp_members_by_pid(const struct cmp_members *members)
{
    if (is_foreign(members)) return CMP_OWNER_NAMELESS;
    return CMP_OWNER_NAMELESS | digest(cmp_procstat_own_start()) << PID_BITS | (uint64_t)getpid();
}

static cmp_owner join(struct cmp_members *members)
{
    if (is_foreign(members)) return CMP_OWNER_NAMELESS;
    uint64_t who = make_who(getpid(), cmp_procstat_own_start());
    int64_t slot = claim(members, who);
    if (slot < 0 && members->on_full != NULL) {
        members->on_full(members->on_full_arg);
        slot = claim(members, who);
    }
    if (slot < 0) return cmp_members_by_pid(members);
    return make_owner((uint32_t)slot, cmp_load(&members->shm->slots[slot].generation, relaxed));
}

cmp_owner cmp_members_me(struct cmp_members *members)
{
    uint32_t epoch = cmp_fork_epoch();
    for (;;) {
        /* acquire: `me` of the thread that joined; pairs with the release below. */
        if (cmp_load(&members->epoch, acquire) == epoch) return cmp_load(&members->me, relaxed);
        /* One thread joins, the others wait for it. What a forked child inherits here is an older epoch, so a thread
         * that was joining in the parent holds up nobody in the child. These words are private to the process: no
         * fault points. */
        uint32_t joining = cmp_load(&members->joining, relaxed);
        if (joining == epoch || !cmp_private_cas(&members->joining, &joining, epoch, acquire)) {
            (void)sched_yield();
            continue;
        }
        cmp_private_store(&members->me, join(members), relaxed);
        cmp_private_store(&members->epoch, epoch, release);
    }
}

bool cmp_members_joined(const struct cmp_members *members)
{
    return cmp_load(&members->epoch, acquire) == cmp_fork_epoch();
}

/* The order matters: a claimer that finds the slot free finds the raised generation too. */
static void vacate(struct cmp_member_shm *slot, uint32_t generation)
{
    /* Release: who finds the generation raised finds all that this member did before it left; pairs with the acquire
     * in dead, on which a sweep builds. */
    cmp_store(&slot->generation, generation + 1, release, "member.raise");
    cmp_store(&slot->who, 0, release, "member.vacate"); /* pairs with the CAS in claim */
}

void cmp_members_leave(struct cmp_members *members)
{
    if (!cmp_members_joined(members)) return;
    cmp_owner me = cmp_load(&members->me, relaxed);
    struct cmp_member_shm *slot = slot_of(members, me);
    if (slot != NULL) vacate(slot, (uint32_t)me);
    cmp_private_store(&members->joining, 0, relaxed);
    cmp_private_store(&members->epoch, 0, release);
}

static uint64_t masked(uint64_t start_ticks)
{
    return start_ticks & START_MASK;
}

/* Is there no process any more with this pid and start time, of which `kept` says what is known? 0: nothing. */
static bool gone(int32_t pid, uint64_t start, uint64_t (*kept)(uint64_t start_ticks))
{
    int fd;
    uint64_t start_now = 0;
    bool ended = false, lives = false, zombie = false;
    switch (cmp_pidfd_open(pid, &fd)) {
    case 0:
        ended = cmp_pidfd_dead(fd);
        close(fd);
        if (ended) return true;
        lives = true; /* somebody: is it he? */
        break;
    case -ESRCH: return true;
    case -ENOSYS: break;
    default:
        /* No descriptor to ask with. That nobody at all has the pid can still be seen, and that a child of ours has
         * ended which nobody has reaped; more next time. */
        return (kill(pid, 0) < 0 && errno == ESRCH) || cmp_child_has_ended(pid);
    }
    switch (cmp_procstat_read(pid, &start_now, &zombie)) {
    /* Also a process whose first thread has ended looks like a zombie while its others go on. */
    case 0: return (zombie && !lives) || (start != 0 && kept(start_now) != start);
    /* Where /proc shows a user his own processes only (hidepid), a stranger's looks like none. */
    case -ESRCH: return !lives && kill(pid, 0) < 0 && errno == ESRCH;
    default: return false;
    }
}

static bool slotless_dead(const struct cmp_members *members, cmp_owner owner)
{
    int32_t pid = pid_of(owner);
    if (pid == 0 || is_foreign(members) || owner == cmp_members_by_pid(members)) return false;
    int saved = errno;
    bool dead = gone(pid, (uint32_t)owner >> PID_BITS, digest);
    errno = saved;
    return dead;
}

bool cmp_members_dead(struct cmp_members *members, cmp_owner owner)
{
    if (!CMP_OWNER_HAS_SLOT(owner)) return slotless_dead(members, owner);
    struct cmp_member_shm *slot = slot_of(members, owner);
    if (slot == NULL || is_foreign(members)) return false;
    uint64_t who = cmp_load(&slot->who, acquire);
    /* Read after `who`: if it has not moved on, `who` was the owner's (vacate raises it first), or that owner is yet to
     * come: cmp_members_at met the slot between the two stores of vacate. */
    if (cmp_load(&slot->generation, acquire) != (uint32_t)owner) return true;
    if (who == 0 || who == make_who(getpid(), cmp_procstat_own_start())) return false;
    int saved = errno;
    bool dead = gone(pid_of(who), who >> PID_BITS, masked);
    errno = saved;
    /* Who is gone and still there will never store anything. Who left first may have made room for the owner. */
    if (dead && cmp_load(&slot->who, acquire) != who) dead = cmp_load(&slot->generation, acquire) != (uint32_t)owner;
    return dead;
}

int32_t cmp_members_pid(struct cmp_members *members, cmp_owner owner)
{
    if (!CMP_OWNER_HAS_SLOT(owner)) return pid_of(owner);
    struct cmp_member_shm *slot = slot_of(members, owner);
    if (slot == NULL) return 0;
    uint64_t who = cmp_load(&slot->who, acquire);
    return cmp_load(&slot->generation, relaxed) == (uint32_t)owner ? pid_of(who) : 0;
}

cmp_owner cmp_members_at(struct cmp_members *members, uint32_t slot)
{
    if (slot >= members->nslots) return 0;
    /* Before `who`: if that member leaves meanwhile this names one that was; between the stores of vacate, one that is
     * yet to come and is not dead. Acquire keeps the two loads in order. */
    uint32_t generation = cmp_load(&members->shm->slots[slot].generation, acquire);
    return cmp_load(&members->shm->slots[slot].who, acquire) == 0 ? 0 : make_owner(slot, generation);
}

void cmp_members_bury(struct cmp_members *members, cmp_owner owner)
{
    struct cmp_member_shm *slot = slot_of(members, owner);
    if (slot != NULL && cmp_load(&slot->generation, relaxed) == (uint32_t)owner) vacate(slot, (uint32_t)owner);
}
