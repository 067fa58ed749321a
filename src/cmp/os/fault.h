/* Fault points: the places where a test build can be killed.
 *
 * Every store, CAS and exchange on shared memory that matters goes through the macros of os/atomics.h, and each
 * gives its name here. In a build with CMP_FAULTS defined the names collect in a linker section, so the list is
 * complete by construction, and a process can be told to die (SIGKILL to itself) or stop (SIGSTOP) at the n-th
 * time it passes one. Without CMP_FAULTS a fault point is nothing at all. */
#ifndef CMP_OS_FAULT_H
#define CMP_OS_FAULT_H

#include <stddef.h>

enum cmp_fault_side { CMP_FAULT_BEFORE, CMP_FAULT_AFTER };

#ifdef CMP_FAULTS

struct cmp_fault_point {
    const char *name;
};

/* Dies here if this point is armed in this process. Async-signal-safe. */
void cmp_fault_pass(const struct cmp_fault_point *point, enum cmp_fault_side side);

/* Arms one point in this process and, by inheritance, in those it forks from now on: `count` passes go by, the
 * next one raises `signal_number`. -ENOENT if no such name exists. The environment variable CMP_FAULT, read at the
 * first pass ("name:before:3" or "name:after:0"), does the same for a whole tree of processes. */
int cmp_fault_arm(const char *name, enum cmp_fault_side side, unsigned count, int signal_number);
/* The same for this process alone: those it forks are unarmed. */
int cmp_fault_arm_me(const char *name, enum cmp_fault_side side, unsigned count, int signal_number);
void cmp_fault_disarm(void);

/* From now on, while this process is unarmed, each of its passes is counted: counters[i] for the i-th name. */
void cmp_fault_count(_Atomic unsigned *counters);

/* The i-th known name, or NULL past the last. Names may repeat where one store is spelled at several places. */
const char *cmp_fault_name(size_t i);

#define CMP_FAULT(label, side)                                                                        \
    do {                                                                                              \
        static const struct cmp_fault_point cmp_point_                                                \
            __attribute__((used, section("cmp_faults"), aligned(sizeof(void *)))) = {label};          \
        cmp_fault_pass(&cmp_point_, side);                                                            \
    } while (0)

#else
#define CMP_FAULT(label, side) ((void)0)
#endif

#endif
