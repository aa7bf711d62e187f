/* The supervisor's side of a pool: more threads, and looks at those that there are. */
#include "pool.h"

#include "clock.h"
#include "process.h"
#include "thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void *
run_pool_thread(void *argument)
{
    struct fm_pool_thread *thread = argument;
    struct fm_pool *pool = thread->pool;
    char name[16];
    (void)pthread_sigmask(SIG_SETMASK, &pool->signals, NULL);
    if (pool->local) {
        (void)snprintf(name, sizeof name, "fast_map-t%u", thread->number);
    } else {
        (void)snprintf(name, sizeof name, "fm-w%u-t%u", (unsigned)pool->worker, thread->number);
    }
    fm_process_name_thread(name);
    fm_pool_register_thread(thread);
    pool->hooks.run_thread(pool->hooks.context, thread);
    return NULL;
}

/* The thread's memory lives as long as the pool: threads come, and go all together. */
static int
start_thread(struct fm_pool *pool, size_t stack_size, unsigned number)
{
    pthread_t handle;
    struct fm_pool_thread *thread = malloc(sizeof *thread);
    if (thread == NULL) {
        return -ENOMEM;
    }
    fm_pool_init_thread(thread, pool, number);
    int result = fm_thread_create(&handle, stack_size, run_pool_thread, thread);
    if (result < 0) {
        free(thread);
        return result;
    }
    (void)pthread_detach(handle);
    return 0;
}

static void
note_threads(struct fm_pool *pool, unsigned threads)
{
    fm_atomic_u32 *most = &pool->roster->stats[pool->worker].threads_most;
    if (threads > fm_load_relaxed(most)) {
        fm_store_relaxed(most, threads);
    }
}

unsigned
fm_pool_add_threads(struct fm_pool *pool, unsigned count)
{
    size_t stack_size = pool->stack_size;
    unsigned afforded = fm_thread_afford(count, &stack_size);
    /* Without the first nothing would be done: nothing is kept back from it. */
    count = afforded == 0 && count > 0 && pool->threads == 0 ? 1 : afforded;
    /* Counted before they start, and the ones that could not be started taken back. */
    (void)pthread_mutex_lock(&pool->lock);
    unsigned first = pool->threads;
    pool->threads += count;
    pool->starting += count;
    fm_pool_set_active_locked(pool, pool->active + count);
    (void)fm_add_seq_cst(&pool->present, count);
    (void)pthread_mutex_unlock(&pool->lock);
    unsigned started = 0;
    while (started < count && start_thread(pool, stack_size, first + started) == 0) {
        started++;
    }
    unsigned missing = count - started;
    if (missing > 0) {
        (void)pthread_mutex_lock(&pool->lock);
        pool->threads -= missing;
        pool->starting -= missing;
        fm_pool_set_active_locked(pool, pool->active - missing);
        (void)fm_sub_seq_cst(&pool->present, missing);
        (void)pthread_mutex_unlock(&pool->lock);
    }
    note_threads(pool, first + started);
    return started;
}

/* Threads are only ever put in front of the list, so that it can be read without the lock. */
static int64_t
measure_cpu(struct fm_pool *pool)
{
    int64_t sum = 0;
    (void)pthread_mutex_lock(&pool->lock);
    const struct fm_pool_thread *thread = pool->all;
    (void)pthread_mutex_unlock(&pool->lock);
    for (; thread != NULL; thread = thread->next_thread) {
        sum += fm_clock_thread_cpu(thread->cpu_clock);
    }
    return sum;
}

bool
fm_pool_sample(struct fm_pool *pool, struct fm_growth_sample *sample)
{
    uint64_t waiting = fm_slots_waiting(pool->slots);
    uint64_t share = fm_roster_share(pool->roster, waiting);
    (void)pthread_mutex_lock(&pool->lock);
    unsigned threads = pool->threads;
    /* A local pool's first thread is its maker's to start. */
    bool may_grow = fm_load_relaxed(&pool->slots->shared->watched) != 0 && threads > 0 && !pool->led
                    && pool->parked == NULL && !fm_load_relaxed(&pool->self->solo);
    uint64_t room = share > pool->active ? share - pool->active : 0;
    uint64_t allowed = pool->threads_limit > threads ? pool->threads_limit - threads : 0;
    sample->active = pool->active;
    sample->idles = pool->idles;
    sample->settled = pool->starting == 0;
    (void)pthread_mutex_unlock(&pool->lock);
    sample->waiting = waiting;
    sample->room = room < allowed ? room : allowed;
    sample->time = fm_clock_now();
    /* Reading it takes the longer, the more threads there are. */
    if (!pool->local) {
        sample->cpu = fm_pool_note_cpu(pool);
        sample->others_cpu = 0;
    } else {
        bool is_needed = may_grow && sample->room > 0;
        sample->cpu = is_needed ? fm_clock_process_cpu() : 0;
        sample->others_cpu = is_needed ? sample->cpu - measure_cpu(pool) : 0;
    }
    return may_grow;
}

bool
fm_pool_is_runnable(struct fm_pool *pool)
{
    pid_t observed[FM_POOL_OBSERVED];
    unsigned count = 0;
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->threads <= FM_POOL_OBSERVED) {
        for (struct fm_pool_thread *thread = pool->all; thread; thread = thread->next_thread) {
            observed[count++] = thread->tid;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    while (count > 0) {
        if (fm_process_thread_is_runnable(observed[--count])) {
            return true;
        }
    }
    return false;
}

static bool
is_overdue(const struct fm_pool_thread *thread, int64_t now)
{
    /* Twice, since the item may change between the two fields. */
    uint64_t item = fm_load_relaxed(&thread->running);
    int64_t since = (int64_t)fm_load_relaxed(&thread->since);
    return item != FM_NO_ITEM && fm_pool_is_late(thread->pool, since, now)
           && fm_load_relaxed(&thread->running) == item;
}

struct fm_pool_thread *
fm_pool_find_overdue(struct fm_pool *pool, int64_t now)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct fm_pool_thread *oldest = NULL;
    for (struct fm_pool_thread *thread = pool->all; thread; thread = thread->next_thread) {
        if (is_overdue(thread, now)
            && (oldest == NULL
                || fm_load_relaxed(&thread->since) < fm_load_relaxed(&oldest->since))) {
            oldest = thread;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return oldest;
}

struct fm_pool_thread *
fm_pool_find_hog(struct fm_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    struct fm_pool_thread *thread = pool->all;
    while (thread != NULL && !pool->hooks.is_hog(thread)) {
        thread = thread->next_thread;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return thread;
}
