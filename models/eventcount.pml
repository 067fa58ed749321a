/* The event count (src/cmp/shm/eventcount.c): no wake-up is lost, and one timed look mends what a death leaves.
 *
 * PRODUCERS publish ITEMS between them and notify; CONSUMERS wait as cmp_eventcount_wait does, without spinning (a spin
 * is a look before it prepares, which the first look stands for); a disturber moves `news` and notifies all, as
 * cmp_queue_disturb does. Before any store each process may be killed, KILLS in all, also asleep and also woken and not
 * yet running. GIVEUPS sleepers may leave for good, by deadline or signal, owing nothing.
 *
 * What one step is. A store, a CAS, a futex call is one step; so is a load that another process's store may pass. What
 * touches only the process's own variables goes with the step before it. A load followed by a CAS that is repeated
 * until it succeeds is one step (nothing moved in between, or it would not have succeeded); a CAS whose failure is
 * taken for an answer ([ec.wake] in wake_one, [ec.settle], [ec.quiet]) has its load as a step of its own. FUTEX_WAIT
 * compares and sleeps in one step, as the kernel does.
 *
 * Checked: nobody sleeps for ever while there is something for him (spin's invalid end states: a sleeper may end only
 * when all is put and nothing is left). A sleeper has its timed look only as often as somebody has been killed: so
 * without a kill no tick is ever needed, and after a kill one look of each sleeper is enough for wake-ups to work
 * again.
 *
 * Memory is sequentially consistent here; docs/ARCHITECTURE.md says why that is enough. */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef ITEMS
#define ITEMS 3
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GIVEUPS
#define GIVEUPS 0
#endif
#ifndef DISTURBERS
#define DISTURBERS 0
#endif

/* The mutants: each takes away or moves one thing that the proof in eventcount.c rests on. */
#ifndef MUTANT
#define MUTANT 0
#endif
#define NOTIFY_BEFORE_PUBLISH 1  /* mutant: rule 1, the notifier's order */
#define NO_LOOK_AFTER_PREPARE 2  /* mutant: rule 1, the waiter's order */
#define NO_HAND_ON 3             /* mutant: rule 3, the woken one goes its way */
#define NO_LOOK_AFTER_SETTLE 4   /* mutant: rule 3, the look after [ec.settle] */
#define QUIET_BY_STORE 5         /* mutant: rule 3, [ec.quiet] whatever the word is now */
#define SEQUENCE_STANDS 6        /* mutant: rule 2, [ec.wake] does not raise the sequence */
#define PREPARE_KEEPS_WAKING 7   /* mutant: rules 3 and 4, who prepares leaves WAKING standing */
#define NO_TIMED_LOOK 8          /* mutant: rule 4, sleepers never look by themselves */

mtype = { QUIET, SLEEPERS, WAKING };

mtype state = QUIET;   /* bits 0-1 of the word */
byte sequence = 0;     /* bits 2-31: it rises a few times only, so it does not wrap here */
byte to_put = ITEMS;   /* puts not begun */
byte items = 0;        /* published, not taken: what is waited for */
byte killed = 0;
byte gave_up = 0;
byte working = PRODUCERS + DISTURBERS;
bool news = false;     /* of consumer 0, which is looked at before each sleep (on_look) */
bool asleep[CONSUMERS];
byte ticks[CONSUMERS];

/* The first choice of a step that stores: killed before it. */
#define KILLED killed < KILLS -> killed++; goto dead

inline futex_wake_one(n)
{
    if
    :: asleep[0] -> asleep[0] = false; n = 1
#if CONSUMERS > 1
    :: asleep[1] -> asleep[1] = false; n = 1
#endif
#if CONSUMERS > 2
    :: asleep[2] -> asleep[2] = false; n = 1
#endif
    :: else -> n = 0
    fi
}

/* The word seen a step ago is (seen_state, seen_sequence). */
inline wake_one()
{
    atomic {
        if
        :: KILLED
        :: state == seen_state && sequence == seen_sequence ->
            state = WAKING;                                     /* [ec.wake] */
            if
            :: MUTANT == SEQUENCE_STANDS
            :: else -> sequence++
            fi;
            seen_sequence = sequence;
            n = 1
        :: !(state == seen_state && sequence == seen_sequence) -> n = 0
        fi;
        seen_state = 0
    }
    if
    :: n == 1 ->
        atomic { if :: KILLED :: futex_wake_one(n) fi };
        if
        :: n == 0 ->
            atomic {
                if
                :: KILLED
                :: MUTANT == QUIET_BY_STORE || (state == WAKING && sequence == seen_sequence) ->
                    state = QUIET                               /* [ec.quiet] */
                :: MUTANT != QUIET_BY_STORE && !(state == WAKING && sequence == seen_sequence)
                fi;
                seen_sequence = 0
            }
        :: else -> atomic { n = 0; seen_sequence = 0 }
        fi
    :: else -> seen_sequence = 0
    fi
}

inline load_word()
{
    seen_state = state;
    seen_sequence = sequence
}

