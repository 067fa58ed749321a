/* Joining (src/cmp/shm/queue.c, queue_take.c): join returns when no item is unfinished, be it for a moment only, also
 * where a shutdown throws items away, damage makes a taker pass over some, and processes are killed at it.
 *
 * PRODUCERS put ITEMS between them; TAKERS take them one by one, each followed by its task_done, and stop when they
 * like; a closer may shut the queue at once and throws away what is left, up to BATCH at a time; a joiner waits. The
 * record of item DAMAGED cannot be read: who comes to it passes over all that is there. Before any store each process
 * but the joiner may be killed, KILLS in all.
 *
 * What one step is, is told in queue.pml. How a put, a take and their repair move head and tail is that model's, too:
 * here they are two words, which a kill leaves as they are. Sleeping on an event count is eventcount.pml's: here a
 * notification is a flag that who prepares to sleep takes away, and a sleeper has its timed look as often as somebody
 * has been killed.
 *
 * Checked: the joiner returns only if a moment came when nothing was unfinished (a task_done counts from its look at
 * the tail); it may sleep for ever only if there was none, and something is left for others to do: an item in an open
 * queue, or one whose taker was killed. No task_done comes too often. All this but for what a kill may do, as
 * queue_layout.h has it: what was counted by one who died before it left is counted twice, and a moment that was not
 * noted is missed. */
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifndef TAKERS
#define TAKERS 1
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef DAMAGED
#define DAMAGED 0               /* ITEMS: none is */
#endif
#define BATCH 2

#ifndef MUTANT
#define MUTANT 0
#endif
#define DAMAGE_UNCOUNTED 1      /* mutant: damage that is thrown away leaves without being done */
#define PASSED_UNCOUNTED 2      /* mutant: what a taker passes over with the damaged item is not done */
#define TOLD_COUNTED 3          /* mutant: the item that the taker is told of is done already */
#define COUNT_AFTER_HEAD 4      /* mutant: what is thrown away is done after [queue.head] */
#define JOINER_ONLY_WAITS 5     /* mutant: a joiner leaves it to the closer to throw away what is left */
#define TAIL_FIRST 6            /* mutant: a joiner looks at the tail before `dones` */
#define NO_NOTE 7               /* mutant: no [queue.idle] */
#define NO_NOTIFY 8             /* mutant: joiners are not told of [queue.idle] */
#define SHUT_SILENTLY 9         /* mutant: joiners are not told of [queue.shut], and the closer throws nothing away */

#define CLOSER (PRODUCERS + TAKERS)
#define JOINER (CLOSER + 1)
#define NOBODY (JOINER + 1)

/* Shared memory. */
byte put_lock = NOBODY, take_lock = NOBODY;
byte tail, head, dones, idle_at;
bool shut;
bool told;                      /* the joiner has been notified since it prepared to sleep */

bool dead[NOBODY];
byte killed, ended, to_put = ITEMS;

/* The books: what is done of what was put, what somebody is just counting, whether anything was counted twice. */
bool done[ITEMS], pending[ITEMS];
bool lost, twice;
byte unnoted = ITEMS + 1;       /* the tail whose [queue.idle] a kill has prevented */
bool joining, may_return, has_to_return;

#define MAY_LOCK(mutex) (mutex == NOBODY || dead[mutex])
#define KILLED killed < KILLS && me != JOINER -> killed++; goto died

#define WAITS_FOR(i) (tail > i && !done[i])
#define WAITS_LONGER_FOR(i) (tail > i && !done[i] && !pending[i])
#if ITEMS == 2
#define UNFINISHED (WAITS_FOR(0) || WAITS_FOR(1))
#define UNFINISHED_YET (WAITS_LONGER_FOR(0) || WAITS_LONGER_FOR(1))
#else
#define UNFINISHED (WAITS_FOR(0) || WAITS_FOR(1) || WAITS_FOR(2))
#define UNFINISHED_YET (WAITS_LONGER_FOR(0) || WAITS_LONGER_FOR(1) || WAITS_LONGER_FOR(2))
#endif

