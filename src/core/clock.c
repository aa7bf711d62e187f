#include "clock.h"

static int64_t
read_clock(clockid_t which)
{
    struct timespec time = {0};
    (void)clock_gettime(which, &time);
    return (int64_t)time.tv_sec * FM_SECOND + time.tv_nsec;
}

int64_t
fm_clock_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
fm_clock_process_cpu(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t
fm_clock_thread_cpu(clockid_t thread)
{
    return read_clock(thread);
}

struct timespec
fm_clock_timespec(int64_t ns)
{
    struct timespec time = {.tv_sec = ns / FM_SECOND, .tv_nsec = ns % FM_SECOND};
    return time;
}
