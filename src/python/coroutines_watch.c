/* Finding the item that runs for too long, among many that run on one thread. */
#include "coroutines.h"

#include "clock.h"
#include "thread.h"
#include "thread_state.h"

#include <pthread.h>
#include <time.h>

/* A loop that has been in one step for this long is stuck there. */
#define STEP_MOST (300 * FM_MILLISECOND)
#define STEP_LOOK (5 * FM_MILLISECOND)

/* ---- on the loop's thread ---- */

void
fm_coroutines_set_watched(struct fm_watched_item *watched, const struct fm_coroutine *coroutine)
{
    if (coroutine != NULL) {
        fm_store_relaxed(&watched->since, (uint64_t)coroutine->since);
        fm_store_relaxed(&watched->item, coroutine->item);
    } else {
        fm_store_relaxed(&watched->item, FM_NO_ITEM);
    }
}

void
fm_coroutines_begin_step(struct fm_coroutine *coroutine)
{
    struct fm_coroutines *coroutines = coroutine->owner;
    fm_store_relaxed(&coroutines->steps, fm_load_relaxed(&coroutines->steps) + 1);
    fm_coroutines_set_watched(&coroutines->stepping, coroutine);
}

void
fm_coroutines_end_step(struct fm_coroutine *coroutine)
{
    struct fm_coroutines *coroutines = coroutine->owner;
    if (fm_exchange_acquire(&coroutines->stepping.item, FM_NO_ITEM) == FM_CONDEMNED
        || coroutines->worker->is_leaving) {
        (void)PyEval_SaveThread();
        fm_pool_await_end();
    }
}

/* ---- on the supervisor's thread ---- */

static bool
is_overdue(const struct fm_watched_item *watched, const struct fm_pool *pool)
{
    /* Twice, since the item may change between the two fields. */
    uint64_t item = fm_load_relaxed(&watched->item);
    int64_t since = (int64_t)fm_load_relaxed(&watched->since);
    return item != FM_NO_ITEM && fm_pool_is_late(pool, since, fm_clock_now())
           && fm_load_relaxed(&watched->item) == item;
}

static bool
is_in_step(const struct fm_coroutines *coroutines, uint64_t step)
{
    return fm_load_relaxed(&coroutines->stepping.item) != FM_NO_ITEM
           && fm_load_relaxed(&coroutines->steps) == step;
}

static bool
is_stuck(const struct fm_coroutines *coroutines)
{
    uint64_t step = fm_load_relaxed(&coroutines->steps);
    int64_t start = fm_clock_now();
    while (is_in_step(coroutines, step)) {
        if (fm_clock_now() - start > STEP_MOST) {
            return true;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = STEP_LOOK}, NULL);
    }
    return false;
}

/* If the loop is stuck in one item, that one is to blame for all that are late, once it is late
 * itself. Else it is the oldest, which waits for something. */
static bool
find_overdue(void *context, struct fm_overdue *found)
{
    struct fm_worker *worker = context;
    struct fm_coroutines *coroutines = worker->coroutines;
    const struct fm_pool *pool = &worker->pool;
    if (!is_overdue(&coroutines->oldest, pool)) {
        return false;
    }
    bool stuck = is_stuck(coroutines);
    struct fm_watched_item *watched = stuck ? &coroutines->stepping : &coroutines->oldest;
    if (!is_overdue(watched, pool)) {
        return false;
    }
    found->item = fm_load_relaxed(&watched->item);
    found->tid = stuck ? worker->pool.main_thread.tid : 0;
    found->running = stuck ? &coroutines->stepping.item : NULL;
    return found->item != FM_NO_ITEM;
}

static void
write_stack_of(struct fm_coroutines *coroutines, uint64_t item)
{
    struct fm_worker *worker = coroutines->worker;
    struct fm_coroutine *coroutine = coroutines->started.first;
    while (coroutine != NULL && coroutine->item != item) {
        coroutine = coroutine->next;
    }
    if (coroutine == NULL || coroutine->asyncio_task == NULL) {
        return;
    }
    PyObject *done = PyObject_CallFunction(worker->job->state->write_coroutine_stack, "iO",
                                           worker->pool.stack_fd, coroutine->asyncio_task);
    Py_XDECREF(done);
    PyErr_Clear();
}

static void *
run_stack_writer(void *argument)
{
    struct fm_coroutines *coroutines = argument;
    PyThreadState *thread = fm_thread_state_new(coroutines->worker->interpreter);
    if (thread == NULL) {
        return NULL; /* the supervisor won't wait for long */
    }
    PyEval_AcquireThread(thread);
    write_stack_of(coroutines, coroutines->stack_item);
    PyThreadState_Clear(thread);
    PyThreadState_DeleteCurrent();
    return NULL;
}

/* By a thread that may wait for the GIL; the supervisor must not. */
static void
write_stack(void *context, uint64_t item)
{
    struct fm_worker *worker = context;
    pthread_t handle;
    worker->coroutines->stack_item = item;
    if (fm_thread_create(&handle, 0, run_stack_writer, worker->coroutines) == 0) {
        (void)pthread_detach(handle);
    }
}

void
fm_coroutines_watch(struct fm_coroutines *coroutines)
{
    fm_store_relaxed(&coroutines->oldest.item, FM_NO_ITEM);
    fm_store_relaxed(&coroutines->stepping.item, FM_NO_ITEM);
    coroutines->worker->pool.hooks.find_overdue = find_overdue;
    coroutines->worker->pool.hooks.write_stack = write_stack;
}
