#include "thread.h"

#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static size_t
own_stack_size(void)
{
    pthread_attr_t attributes;
    size_t size = 0;
    CHECK_EQUAL(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_EQUAL(pthread_attr_getstacksize(&attributes, &size), 0);
    (void)pthread_attr_destroy(&attributes);
    return size;
}

static void *
store_stack_size(void *size)
{
    *(size_t *)size = own_stack_size();
    return NULL;
}

/* Of a thread that was started with the wish for `wanted`. */
static size_t
stack_size_for(size_t wanted)
{
    pthread_t thread;
    size_t size = 0;
    CHECK_EQUAL(fm_thread_create(&thread, wanted, store_stack_size, &size), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    return size;
}

static void
check_wanted_size(void)
{
    size_t usual;
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, store_stack_size, &usual), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(stack_size_for(0), usual);
    CHECK_EQUAL(stack_size_for(16 * MIB), 16 * MIB);
    /* A sanitizer makes small ones larger. */
    CHECK(CHECK_SANITIZED || stack_size_for(100 * KIB) == 100 * KIB);
}

/* Leaves the process `room` bytes more than it has. */
static void
limit_room(size_t room)
{
    unsigned long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK_EQUAL(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    rlim_t most = pages * 4096 + room;
    struct rlimit limit = {.rlim_cur = most, .rlim_max = RLIM_INFINITY};
    CHECK_EQUAL(setrlimit(RLIMIT_AS, &limit), 0);
}

/* Each in a child of its own, whose C library has no stack of an ended thread to use again. */
static void
check_smaller_stack(void *unused)
{
    (void)unused;
    limit_room(4 * MIB);
    CHECK_EQUAL(stack_size_for(8 * MIB), MIB);
}

static void
check_smallest_stack(void *unused)
{
    (void)unused;
    limit_room(800 * KIB);
    CHECK_EQUAL(stack_size_for(8 * MIB), 256 * KIB);
}

static void
check_no_stack(void *unused)
{
    (void)unused;
    pthread_t thread;
    size_t size = 0;
    limit_room(100 * KIB);
    CHECK_EQUAL(fm_thread_create(&thread, 8 * MIB, store_stack_size, &size), -EAGAIN);
    CHECK_EQUAL(size, 0);
}

static void
check_affordable(unsigned wanted, size_t wanted_size, unsigned expected, size_t expected_size)
{
    size_t size = wanted_size;
    CHECK_EQUAL(fm_thread_afford(wanted, &size), expected);
    CHECK_EQUAL(size, expected_size);
}

static void
check_afford(void *unused)
{
    (void)unused;
    check_affordable(1000, 8 * MIB, 1000, 8 * MIB);
    check_affordable(0, 8 * MIB, 0, 8 * MIB);
    /* 32 MiB are kept, and 64 for each thread's arena of malloc. */
    limit_room(200 * MIB);
    check_affordable(8, 8 * MIB, 2, 8 * MIB);
    check_affordable(64, 8 * MIB, 2, MIB);
    check_affordable(1000, 8 * MIB, 1, 256 * KIB);
    check_affordable(1000, 64 * KIB, 1, 64 * KIB);
    limit_room(90 * MIB);
    check_affordable(1, 64 * KIB, 0, 64 * KIB);
    limit_room(20 * MIB);
    check_affordable(8, 8 * MIB, 0, 256 * KIB);
}

static void *
look_at_mask(void *blocked)
{
    sigset_t mask;
    CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    *(bool *)blocked = sigismember(&mask, SIGINT) == 1 && sigismember(&mask, SIGUSR1) == 1;
    return NULL;
}

/* It takes no signals, and who created it takes those that it took before. */
static void
check_deaf(void)
{
    pthread_t handle;
    sigset_t mask;
    bool blocked = false;
    CHECK_EQUAL(fm_thread_create_deaf(&handle, look_at_mask, &blocked), 0);
    CHECK_EQUAL(pthread_join(handle, NULL), 0);
    CHECK(blocked);
    CHECK_EQUAL(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    CHECK_EQUAL(sigismember(&mask, SIGUSR1), 0);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    /* Sanitizers reserve more address space than any limit would leave. */
    if (!CHECK_SANITIZED) {
        test_run("less than a stack", check_smaller_stack, NULL);
        test_run("little", check_smallest_stack, NULL);
        test_run("nothing", check_no_stack, NULL);
        test_run("several", check_afford, NULL);
    }
    check_wanted_size();
    check_deaf();
    return 0;
}
