#include "thread.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

/* In this order after the size that is wanted. */
static const size_t smaller_sizes[] = {(size_t)1 << 20, (size_t)1 << 18};

#define SMALLER_SIZES (sizeof smaller_sizes / sizeof *smaller_sizes)

/* Address space that is left in any case. */
#define KEPT_BYTES ((size_t)32 << 20)

/* What glibc's malloc takes for a thread that allocates, while there is so much and until there are
 * eight such arenas for each CPU (HEAP_MAX_SIZE and NARENAS_FROM_NCORES there). */
#define ARENA_BYTES ((size_t)64 << 20)
#define ARENAS_PER_CPU 8

static int
create_with_stack(pthread_t *handle, size_t stack_size, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    if (stack_size == 0 || pthread_attr_init(&attributes) != 0) {
        return pthread_create(handle, NULL, run, argument);
    }
    (void)pthread_attr_setstacksize(&attributes, stack_size);
    int result = pthread_create(handle, &attributes, run, argument);
    (void)pthread_attr_destroy(&attributes);
    return result;
}

int
fm_thread_create(pthread_t *handle, size_t stack_size, void *(*run)(void *), void *argument)
{
    int result = create_with_stack(handle, stack_size, run, argument);
    /* EAGAIN may mean that, or that there are too many threads. */
    for (size_t i = 0; i < SMALLER_SIZES && result == EAGAIN; i++) {
        result = create_with_stack(handle, smaller_sizes[i], run, argument);
    }
    return -result;
}

int
fm_thread_create_deaf(pthread_t *handle, void *(*run)(void *), void *argument)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = fm_thread_create(handle, 0, run, argument);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static size_t
resolve_size(size_t stack_size)
{
    pthread_attr_t attributes;
    if (stack_size == 0 && pthread_attr_init(&attributes) == 0) {
        (void)pthread_attr_getstacksize(&attributes, &stack_size);
        (void)pthread_attr_destroy(&attributes);
    }
    return stack_size;
}

static bool
is_there(size_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *mapped = mmap(NULL, size, PROT_NONE, flags, -1, 0);
    if (mapped == MAP_FAILED) {
        return false;
    }
    (void)munmap(mapped, size);
    return true;
}

static bool
can_afford_stacks(size_t count, size_t stack_size)
{
    return is_there(KEPT_BYTES + 2 * count * stack_size);
}

static bool
can_afford(size_t count, size_t stack_size)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t arenas = ARENAS_PER_CPU * (cpus > 0 ? (size_t)cpus : 1);
    arenas = count < arenas ? count : arenas;
    return is_there(KEPT_BYTES + 2 * count * stack_size + arenas * ARENA_BYTES);
}

unsigned
fm_thread_afford(unsigned wanted, size_t *stack_size)
{
    size_t size = resolve_size(*stack_size);
    for (size_t i = 0; i < SMALLER_SIZES && !can_afford_stacks(wanted, size); i++) {
        size = smaller_sizes[i] < size ? smaller_sizes[i] : size;
    }
    while (wanted > 0 && !can_afford(wanted, size)) {
        wanted /= 2;
    }
    *stack_size = size;
    return wanted;
}
