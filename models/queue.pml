/* The queue (src/cmp/shm/queue_put.c, queue_take.c, queue_repair.c, sweep.c, mutex.c): what the dead leave is put right
 * by whoever locks a side after them, each item that was published leaves once and in order, and nothing leaks.
 *
 * Producer 0 puts two items in one batch, the others one each; consumer 0 takes up to two at a time, the others one.
 * Every item lies in a block; a chunk holds RECORDS of them; at most CAPACITY are in the queue. A sweeper sweeps while
 * the others work, as the survivors of a death do. Before any store each process, the sweeper too, may be killed, KILLS
 * in all: so who repairs may die of it. When all have ended an heir, which is not killed, sweeps, takes what is left
 * and looks at the books.
 *
 * What one step is: a store, a lock, an unlock. What the process reads of words that its lock guards, of records
 * already published, or of itself goes with the step before. The other side's index is read and cached in one step: it
 * only grows, so an older value is merely a later step of the other side. A robust mutex is the number of its holder;
 * who locks after a dead one knows it (EOWNERDEAD). Left out: sleeping (eventcount.pml; here a process is simply not
 * enabled while there is nothing for it), the allocator's own steps (a block is FREE or somebody's in one step), inline
 * records (no block has to come back), damaged bytes, shutdown and join (joinable.pml), the eventfd, and claims
 * (pool.pml).
 *
 * Checked: the assertions, and that all survivors end (no invalid end state). */
#ifndef PRODUCERS
#define PRODUCERS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#ifndef KILLS
#define KILLS 2
#endif
#ifndef RECORDS
#define RECORDS 1
#endif
#ifndef CAPACITY
#define CAPACITY 2
#endif
#ifndef SWEEPS
#define SWEEPS 1                /* 0: only the heir sweeps */
#endif
#define ITEMS (PRODUCERS + 1)
#define BATCH 2

#ifndef MUTANT
#define MUTANT 0
#endif
#define PUBLISH_FIRST 1         /* mutant: [queue.publish] before the record and its block are whole */
#define TRUST_TAIL_OFF 2        /* mutant: the put repair trusts tail_off */
#define NO_ADOPT 3              /* mutant: the put repair does not look for a linked chunk */
#define NO_CONDEMN 4            /* mutant: blocks given to items that were never published stay */
#define CONDEMN_ANY 5           /* mutant: the put repair condemns whatever lies behind the tail */
#define NO_GIVE_BACK 6          /* mutant: blocks held for items that never left stay held */
#define TRUST_HEAD_CHUNK 7      /* mutant: the take repair does not walk on to the head's chunk */
#define TRUST_HEAD_OFF 8        /* mutant: the take repair trusts head_off */
#define SWEEP_UNFROZEN 9        /* mutant: the sweep judges without locking the queue */
#define BURY_FIRST 10           /* mutant: the sweep buries before it judges */
#define LINK_FIRST 11           /* mutant: [chunk.link] before [chunk.first] */
#define LINK_IN_BATCH 12        /* mutant: a chunk is linked while records before it are unpublished */

/* Payload blocks are numbered by their items, so that no two states differ by mere names; then chunks; 0 is none. */
#define BLOCK_OF(producer, number) (1 + (number) + (producer) + (producer > 0 -> 1 : 0))
#define CHUNKS 5
#define REFS (ITEMS + CHUNKS)
#define END 15                  /* the mark behind a chunk's last record */

#define SWEEPER (PRODUCERS + CONSUMERS)
#define LAST_SWEEPER (SWEEPER + 1)
#define HEIR (SWEEPER + 2)
#define NOBODY (SWEEPER + 3)

mtype = { FREE, MEMBER, ITEM, CHUNK };

/* A block's tenure, and what lies in a chunk. */
mtype kind[REFS + 1] = FREE;
byte whose[REFS + 1];               /* a member, or an index */
byte first[REFS + 1], next[REFS + 1];
byte record[(REFS + 1) * (RECORDS + 1)];

byte put_lock = NOBODY, take_lock = NOBODY;
byte tail, tail_chunk, tail_off, head_cache, origin;
byte head, head_chunk, head_off, tail_cache;

bool dead[NOBODY], buried[NOBODY];
byte killed, producers_ended, consumers_ended;
bool sweeper_ended, swept;

/* The books: how many items of each producer were published, and how many have left. */
byte sent[PRODUCERS], gone[PRODUCERS];

