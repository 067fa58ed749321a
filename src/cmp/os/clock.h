/* Clock: one time scale for every deadline inside C. */
#ifndef CMP_OS_CLOCK_H
#define CMP_OS_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CMP_MS INT64_C(1000000) /* nanoseconds */

/* CLOCK_MONOTONIC now, in nanoseconds. */
int64_t cmp_now_ns(void);
/* The same as of the last timer tick, some milliseconds ago at most: a fifth of the cost, and good enough for the ends
 * of slices. Never later than cmp_now_ns(). */
int64_t cmp_tick_ns(void);
/* The same scale as the kernel wants it; times before zero are zero. */
struct timespec cmp_timespec(int64_t ns);

#endif
