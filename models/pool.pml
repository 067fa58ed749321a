/* The pool (src/cmp/shm/pooltable.c; py/worker.c, roster.c, lead.c, supervisor.c): every task has one outcome, its
 * result if that was published, else its worker's loss, and the parent never sleeps while an outcome is due.
 *
 * TASKS tasks lie in the task queue, task t as item t. Each of WORKERS slots has a worker that is killed, KILLS in all,
 * before any store, and replaced once its death is settled. In the parent a thread waits for task 0 and leads until it
 * has its outcome; the supervisor looks after the rest. Their steps are what they do between two places where they let
 * go of the GIL. Workers meet each other in the take lock only; how a result gets into its queue is queue.pml's, and
 * sleeping on a queue eventcount.pml's: here one store publishes, and who waits is not enabled.
 *
 * A lock that is held by a live process may be waited for in vain, as a stopped process is alive (SIGSTOP): so the
 * freeze before a settlement may fail, and so may the reading of the results, whose lock a stopped sweeper may hold.
 *
 * Checked: the assertions, and that the parent ends (no invalid end state): it does when every task has its outcome. */
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef TASKS
#define TASKS 3
#endif
#ifndef KILLS
#define KILLS 2
#endif

#ifndef MUTANT
#define MUTANT 0
#endif
#define CLAIM_AFTER_HEAD 1      /* mutant: [queue.claim] after [queue.head] */
#define ANSWER_FIRST 2          /* mutant: [pool.answer] before the result is published */
#define NO_WITHDRAW 3           /* mutant: the repair leaves claims of items that are still there */
#define WITHDRAW_ALL 4          /* mutant: the repair withdraws claims of items that have left, too */
#define TRUST_CLAIM 5           /* mutant: the parent does not look whether the claimed task has left the queue */
#define SETTLE_UNDRAINED 6      /* mutant: the parent settles though it could not read all results */
#define SETTLE_FIRST 7          /* mutant: the parent settles before it reads the results */
#define WANT_AFTER_LOOK 8       /* mutant: the parent looks for results before [pool.want] */
#define TELL_FIRST 9            /* mutant: the worker looks at `wanted` before it publishes */
#define CLOSE_UNSETTLED 10      /* mutant: the slot is free again before its claim was looked at */
#define CLAIM_READ_FIRST 11     /* mutant: the parent reads the claim before the head */
#define LEAD_ENDS_SILENTLY 12   /* mutant: who stops leading does not ask for news of the rest */

#define NOBODY 15
#define NONE 15                 /* no task */
#define PARENT WORKERS

mtype = { OUT, RESULT, LOST };

/* Shared memory. */
byte head;                      /* of the task queue */
byte take_lock = NOBODY;
byte claim[WORKERS] = NONE;     /* the claimed item; NONE is the word 0 */
bool published[TASKS];          /* the result queue: */
bool drained[TASKS];
bool wanted;

bool told;                      /* the supervisor's eventfd */
bool alive[WORKERS];            /* what sentinels say */
byte killed;

/* The parent's. */
bool ended[WORKERS], settled[WORKERS], started[WORKERS];
byte nended;
mtype outcome[TASKS] = OUT;     /* OUT: in the book */
byte answered;
bool led, news, listening;
byte begun[TASKS];

#define DEAD(who) (who < WORKERS && !alive[who])
#define KILLED killed < KILLS && me < WORKERS -> killed++; goto died
#define MAY_LOCK (take_lock == NOBODY || DEAD(take_lock))

/* cmp_pooltable_withdraw, called by the repair of the take side. */
inline repair()
{
    i = 0;
    do
    :: i < WORKERS ->
        atomic {
            if
            :: KILLED
            :: claim[i] != NONE && (claim[i] == head || MUTANT == WITHDRAW_ALL) && MUTANT != NO_WITHDRAW ->
                claim[i] = NONE                                 /* [pool.withdraw] */
            :: !(claim[i] != NONE && (claim[i] == head || MUTANT == WITHDRAW_ALL) && MUTANT != NO_WITHDRAW)
            fi;
            i++
        }
    :: else -> break
    od;
    atomic { if :: KILLED :: dirty = false; i = 0 fi }          /* [mutex.repaired] */
}

inline tell()
{
    atomic { if :: wanted -> i = 1 :: else -> i = 0 fi };
    if
    :: i == 1 ->
        atomic { if :: KILLED :: i = (wanted -> 1 : 0); wanted = false fi };    /* [pool.tell] */
        if
        :: i == 1 -> atomic { if :: KILLED :: told = true; i = 0 fi }
        :: else
        fi
    :: else
    fi
}

