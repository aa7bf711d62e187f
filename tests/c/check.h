/* Assertions that also hold in release builds: file, line and expression, then the process ends
 * with CHECK_FAILED, whichever thread or forked child it is. A parent checks its children's exit
 * statuses, so that a failure anywhere is the test's. */
#ifndef FM_CHECK_H
#define FM_CHECK_H

#include <stdio.h>
#include <unistd.h>

#define CHECK_FAILED 99
#define CHECK_LATE 98 /* see test_check_quick */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECK_SANITIZED 1
#else
#define CHECK_SANITIZED 0
#endif

/* An amount of work that a sanitizer makes several times as slow. */
#define CHECK_SCALED(amount) (CHECK_SANITIZED ? (amount) / 5 : (amount))

/* Seconds after which a part of a test hangs rather than runs: arm with alarm(). */
#define CHECK_TIME_LIMIT 120

#define CHECK(condition) ((condition) ? (void)0 : check_fail(__FILE__, __LINE__, #condition))

#define CHECK_EQUAL(actual, expected)                                                              \
    check_equal(__FILE__, __LINE__, #actual " == " #expected, (long long)(actual),                 \
                (long long)(expected))

static inline _Noreturn void
check_end(void)
{
    (void)fflush(stdout);
    (void)fflush(stderr);
    _exit(CHECK_FAILED);
}

static inline _Noreturn void
check_fail(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: failed: %s\n", file, line, condition);
    check_end();
}

static inline void
check_equal(const char *file, int line, const char *condition, long long actual, long long expected)
{
    if (actual != expected) {
        (void)fprintf(stderr, "%s:%d: failed: %s (%lld, not %lld)\n", file, line, condition, actual,
                      expected);
        check_end();
    }
}

#endif
