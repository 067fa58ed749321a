/* The one way to touch a word that other processes touch too.
 *
 * Loads spell their order. Stores, CAS and exchanges spell their order *and a name*: the name is the label that
 * comments and models cite ("[queue.publish]"), and the point at which a test build can be killed before or after
 * (os/fault.h). A name reads noun.verb and is unique to one meaning. Raw atomic_store_explicit and the like appear
 * nowhere else: a script checks it. `order` is relaxed, acquire, release, acq_rel or seq_cst. */
#ifndef CMP_OS_ATOMICS_H
#define CMP_OS_ATOMICS_H

#include "os/fault.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define cmp_load(word, order) atomic_load_explicit((word), memory_order_##order)

#define cmp_fence(order) atomic_thread_fence(memory_order_##order)

#define cmp_store(word, value, order, label)                                       \
    do {                                                                           \
        CMP_FAULT(label, CMP_FAULT_BEFORE);                                        \
        atomic_store_explicit((word), (value), memory_order_##order);              \
        CMP_FAULT(label, CMP_FAULT_AFTER);                                         \
    } while (0)

/* True if *word was *expected and is `desired` now; else *expected is what was seen. The failure order is relaxed:
 * a caller that looks at anything else on failure loads again. */
#define cmp_cas(word, expected, desired, order, label)                                                      \
    __extension__({                                                                                         \
        CMP_FAULT(label, CMP_FAULT_BEFORE);                                                                 \
        bool cmp_done_ = atomic_compare_exchange_strong_explicit((word), (expected), (desired),             \
                                                                 memory_order_##order, memory_order_relaxed); \
        CMP_FAULT(label, CMP_FAULT_AFTER);                                                                  \
        cmp_done_;                                                                                          \
    })

/* op is one of exchange, fetch_add, fetch_sub, fetch_or, fetch_and; gives the old value. */
#define cmp_rmw(op, word, value, order, label)                                                \
    __extension__({                                                                           \
        CMP_FAULT(label, CMP_FAULT_BEFORE);                                                   \
        __typeof__(atomic_load_explicit((word), memory_order_relaxed)) cmp_old_ =             \
            atomic_##op##_explicit((word), (value), memory_order_##order);                    \
        CMP_FAULT(label, CMP_FAULT_AFTER);                                                    \
        cmp_old_;                                                                             \
    })

/* The same for words that no other process sees: threads share them, no kill can leave them half-way, so they have no
 * name and no fault point. */
#define cmp_private_store(word, value, order) atomic_store_explicit((word), (value), memory_order_##order)
#define cmp_private_cas(word, expected, desired, order) \
    atomic_compare_exchange_strong_explicit((word), (expected), (desired), memory_order_##order, memory_order_relaxed)
#define cmp_private_rmw(op, word, value, order) atomic_##op##_explicit((word), (value), memory_order_##order)

/* Between two looks of a spinning waiter. */
static inline void cmp_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield" ::: "memory");
#endif
}

#endif