#define RECORD(ref, at) record[(ref) * (RECORDS + 1) + (at)]
#define SET_TENURE(ref, new_kind, new_whose) kind[ref] = new_kind; whose[ref] = new_whose
#define HEAD_CHUNK (head_chunk != 0 -> head_chunk : origin)
#define MAY_LOCK(mutex) (mutex == NOBODY || dead[mutex])
#define LOCK(mutex) repair = (mutex != NOBODY); mutex = me      /* [mutex.locked] */

/* The first choice of a step that stores: killed before it. */
#define KILLED killed < KILLS && me < LAST_SWEEPER -> killed++; goto died

/* Back to the allocator, with what lay in it, so that states that differ in nothing else are one. */
#define RELEASE(ref) \
    SET_TENURE(ref, FREE, 0); \
    first[ref] = 0; \
    next[ref] = 0; \
    RECORD(ref, 0) = 0; \
    RECORD(ref, 1) = 0; \
    RECORD(ref, RECORDS) = 0

/* The place of record `index` in a chunk, found by walking from its first. */
#define FIND(chunk, index) ((index) - first[chunk])

/* A chunk that was linked and not yet taken into the books. */
#define ADOPT(chunk) \
    atomic { if :: KILLED :: SET_TENURE(chunk, CHUNK, first[chunk]) fi };       /* [queue.adopt] */ \
    atomic { if :: KILLED :: tail_chunk = chunk fi }                            /* [queue.adopt_chunk] */

/* cmp_queue_repair_put. Uses i, ref. */
inline repair_put()
{
    if
    :: tail_chunk == 0 && origin != 0 -> ADOPT(origin)
    :: tail_chunk != 0 && next[tail_chunk] != 0 && MUTANT != NO_ADOPT -> ADOPT(next[tail_chunk])
    :: else
    fi;
    if
    :: tail_chunk != 0 ->
        atomic {
            if
            :: KILLED
            :: MUTANT == TRUST_TAIL_OFF
            :: MUTANT != TRUST_TAIL_OFF ->
                assert(FIND(tail_chunk, tail) <= RECORDS);
                tail_off = FIND(tail_chunk, tail)                               /* [queue.repair_tail_off] */
            fi
        }
        i = 0;
        do
        :: MUTANT != NO_CONDEMN && i < BATCH && tail_off + i < RECORDS && RECORD(tail_chunk, tail_off + i) != END ->
            atomic {
                ref = RECORD(tail_chunk, tail_off + i);
                if
                :: KILLED
                :: kind[ref] == ITEM && (whose[ref] == tail + i || MUTANT == CONDEMN_ANY) ->
                    SET_TENURE(ref, ITEM, (head == 0 -> END : head - 1))        /* [queue.condemn] */
                :: !(kind[ref] == ITEM && (whose[ref] == tail + i || MUTANT == CONDEMN_ANY))
                fi;
                ref = 0;
                i++
            }
        :: else -> i = 0; break
        od
    :: else
    fi;
    atomic { if :: KILLED :: repair = false fi }                                /* [mutex.repaired] */
}

/* cmp_queue_repair_take. Uses i, at, off, ref. */
inline repair_take()
{
    atomic { if :: KILLED :: tail_cache = tail; at = HEAD_CHUNK fi };           /* [queue.repair_tail_cache] */
    if
    :: at != 0 ->
        do
        :: MUTANT != TRUST_HEAD_CHUNK && next[at] != 0 && first[next[at]] <= head &&
           first[next[at]] < tail_cache ->
            atomic { if :: KILLED :: at = next[at]; head_chunk = at fi }        /* [queue.repair_head_chunk] */
        :: else -> break
        od;
        atomic {
            if
            :: KILLED
            :: MUTANT == TRUST_HEAD_OFF
            :: MUTANT != TRUST_HEAD_OFF ->
                assert(FIND(at, head) <= RECORDS);
                head_off = FIND(at, head)                                       /* [queue.repair_head_off] */
            fi;
            off = head_off
        }
        do
        :: MUTANT != NO_GIVE_BACK && i < BATCH && head + i < tail_cache ->
            atomic {
                ref = RECORD(at, off);
                if
                :: ref == END -> at = next[at]; off = 0
                :: ref != END ->
                    if
                    :: kind[ref] == MEMBER ->
                        if
                        :: KILLED
                        :: SET_TENURE(ref, ITEM, head + i)                      /* [queue.give_back] */
                        fi
                    :: kind[ref] != MEMBER
                    fi;
                    i++;
                    off++
                fi;
                ref = 0
            }
        :: else -> atomic { i = 0; off = 0; at = 0; break }
        od
    :: else
    fi;
    atomic { if :: KILLED :: repair = false fi }                                /* [mutex.repaired] */
}