#define NOTE_IN_BOOKS \
    may_return = may_return || joining && !UNFINISHED_YET; \
    has_to_return = has_to_return || joining && !UNFINISHED && tail != unnoted

#define MARK(what, from, to, value) \
    i = from; \
    do \
    :: i < to -> what[i] = value; i++ \
    :: else -> i = 0; break \
    od

/* cmp_queue_count_done of the items from..to - 1: as many as are unfinished in n. Uses i, seen_dones, seen_tail. */
inline count_done(from, to)
{
    do
    :: atomic {
            seen_dones = dones;
            seen_tail = tail;
            n = (to - (from) < tail - dones -> to - (from) : tail - dones);
            if
            :: n == 0 -> break
            :: n > 0 -> MARK(pending, from, to, true); NOTE_IN_BOOKS
            fi
       }
       atomic {
            if
            :: killed < KILLS && me != JOINER -> MARK(pending, from, to, false); killed++; goto died
            :: dones == seen_dones ->
                dones = dones + n;                                              /* [queue.done] */
                assert(dones <= tail);
                MARK(pending, from, to, false);
                MARK(done, from, to, true);
                NOTE_IN_BOOKS;
                counted = true;
                break
            :: dones != seen_dones -> MARK(pending, from, to, false)
            fi
       }
    od;
    if
    :: n > 0 && seen_dones + n == seen_tail ->
        atomic {
            if
            :: killed < KILLS && me != JOINER -> has_to_return = false; unnoted = seen_tail; killed++; goto died
            :: MUTANT == NO_NOTE
            :: MUTANT != NO_NOTE -> idle_at = (seen_tail > idle_at -> seen_tail : idle_at)  /* [queue.idle] */
            fi
        }
        atomic { if :: KILLED :: told = (MUTANT != NO_NOTIFY || told) fi }
    :: else
    fi;
    atomic { seen_dones = 0; seen_tail = 0 }
}

/* pass_damage, with the take lock held. */
inline pass_damage(told_of)
{
    atomic { MAY_LOCK(put_lock) -> put_lock = me };
    to = tail;
    if
    :: head + told_of < to && !(MUTANT == DAMAGE_UNCOUNTED && told_of == 0) &&
       !(MUTANT == PASSED_UNCOUNTED && told_of == 1) ->
        count_done(head + (MUTANT == TOLD_COUNTED -> 0 : told_of), to)
    :: else
    fi;
    atomic {
        if
        :: KILLED
        :: mine = (told_of == 1 -> head : ITEMS);
           head = to;                                                           /* [queue.head_damage] */
           counted = false;
           to = 0
        fi
    }
    atomic { if :: KILLED :: put_lock = NOBODY fi }                             /* [mutex.unlock] */
}

/* cmp_queue_discard. */
inline discard()
{
    do
    :: atomic { MAY_LOCK(take_lock) -> take_lock = me };
       if
       :: head == tail -> atomic { if :: KILLED :: take_lock = NOBODY; break fi }           /* [mutex.unlock] */
       :: head != tail && head == DAMAGED -> pass_damage(0)
       :: head != tail && head != DAMAGED ->
            to = (tail - head < BATCH -> tail : head + BATCH);
            to = (head < DAMAGED && DAMAGED < to -> DAMAGED : to);
#if MUTANT != COUNT_AFTER_HEAD
            count_done(head, to);
            atomic { if :: KILLED :: head = to; counted = false; to = 0 fi }    /* [queue.head] */
#else
            atomic { if :: KILLED :: mine = head; head = to fi };
            count_done(mine, to);
            atomic { counted = false; mine = ITEMS; to = 0 }
#endif
       fi;
       atomic { if :: KILLED :: take_lock = NOBODY fi }                         /* [mutex.unlock] */
    od
}

