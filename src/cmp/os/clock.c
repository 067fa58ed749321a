#include "os/clock.h"

static int64_t read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* cannot fail for these clocks */
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t cmp_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t cmp_tick_ns(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

struct timespec cmp_timespec(int64_t ns)
{
    if (ns < 0) ns = 0;
    return (struct timespec){.tv_sec = (time_t)(ns / INT64_C(1000000000)), .tv_nsec = (long)(ns % INT64_C(1000000000))};
}