inline publish()
{
    if
    :: written > 0 ->
        atomic {
            if
            :: KILLED
            :: tail = tail + written;                                           /* [queue.publish] */
               sent[me] = sent[me] + written;
               written = 0
            fi
        }
    :: else
    fi
}

#define NAME_FIRST \
    atomic { if :: KILLED :: next[spare] = 0; first[spare] = tail + written fi }  /* [chunk.last] [chunk.first] */

/* make_room: the spare becomes the last chunk. */
inline link_spare()
{
#if MUTANT != LINK_FIRST
    NAME_FIRST;
#endif
    if
    :: none -> atomic { if :: KILLED :: origin = spare; none = false fi }       /* [queue.origin] */
    :: else ->
        atomic { if :: KILLED :: RECORD(tail_chunk, off) = END fi };            /* [record.header] */
        atomic { if :: KILLED :: next[tail_chunk] = spare fi }                  /* [chunk.link] */
    fi;
#if MUTANT == LINK_FIRST
    NAME_FIRST;
#endif
    atomic { if :: KILLED :: SET_TENURE(spare, CHUNK, tail + written) fi };     /* [chunk.own] */
    atomic { if :: KILLED :: tail_chunk = spare; spare = 0 fi };                /* [queue.tail_chunk] */
    atomic { if :: KILLED :: tail_off = 0; off = 0 fi }                         /* [queue.tail_off] */
}

active [PRODUCERS] proctype producer()
{
    byte me, n, number, written, want, off, spare, i, ref;
    bool repair, none, begun;
    me = _pid;
    n = (me == 0 -> 2 : 1);
    do
    :: atomic {                                                 /* else asleep on `room` */
            number < n && tail - head < CAPACITY && MAY_LOCK(put_lock) ->
            if
            :: begun
            :: !begun ->                                        /* before the lock: the blocks, and their payloads */
                begun = true;
                SET_TENURE(BLOCK_OF(me, 0), MEMBER, me);
                if
                :: n > 1 -> SET_TENURE(BLOCK_OF(me, 1), MEMBER, me)
                :: else
                fi
            fi;
            LOCK(put_lock)
       }
       if
       :: repair -> repair_put()
       :: else
       fi;
       atomic {
            if
            :: tail - head_cache + n - number <= CAPACITY
            :: tail - head_cache + n - number > CAPACITY ->
                if
                :: KILLED
                :: head_cache = head                                            /* [queue.head_cache] */
                fi
            fi;
            none = (tail_chunk == 0);
            off = (none -> RECORDS : tail_off);
            want = CAPACITY - (tail - head_cache);
            want = (want < n - number -> want : n - number)
       }
       do
       :: want > 0 ->
            if
            :: off == RECORDS ->
#if MUTANT != LINK_IN_BATCH
                publish();
#endif
                if
                :: spare == 0 -> break                          /* -ENOSPC: one is made outside the lock */
                :: else -> link_spare()
                fi
            :: else
            fi;
#if MUTANT == PUBLISH_FIRST
            written = 1;
            publish();
#endif
            atomic { if :: KILLED :: RECORD(tail_chunk, off) = BLOCK_OF(me, number) fi };   /* [record.header] */
            atomic {
                if
                :: KILLED
                :: SET_TENURE(BLOCK_OF(me, number), ITEM, tail + written - (MUTANT == PUBLISH_FIRST -> 1 : 0))
                fi;                                                             /* [queue.give] */
                off++;
                number++;
                want--;
                written = (MUTANT == PUBLISH_FIRST -> 0 : written + 1)
            }
       :: else -> break
       od;
       publish();
       if
       :: !none -> atomic { if :: KILLED :: tail_off = off fi }                 /* [queue.tail_off] */
       :: else
       fi;
       atomic { if :: KILLED :: put_lock = NOBODY; want = 0; off = 0; none = false fi };    /* [mutex.unlock] */
       if
       :: number < n && spare == 0 ->
            atomic {
                if
                :: KILLED
                :: spare = ITEMS + 1;
                   do
                   :: spare <= REFS && kind[spare] != FREE -> spare++
                   :: else -> break
                   od;
                   assert(spare <= REFS);
                   SET_TENURE(spare, MEMBER, me);
                   RECORD(spare, 0) = 1                         /* what a former user wrote: it names some block */
                fi
            }
       :: else
       fi
    :: atomic {
            number == n || tail - head == CAPACITY && consumers_ended == CONSUMERS ->
            if
            :: KILLED                                           /* what was prepared and not put is given back */
            :: spare != 0 -> RELEASE(spare)
            :: spare == 0
            fi;
            do
            :: number < n && begun -> RELEASE(BLOCK_OF(me, number)); number++
            :: else -> break
            od;
            spare = 0;
            goto done
       }
    od;
died:
    dead[me] = true;
done:
    atomic {
        number = 0; written = 0; want = 0; off = 0; spare = 0; i = 0; ref = 0; repair = false; none = false;
        begun = false;
        producers_ended++
    }
}