active [WORKERS] proctype worker()
{
    byte me, task = NONE, i;
    bool dirty;
    me = _pid;
born:
    if
    :: atomic { started[me] -> started[me] = false; alive[me] = true }
    :: atomic { answered == TASKS && !started[me] -> goto gone }
    fi;
    do
    :: atomic { head < TASKS && MAY_LOCK -> dirty = (take_lock != NOBODY); take_lock = me };    /* else asleep */
       if
       :: dirty -> repair()
       :: else
       fi;
       if
       :: head < TASKS ->
#if MUTANT == CLAIM_AFTER_HEAD
            atomic { if :: KILLED :: task = head; head++ fi };
            atomic { if :: KILLED :: claim[me] = task fi };
#else
            atomic { if :: KILLED :: claim[me] = head fi };     /* [queue.claim] */
            atomic { if :: KILLED :: task = head; head++ fi };  /* [queue.head] */
#endif
            atomic { if :: KILLED :: take_lock = NOBODY fi };   /* [mutex.unlock] */
            atomic {                                            /* [pool.since] [pool.begun]: told by a loss, no more */
                if
                :: KILLED
                :: begun[task]++;
                   assert(begun[task] == 1)
                fi
            }
#if MUTANT == ANSWER_FIRST
            atomic { if :: KILLED :: claim[me] = NONE fi };
#endif
#if MUTANT == TELL_FIRST
            tell();
#endif
            atomic { if :: KILLED :: published[task] = true fi };       /* [queue.publish] of the result queue */
#if MUTANT != ANSWER_FIRST
            atomic { if :: KILLED :: claim[me] = NONE; task = NONE fi };        /* [pool.rest] [pool.answer] */
#endif
#if MUTANT != TELL_FIRST
            tell();
#endif
            task = NONE
       :: else -> atomic { if :: KILLED :: take_lock = NOBODY fi }
       fi
    :: atomic { killed < KILLS && head == TASKS -> killed++; goto died }        /* idle */
    :: atomic { answered == TASKS -> goto gone }                /* sent home */
    od;
died:
    atomic { alive[me] = false; task = NONE; dirty = false; i = 0; goto born };
gone:
    skip
}

#define UNREAD(t) (published[t] && !drained[t])
#define ANY_UNREAD (UNREAD(0) || UNREAD(1) || TASKS > 2 && UNREAD(2))

inline answer(t, what)
{
    if
    :: outcome[t] == OUT -> outcome[t] = what; answered++
    :: else
    fi
}

/* cmpy_lead_drain and take_all, with the GIL. */
inline drain()
{
    i = 0;
    do
    :: i < TASKS && UNREAD(i) -> drained[i] = true; answer(i, RESULT); i++
    :: i < TASKS && !UNREAD(i) -> i++
    :: i == TASKS -> break
    od;
    i = 0
}

#if MUTANT == CLAIM_READ_FIRST
#define CLAIM(slot) read[slot]
byte read[WORKERS];
#else
#define CLAIM(slot) claim[slot]
#endif

/* settle_one for the slots of `which`. */
inline settle_slots()
{
    atomic {
        i = 0;
        do
        :: i < WORKERS && which[i] ->
            if
            :: CLAIM(i) != NONE && (CLAIM(i) != seen || MUTANT == TRUST_CLAIM) ->
                if
                :: outcome[CLAIM(i)] == OUT ->
                    assert(!published[CLAIM(i)] && CLAIM(i) < head);
                    answer(CLAIM(i), LOST)
                :: else
                fi
            :: else
            fi;
            settled[i] = true;
            which[i] = false;
            nended--;
            i++
        :: i < WORKERS && !which[i] -> i++
        :: i == WORKERS -> break
        od;
        i = 0;
        seen = 0
    }
}

/* cmpy_roster_settle. Uses i, which, dirty, seen. */
inline settle()
{
    do
    :: nended > 0 ->
        atomic {
            i = 0;
            do
            :: i < WORKERS -> which[i] = ended[i] && !settled[i]; i++
            :: else -> i = 0; break
            od
        }
        /* Without the GIL: the freeze, which repairs; or it is in vain. */
        if
        :: atomic { MAY_LOCK -> dirty = (take_lock != NOBODY); take_lock = PARENT };
           if
           :: dirty -> repair()
           :: else
           fi;
           take_lock = NOBODY
        :: atomic { !MAY_LOCK }
        fi;
#if MUTANT != SETTLE_FIRST
        /* With it: the results that were there before and those that come meanwhile; or their lock is not to be had. */
        if
        :: atomic { drain() }
        :: atomic { ANY_UNREAD && MUTANT != SETTLE_UNDRAINED -> which[0] = false; which[1] = false; break }
#if MUTANT == SETTLE_UNDRAINED
        :: skip
#endif
        fi;
#endif
#if MUTANT == CLAIM_READ_FIRST
        atomic { i = 0; do :: i < WORKERS -> read[i] = claim[i]; i++ :: else -> i = 0; break od };
        seen = head;
#else
        seen = head;
#endif
        settle_slots()
    :: else -> break
    od
}

