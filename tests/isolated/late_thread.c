/* For LD_PRELOAD: one thread of the process, the n-th that it creates (LATE_THREAD), does not begin before
 * the interpreter has ended. Says so at the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_US 1000
#define REST_US 200000

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static atomic_int created;
static atomic_int at_end;
static pid_t process;
static void *(*late_routine)(void *);

static void *
begin_late(void *argument)
{
    while (!atomic_load(&at_end)) {
        (void)usleep(LOOK_US);
    }
    return late_routine(argument);
}

/* What is registered first is called last: by then the interpreter has ended. */
static void
let_begin(void)
{
    if (getpid() == process && late_routine != NULL) {
        (void)!write(STDOUT_FILENO, "late\n", 5);
        atomic_store(&at_end, 1);
        (void)usleep(REST_US);
    }
}

__attribute__((constructor)) static void
load(void)
{
    process = getpid();
    (void)atexit(let_begin);
}

int
pthread_create(pthread_t *handle, const pthread_attr_t *attributes, void *(*routine)(void *),
               void *argument)
{
    create_function *create = (create_function *)dlsym(RTLD_NEXT, "pthread_create");
    const char *nth = getenv("LATE_THREAD");
    if (nth != NULL && getpid() == process && atomic_fetch_add(&created, 1) + 1 == atoi(nth)) {
        late_routine = routine;
        routine = begin_late;
    }
    return create(handle, attributes, routine, argument);
}
