#include "thread_state.h"

#if PY_VERSION_HEX >= 0x030D0000

/* CPython forks with its lock taken, so that who forks must not wait here for one who waits for that. */

int
fm_thread_state_guard_forks(void)
{
    return 0;
}

static PyThreadState *
add_state(PyInterpreterState *interpreter)
{
    return PyThreadState_New(interpreter);
}

#else

#include <pthread.h>

static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;
static int hooks_error;

static void
begin_fork(void)
{
    (void)pthread_mutex_lock(&adding);
}

/* In either process. */
static void
end_fork(void)
{
    (void)pthread_mutex_unlock(&adding);
}

static void
add_hooks(void)
{
    hooks_error = pthread_atfork(begin_fork, end_fork, end_fork);
}

int
fm_thread_state_guard_forks(void)
{
    (void)pthread_once(&hooks_once, add_hooks);
    return -hooks_error;
}

static PyThreadState *
add_state(PyInterpreterState *interpreter)
{
    (void)pthread_mutex_lock(&adding);
    PyThreadState *thread = PyThreadState_New(interpreter);
    (void)pthread_mutex_unlock(&adding);
    return thread;
}

#endif

PyThreadState *
fm_thread_state_new(PyInterpreterState *interpreter)
{
    /* Up to 3.11 CPython crashes without memory, so that it is asked for beforehand. */
    void *memory = PyMem_RawMalloc(2 * sizeof(PyThreadState));
    if (memory == NULL) {
        return NULL;
    }
    PyMem_RawFree(memory);
    return add_state(interpreter);
}
