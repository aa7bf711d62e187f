#include "futex.h"

#include "support.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>

#define ROUNDS CHECK_SCALED(20000)

static void
check_no_sleep_on_changed_word(void)
{
    fm_atomic_u32 word = 7;
    CHECK_EQUAL(fm_futex_wait(&word, 6, FM_FOREVER), -EAGAIN);
    CHECK_EQUAL(fm_futex_wake(&word, 1), 0);
}

static void
check_timeout(void *argument)
{
    int64_t timeout = *(int64_t *)argument;
    fm_atomic_u32 word = 7;
    int64_t start = fm_clock_now();
    CHECK_EQUAL(fm_futex_wait(&word, 7, timeout), -ETIMEDOUT);
    CHECK(fm_clock_now() - start >= timeout);
    test_check_quick(start, timeout + FM_SECOND);
}

static void
ignore_signal(int number)
{
    (void)number;
}

struct interruption {
    pthread_t target;
    fm_atomic_u32 returned;
};

static void *
send_signals(void *argument)
{
    struct interruption *interruption = argument;
    while (fm_load_relaxed(&interruption->returned) == 0) {
        test_sleep(5 * FM_MILLISECOND);
        CHECK_EQUAL(pthread_kill(interruption->target, SIGUSR1), 0);
    }
    return NULL;
}

static void
check_interrupted(void)
{
    fm_atomic_u32 word = 7;
    struct sigaction action = {.sa_handler = ignore_signal};
    CHECK_EQUAL(sigaction(SIGUSR1, &action, NULL), 0);
    struct interruption interruption = {.target = pthread_self()};
    pthread_t sender = test_thread(send_signals, &interruption);
    CHECK_EQUAL(fm_futex_wait(&word, 7, FM_FOREVER), -EINTR);
    fm_store_relaxed(&interruption.returned, 1);
    test_join_thread(sender);
}

/* Two parties take turns; whoever isn't woken waits for ever. */
struct table {
    fm_atomic_u32 turn;
};

static void
play(struct table *table, uint32_t first)
{
    for (uint32_t i = first; i < 2 * (uint32_t)ROUNDS; i += 2) {
        uint32_t now;
        while ((now = fm_load_acquire(&table->turn)) != i) {
            CHECK(now < i);
            (void)fm_futex_wait(&table->turn, now, FM_FOREVER);
        }
        fm_store_release(&table->turn, i + 1);
        CHECK(fm_futex_wake(&table->turn, 1) >= 0);
    }
}

static void
play_second(void *table)
{
    play(table, 1);
}

static void
play_first(void *table)
{
    pid_t other = test_fork(play_second, table);
    play(table, 0);
    test_join(other);
}

#define SLEEPERS 5

struct dormitory {
    fm_atomic_u32 word;
    fm_atomic_u32 awake;
};

static void *
sleep_once(void *argument)
{
    struct dormitory *dormitory = argument;
    CHECK_EQUAL(fm_futex_wait(&dormitory->word, 0, FM_FOREVER), 0);
    (void)fm_add_relaxed(&dormitory->awake, 1);
    return NULL;
}

static void
wake_in_all(fm_atomic_u32 *word, int count, int wanted)
{
    int woken = 0;
    while (woken < wanted) {
        int result = fm_futex_wake(word, count);
        CHECK(result >= 0 && result <= count);
        woken += result;
    }
    CHECK_EQUAL(woken, wanted);
}

static void
check_wake_counts(void)
{
    struct dormitory dormitory = {0};
    pthread_t threads[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++) {
        threads[i] = test_thread(sleep_once, &dormitory);
    }
    wake_in_all(&dormitory.word, 1, 2);
    while (fm_load_relaxed(&dormitory.awake) < 2) {
        test_sleep(FM_MILLISECOND);
    }
    test_sleep(20 * FM_MILLISECOND);
    CHECK_EQUAL(fm_load_relaxed(&dormitory.awake), 2);
    wake_in_all(&dormitory.word, INT_MAX, SLEEPERS - 2);
    for (int i = 0; i < SLEEPERS; i++) {
        test_join_thread(threads[i]);
    }
    CHECK_EQUAL(fm_futex_wake(&dormitory.word, INT_MAX), 0);
}

int
main(void)
{
    static int64_t timeouts[] = {0, FM_MILLISECOND, 30 * FM_MILLISECOND};
    (void)alarm(CHECK_TIME_LIMIT);
    test_run("ping-pong of processes", play_first, test_map(sizeof(struct table)));
    check_no_sleep_on_changed_word();
    for (size_t i = 0; i < sizeof timeouts / sizeof *timeouts; i++) {
        test_run("timeout", check_timeout, &timeouts[i]);
    }
    check_interrupted();
    check_wake_counts();
    return 0;
}
