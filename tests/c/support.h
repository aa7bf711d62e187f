/* What several tests need: children and threads that must succeed, memory shared with them,
 * random numbers, and the watch for lost wake-ups. */
#ifndef FM_TEST_SUPPORT_H
#define FM_TEST_SUPPORT_H

#include "atomic.h"
#include "check.h"
#include "clock.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Runs in a forked child, which then exits with 0; the child has the test's time limit and dies
 * with the test. Fork before starting threads: a sanitizer's child can't start any otherwise. */
pid_t test_fork(void (*run)(void *), void *argument);

/* The same, or -errno where the system grants no process. */
pid_t test_try_fork(void (*run)(void *), void *argument);

/* The child must have exited with `status`. */
void test_join_status(pid_t pid, int status);
void test_join(pid_t pid);

/* Runs a scenario in a child of its own, which leaves nothing behind. */
void test_run(const char *name, void (*run)(void *), void *argument);

/* In a scenario of test_run: it has taken less than `most` ns since `start`. A machine that is busy
 * with other things makes it late now and then, an error time and again: a late one is run anew, a
 * few times. */
void test_check_quick(int64_t start, int64_t most);

/* The same where the scenario has seen otherwise that the machine was late. */
_Noreturn void test_end_late(const char *why);

pthread_t test_thread(void *(*run)(void *), void *argument);
void test_join_thread(pthread_t thread);

/* Zeroed memory that forked children share; lives as long as the process. */
void *test_map(size_t size);

/* xorshift; the state must not be 0. */
uint64_t test_random(uint64_t *state);

/* A random pause: mostly none, then a few hundred nanoseconds, a yield, a short sleep. */
void test_dawdle(uint64_t *state);

/* Uses the CPU, or sleeps. */
void test_burn(int64_t ns);
void test_sleep(int64_t ns);

/* ---- the watch for lost wake-ups ----
 *
 * A wait at a doorbell or for arena space that ends only because its slice of 250 ms is over,
 * though what it waited for came about long before, was not woken: a lost wake-up, although the
 * run would go on. The tests see it by way of the linker, which puts __wrap_fm_futex_wait between
 * the core and fm_futex_wait. The same wrappers pause at random, to widen the windows of races.
 *
 * Whether what is waited for has come about is the test's to say. That it was long before is known
 * from every party's saying with watch_touch that something happens: in a stress run that is all
 * the time, until all wait for the one that was not woken. */

/* Called after a slice, with the word that was slept on. */
typedef bool (*watch_is_due)(void *context, const fm_atomic_u32 *word);

/* Once per test, first of all. */
void watch_check_linked(void);

/* Before the fork. `jitter`: one pause in so many calls; 0 for none. */
void watch_begin(unsigned jitter, watch_is_due is_due, void *context);
void watch_touch(void);
uint64_t watch_sleeps(void); /* waits that went to sleep and were woken */
/* Fails if a wake-up was lost. */
void watch_end(void);

#endif