/* In the books an item leaves exactly as it was put, once and in order. */
#define PRODUCER_OF(block) (block < 3 -> 0 : block - 2)
#define NUMBER_OF(block) (block < 3 -> block - 1 : 0)
#define COUNT_OUT(block) \
    assert(block >= 1 && block <= ITEMS && gone[PRODUCER_OF(block)] == NUMBER_OF(block) && \
           NUMBER_OF(block) < sent[PRODUCER_OF(block)]); \
    gone[PRODUCER_OF(block)]++

/* Step 1 of a take, for the record at the cursor: 0 in ref if the batch ends here. */
inline look_at_record()
{
    ref = RECORD(at, off);
    assert(ref != 0);
    if
    :: ref == END && (n > 0 || at != HEAD_CHUNK) -> ref = 0
    :: ref == END && n == 0 && at == HEAD_CHUNK ->
        at = next[at];
        assert(at != 0 && first[at] == head);
        off = 0;
        ref = RECORD(at, off)
    :: ref != END
    fi
}

/* cmp_queue_take and cmp_queue_take_many of up to `most`, with the take lock just taken. */
inline take()
{
    if
    :: repair -> repair_take()
    :: else
    fi;
    atomic {
        if
        :: tail_cache - head >= most
        :: tail_cache - head < most ->
            if
            :: KILLED
            :: tail_cache = tail                                                /* [queue.tail_cache] */
            fi
        fi;
        there = tail_cache - head;
        if
        :: there > 0 -> at = HEAD_CHUNK; off = head_off; look_at_record()
        :: else
        fi
    }
    do
    :: ref != 0 ->
        atomic {
            if
            :: KILLED
            :: assert(kind[ref] == ITEM && whose[ref] == head + n);
               SET_TENURE(ref, MEMBER, me);                                     /* [queue.hold] */
               block[n] = ref;
               n++;
               off++;
               ref = 0;
               if
               :: n < most && n < there -> look_at_record()
               :: else
               fi
            fi
        }
    :: else -> break
    od;
    if
    :: n > 0 ->
        atomic {
            if
            :: KILLED
            :: COUNT_OUT(block[0]);
               if
               :: n > 1 -> COUNT_OUT(block[1])
               :: else
               fi;
               head = head + n;                                                 /* [queue.head] */
               moved = (head_chunk != at);
               passed = (HEAD_CHUNK != at -> HEAD_CHUNK : 0)
            fi
        }
        if
        :: moved -> atomic { if :: KILLED :: head_chunk = at; moved = false fi }        /* [queue.head_chunk] */
        :: else
        fi;
        if
        :: passed != 0 -> atomic { if :: KILLED :: SET_TENURE(passed, MEMBER, me) fi }  /* [queue.unchain] */
        :: else
        fi;
        atomic { if :: KILLED :: head_off = off fi }                            /* [queue.head_off] */
    :: else
    fi;
    atomic { if :: KILLED :: take_lock = NOBODY; at = 0; off = 0; there = 0 fi };       /* [mutex.unlock] */
    /* What is read after the lock is still what was taken. */
    atomic {
        if
        :: n > 0 ->
            if
            :: KILLED
            :: assert(kind[block[0]] == MEMBER && whose[block[0]] == me);
               RELEASE(block[0])
            fi
        :: else
        fi;
        if
        :: n > 1 -> assert(kind[block[1]] == MEMBER && whose[block[1]] == me); RELEASE(block[1])
        :: else
        fi;
        if
        :: passed != 0 -> assert(kind[passed] == MEMBER && whose[passed] == me); RELEASE(passed)
        :: else
        fi;
        passed = 0;
        block[0] = 0;
        block[1] = 0;
        n = 0
    }
}

active [CONSUMERS] proctype consumer()
{
    byte me, most, n, there, at, off, passed, i, ref, block[BATCH];
    bool repair, moved;
    me = _pid;
    most = (me == PRODUCERS -> 2 : 1);
    do
    :: atomic { head != tail && MAY_LOCK(take_lock) -> LOCK(take_lock) };       /* else asleep on `items` */
       take()
    :: atomic { head == tail && producers_ended == PRODUCERS -> goto done }
    od;
died:
    dead[me] = true;
done:
    atomic {
        n = 0; there = 0; at = 0; off = 0; passed = 0; i = 0; ref = 0; block[0] = 0; block[1] = 0;
        repair = false; moved = false; most = 0;
        consumers_ended++
    }
}

