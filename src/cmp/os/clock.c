#include "os/clock.h"

int64_t cmp_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

struct timespec cmp_timespec(int64_t ns)
{
    if (ns < 0) ns = 0;
    return (struct timespec){.tv_sec = (time_t)(ns / INT64_C(1000000000)), .tv_nsec = (long)(ns % INT64_C(1000000000))};
}