/* Waits for task 0. */
active proctype waiter()
{
    byte me = PARENT, i, seen;
    bool dirty, which[WORKERS];
    atomic { !led -> wanted = false; led = true; news = false };                /* [pool.unwant] */
    do
    :: outcome[0] != OUT -> break
    :: else ->
        settle();
        if
        :: outcome[0] != OUT
        :: atomic { outcome[0] == OUT && ANY_UNREAD -> drain() }
        :: atomic { outcome[0] == OUT && news -> news = false }                 /* disturbed: [engine.news] */
        fi
    od;
    atomic {                                                                    /* lead_end */
        led = false;
        if
        :: nended > 0 -> told = true
        :: nended == 0 && answered < TASKS && listening && MUTANT != LEAD_ENDS_SILENTLY ->
            wanted = true;                                                      /* [pool.want] */
            i = 1
        :: nended == 0 && !(answered < TASKS && listening && MUTANT != LEAD_ENDS_SILENTLY)
        fi
    }
    atomic { if :: i == 1 && ANY_UNREAD -> told = true :: else fi; i = 0 };
    goto died;
died:
    skip
}

active proctype supervisor()
{
    byte me = PARENT, i, seen;
    bool dirty, which[WORKERS];
    started[0] = true;
    started[1] = (WORKERS > 1);
    do
    :: answered == TASKS -> break
    :: else ->
        /* look: sentinels */
        atomic {
            i = 0;
            do
            :: i < WORKERS && !alive[i] && !started[i] && !ended[i] ->
                ended[i] = true;
                nended++;
                claim[i] = (MUTANT == CLOSE_UNSETTLED -> NONE : claim[i]);
                i++
            :: i < WORKERS && !(!alive[i] && !started[i] && !ended[i]) -> i++
            :: i == WORKERS -> i = 0; break
            od;
            if
            :: nended > 0 && led -> news = true                                 /* [engine.news] */
            :: else
            fi
        }
        if
        :: atomic { nended > 0 && !led -> led = true }; settle(); led = false
        :: nended == 0 || led
        fi;
        /* free_settled, and replace */
        atomic {
            i = 0;
            do
            :: i < WORKERS && settled[i] ->
                claim[i] = NONE;                                                /* [pool.free] [pool.close] */
                ended[i] = false;
                settled[i] = false;
                started[i] = true;                          /* [pool.open_begun] [pool.open_since] [pool.open] */
                i++
            :: i < WORKERS && !settled[i] -> i++
            :: i == WORKERS -> i = 0; break
            od
        }
        if
        :: atomic { !led && ANY_UNREAD -> drain() }
        :: led || !ANY_UNREAD
        fi;
        /* listen */
#if MUTANT == WANT_AFTER_LOOK
        if
        :: !led && ANY_UNREAD -> goto again
        :: else
        fi;
#endif
        atomic { listening = true; if :: !led -> wanted = true :: else fi };    /* [pool.want] */
#if MUTANT != WANT_AFTER_LOOK
        if
        :: atomic { !led && ANY_UNREAD -> wanted = false; goto again }          /* [pool.unwant] */
        :: led || !ANY_UNREAD
        fi;
#endif
        /* Sleeps in poll; while a death is not settled, for 20 ms at most. */
        if
        :: atomic { told -> told = false }
        :: !alive[0] && !started[0] && !ended[0]
        :: WORKERS > 1 && !alive[1] && !started[1] && !ended[1]
        :: nended > 0 && !led || settled[0] || WORKERS > 1 && settled[1]
        :: answered == TASKS
        fi;
again:
        listening = false
    od;
    atomic {
        /* No result of a task that counts as lost, and no task without its outcome. */
        i = 0;
        do
        :: i < TASKS ->
            assert(outcome[i] != OUT && (outcome[i] == RESULT || !published[i]));
            i++
        :: else -> break
        od
    };
    goto died;
died:
    skip
}