inline find_dead()
{
    i = 0;
    do
    :: i < NOBODY -> found[i] = dead[i] && !buried[i]; i++
    :: else -> break
    od;
    i = 0
}

/* Likewise. */
inline bury()
{
    atomic {
        if
        :: KILLED
        :: i = 0;
           do
           :: i < NOBODY -> buried[i] = buried[i] || found[i]; found[i] = (MUTANT == BURY_FIRST && found[i]); i++
           :: else -> break
           od;
           i = 0
        fi
    }
}

/* The sweep's judgement, and cmp_queue_keeps. */
#define WANTED(ref) \
    (kind[ref] == FREE || \
     kind[ref] == MEMBER && !found[whose[ref]] || \
     kind[ref] == ITEM && whose[ref] >= head && whose[ref] < tail || \
     kind[ref] == CHUNK && (head_chunk == 0 || whose[ref] >= first[head_chunk]))

inline sweep()
{
    atomic { find_dead() };
#if MUTANT == BURY_FIRST
    bury();
#endif
#if MUTANT != SWEEP_UNFROZEN
    atomic { MAY_LOCK(take_lock) -> LOCK(take_lock) };
    if
    :: repair -> repair_take()
    :: else
    fi;
    atomic { MAY_LOCK(put_lock) -> LOCK(put_lock) };
    if
    :: repair -> repair_put()
    :: else
    fi;
#endif
    /* One step for all: a kill among them leaves the rest to the next sweep, as one before them leaves all. */
    atomic {
        if
        :: KILLED
        :: i = 1;
           do
           :: i <= REFS && WANTED(i) -> i++
           :: i <= REFS && !WANTED(i) -> RELEASE(i)                    /* [block.reclaim] */
           :: i > REFS -> i = 0; break
           od
        fi
    }
#if MUTANT != SWEEP_UNFROZEN
    atomic { if :: KILLED :: put_lock = NOBODY fi };                            /* [mutex.unlock] */
    atomic { if :: KILLED :: take_lock = NOBODY fi };                           /* [mutex.unlock] */
#endif
    bury()
}

#define UNBURIED(who) (dead[who] && !buried[who])
#define SOMEBODY_UNBURIED \
    (UNBURIED(0) || UNBURIED(1) || PRODUCERS + CONSUMERS > 2 && UNBURIED(2) || PRODUCERS + CONSUMERS > 3 && UNBURIED(3))
#define ALL_ENDED (producers_ended == PRODUCERS && consumers_ended == CONSUMERS)

active [2] proctype sweeper()
{
    byte me, at, off, i, ref;
    bool repair, found[NOBODY];
    me = _pid;
    if
    :: me == LAST_SWEEPER ->
        atomic {
            ALL_ENDED && sweeper_ended ->
            if
            :: SOMEBODY_UNBURIED || UNBURIED(SWEEPER) -> sweep()
            :: else                                             /* nobody will ever sweep again: all is freed by now */
            fi;
            swept = true;
            goto done
        }
    :: else
    fi;
    do
    :: SWEEPS && SOMEBODY_UNBURIED -> sweep()
    :: ALL_ENDED -> goto done
    od;
died:
    dead[me] = true;
done:
    atomic {
        i = 0;
        do
        :: i < NOBODY -> found[i] = false; i++
        :: else -> break
        od;
        at = 0; off = 0; i = 0; ref = 0; repair = false;
        sweeper_ended = true
    }
}

active proctype heir()
{
    byte me, most, n, there, at, off, passed, i, ref, block[BATCH];
    bool repair, moved;
    me = HEIR;
    most = 1;
    atomic {
        swept;
        do
        :: head != tail -> MAY_LOCK(take_lock); LOCK(take_lock); take()
        :: else -> break
        od;
        i = 0;
        do
        :: i < PRODUCERS -> assert(gone[i] == sent[i]); i++
        :: else -> break
        od;
        i = 1;
        do
        :: i <= REFS ->
            /* The head's chunk stays until an item of the next is taken. */
            assert(kind[i] == (i == tail_chunk || next[i] != 0 && next[i] == tail_chunk -> CHUNK : FREE));
            i++
        :: else -> break
        od;
        assert(tail_chunk == 0 || FIND(tail_chunk, tail) == tail_off)
    };
died:
    skip
}