active [PRODUCERS] proctype producer()
{
    byte me = _pid;
    do
    :: atomic { to_put > 0 && MAY_LOCK(put_lock) -> put_lock = me };
       if
       :: to_put > 0 && !shut ->
            atomic { if :: KILLED :: tail++; to_put-- fi };                     /* [queue.publish] */
            atomic { if :: KILLED :: put_lock = NOBODY fi }                     /* [mutex.unlock] */
       :: else -> atomic { if :: KILLED :: put_lock = NOBODY; goto over fi }    /* [mutex.unlock] */
       fi
    :: to_put == 0 -> goto over
    od;
died:
    dead[me] = true;
over:
    ended++
}

active [TAKERS] proctype taker()
{
    byte me = _pid, mine = ITEMS, to, n, i, seen_dones, seen_tail;
    bool counted;
    do
    :: atomic { head != tail && MAY_LOCK(take_lock) -> take_lock = me };        /* else asleep on `items` */
       if
       :: shut || head == tail ->
            atomic { if :: KILLED :: take_lock = NOBODY; goto over fi }         /* [mutex.unlock] */
       :: !shut && head != tail && head == DAMAGED -> pass_damage(1)
       :: !shut && head != tail && head != DAMAGED ->
            atomic { if :: KILLED :: mine = head; head++ fi }                   /* [queue.head] */
       fi;
       atomic { if :: KILLED :: take_lock = NOBODY fi };                        /* [mutex.unlock] */
       count_done(mine, mine + 1);                                              /* the caller's task_done */
       atomic { assert(n == 1 || twice); mine = ITEMS; counted = false; n = 0 }
    :: goto over
    od;
died:
    atomic {
        dead[me] = true;
        lost = lost || mine < ITEMS && !done[mine];
        twice = twice || counted && mine == ITEMS
    }
over:
    ended++
}

active proctype closer()
{
    byte me = _pid, mine = ITEMS, to, n, i, seen_dones, seen_tail;
    bool counted;
    if
    :: goto over
    :: atomic { MAY_LOCK(take_lock) -> take_lock = me };
       atomic { MAY_LOCK(put_lock) -> put_lock = me };
       atomic { if :: KILLED :: shut = true fi };                               /* [queue.shut] */
       atomic { if :: KILLED :: put_lock = NOBODY fi };                         /* [mutex.unlock] */
       atomic { if :: KILLED :: take_lock = NOBODY fi };                        /* [mutex.unlock] */
#if MUTANT != SHUT_SILENTLY
       atomic { if :: KILLED :: told = true fi };
       discard();
#endif
       goto over
    fi;
died:
    atomic { dead[me] = true; twice = twice || counted };
over:
    ended++
}

/* Is there anything that others would have to do? */
#define LEFT_TO_OTHERS (lost || !shut && head != tail)
#define ALL_ENDED (ended == PRODUCERS + TAKERS + 1)

active proctype joiner()
{
    byte me = _pid, mine = ITEMS, to, n, i, seen_dones, seen_tail, target, seen, ticks;
    bool counted;
    atomic { target = tail; joining = true; NOTE_IN_BOOKS };
    do
    :: told = false;                                            /* prepares, and looks */
       if
       :: shut && head != tail && MUTANT != JOINER_ONLY_WAITS -> discard()
       :: else
       fi;
       seen = (MUTANT == TAIL_FIRST -> tail : dones);
       if
       :: seen == (MUTANT == TAIL_FIRST -> dones : tail) -> break
       :: else
       fi;
       if
       :: idle_at >= target -> break
       :: else
       fi;
       atomic {
            seen = 0;
            if
            :: told
            :: !told && killed > ticks -> ticks++
            :: !told && ALL_ENDED && killed == ticks && LEFT_TO_OTHERS && !has_to_return -> goto waits
            fi
       }
    od;
    assert(may_return || twice);
waits:
    skip;
died:
    skip
}