inline notify_one()
{
    atomic { load_word() };
    if
    :: seen_state == SLEEPERS -> wake_one()
    :: else -> atomic { seen_state = 0; seen_sequence = 0 }
    fi
}

active [PRODUCERS] proctype producer()
{
    byte n, seen_sequence;
    mtype seen_state;
    do
    :: atomic {
            to_put > 0 -> to_put--;
            if
            :: killed < KILLS -> killed++; goto dead
            :: MUTANT != NOTIFY_BEFORE_PUBLISH -> items++       /* the publishing store of whatever is waited for */
            :: MUTANT == NOTIFY_BEFORE_PUBLISH
            fi
       }
       notify_one();
#if MUTANT == NOTIFY_BEFORE_PUBLISH
       atomic { if :: killed < KILLS -> killed++; goto dead :: items++ fi }
#endif
    :: atomic { to_put == 0 -> break }
    od;
dead:
    atomic { n = 0; seen_state = 0; seen_sequence = 0; working-- }
}

#if DISTURBERS > 0
active [DISTURBERS] proctype disturber()
{
    atomic { if :: KILLED :: news = true fi };
    /* The loop in notify_all: one step, being repeated until it succeeds. */
    atomic {
        if
        :: KILLED
        :: state != QUIET -> state = QUIET; sequence++          /* [ec.wake_all] */
        :: state == QUIET -> goto dead
        fi
    }
    atomic {
        if
        :: KILLED
        :: asleep[0] = false;
#if CONSUMERS > 1
           asleep[1] = false;
#endif
#if CONSUMERS > 2
           asleep[2] = false
#endif
        fi
    }
dead:
    working--
}
#endif

#define NOTHING_COMES (working == 0)
#define NOTHING_LEFT (items == 0 && !(me == 0 && news))

/* look(): takes an item, or sees to its own business. */
inline look()
{
    if
    :: me == 0 && news -> news = false; got = true
    :: !(me == 0 && news) && items > 0 -> items--; got = true
    :: !(me == 0 && news) && items == 0 -> got = false
    fi
}

active [CONSUMERS] proctype consumer()
{
    byte n, me, key, seen_sequence;
    mtype seen_state;
    bool got;
    me = _pid - PRODUCERS - DISTURBERS;
wait:
    atomic { look(); if :: got -> got = false; goto wait :: else fi }
prepare:
    atomic {
        if
        :: KILLED
        :: MUTANT != PREPARE_KEEPS_WAKING || state == QUIET -> state = SLEEPERS     /* [ec.prepare] */
        :: MUTANT == PREPARE_KEEPS_WAKING && state != QUIET
        fi;
        key = sequence
    }
#if MUTANT != NO_LOOK_AFTER_PREPARE
    atomic { look(); if :: got -> got = false; key = 0; goto hand_on :: else fi };
#endif
    atomic {                                                    /* FUTEX_WAIT */
        if
#if MUTANT == PREPARE_KEEPS_WAKING
        :: sequence == key -> asleep[me] = true
        :: sequence != key
#else
        :: state == SLEEPERS && sequence == key -> asleep[me] = true
        :: !(state == SLEEPERS && sequence == key)
#endif
        fi;
        key = 0
    }
    atomic {
        if
        :: !asleep[me]
        /* the timed look: prepares */
        :: asleep[me] && ticks[me] < killed && MUTANT != NO_TIMED_LOOK -> ticks[me]++; asleep[me] = false
           goto prepare
        :: asleep[me] && gave_up < GIVEUPS -> gave_up++; asleep[me] = false; goto dead
        :: asleep[me] && killed < KILLS -> killed++; asleep[me] = false; goto dead
        :: asleep[me] && NOTHING_COMES && NOTHING_LEFT -> asleep[me] = false; goto dead
        fi
    }
    atomic { look(); if :: got -> got = false; goto hand_on :: else -> goto prepare fi };
hand_on:
#if MUTANT == NO_HAND_ON
    goto done;
#endif
    atomic { n = (items > 0 -> 1 : 0) };                        /* more() */
    atomic { load_word() };                                     /* cmp_eventcount_leave */
    if
    :: n == 1 && seen_state != QUIET -> n = 0; wake_one()
    :: n == 0 && seen_state == WAKING ->
        atomic {
            if
            :: KILLED
            :: state == WAKING && sequence == seen_sequence -> state = SLEEPERS; n = 1      /* [ec.settle] */
            :: !(state == WAKING && sequence == seen_sequence)
            fi;
            seen_state = 0;
            seen_sequence = 0
        }
        if
        :: n == 1 && items > 0 && MUTANT != NO_LOOK_AFTER_SETTLE -> n = 0; notify_one()
        :: else -> n = 0
        fi
    :: else -> atomic { n = 0; seen_state = 0; seen_sequence = 0 }
    fi;
done:
    if
    :: goto wait
    :: goto dead                                                /* has what it wants, and never comes back */
    fi;
dead:
    atomic { n = 0; got = false; key = 0; seen_state = 0; seen_sequence = 0 }
}
