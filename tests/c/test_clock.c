#include "clock.h"

#include "support.h"

static void
check_monotonic(void)
{
    int64_t before = fm_clock_now();
    for (int i = 0; i < 100000; i++) {
        int64_t now = fm_clock_now();
        CHECK(now >= before);
        before = now;
    }
    int64_t start = fm_clock_now();
    test_sleep(20 * FM_MILLISECOND);
    int64_t slept = fm_clock_now() - start;
    CHECK(slept >= 20 * FM_MILLISECOND);
    CHECK(slept < 5 * FM_SECOND);
}

static void *
burn_in_thread(void *argument)
{
    int64_t end = fm_clock_thread_cpu(CLOCK_THREAD_CPUTIME_ID) + 30 * FM_MILLISECOND;
    while (fm_clock_thread_cpu(CLOCK_THREAD_CPUTIME_ID) < end) {
    }
    return argument;
}

/* CPU time passes while any thread computes, and stands still while all sleep. */
static void
check_process_cpu(void)
{
    int64_t start = fm_clock_process_cpu();
    test_sleep(30 * FM_MILLISECOND);
    CHECK(fm_clock_process_cpu() - start < 10 * FM_MILLISECOND);
    start = fm_clock_process_cpu();
    int64_t end = fm_clock_now() + 20 * FM_SECOND;
    while (fm_clock_process_cpu() - start < 30 * FM_MILLISECOND) {
        CHECK(fm_clock_now() < end);
    }
    start = fm_clock_process_cpu();
    test_join_thread(test_thread(burn_in_thread, NULL));
    CHECK(fm_clock_process_cpu() - start >= 30 * FM_MILLISECOND);
}

static void
check_timespec(int64_t ns, long long seconds, long rest)
{
    struct timespec time = fm_clock_timespec(ns);
    CHECK_EQUAL(time.tv_sec, seconds);
    CHECK_EQUAL(time.tv_nsec, rest);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_monotonic();
    check_process_cpu();
    check_timespec(0, 0, 0);
    check_timespec(1, 0, 1);
    check_timespec(FM_SECOND - 1, 0, 999999999);
    check_timespec(FM_SECOND, 1, 0);
    check_timespec(INT64_C(123456789012345678), 123456789, 12345678);
    CHECK_EQUAL(FM_SECOND, 1000 * FM_MILLISECOND);
    CHECK_EQUAL(FM_MILLISECOND, 1000 * FM_MICROSECOND);
    return 0;
}
