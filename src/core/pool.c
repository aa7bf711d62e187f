#include "pool.h"

#include "clock.h"
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A batch should take about this long: long enough to make its overhead small, short enough that
 * nobody waits for what it holds back. */
#define BATCH_TIME (50 * FM_MICROSECOND)
#define BATCH_MOST 256

/* How long a leader sleeps that may not take the waiting work because others are less busy. */
#define REJECTED_DELAY FM_MILLISECOND

/* A successor is watched within microseconds, or never, and then has nothing to hurry for. */
#define WATCH_LOOK_MOST_MS 64

static void
init_thread(struct fm_pool_thread *thread, struct fm_pool *pool, unsigned number)
{
    *thread =
        (struct fm_pool_thread){.pool = pool, .number = number, .finished = FM_NO_ITEM, .batch = 1};
    fm_store_relaxed(&thread->running, FM_NO_ITEM);
}

static void
register_thread(struct fm_pool_thread *thread)
{
    struct fm_pool *pool = thread->pool;
    (void)pthread_mutex_lock(&pool->lock);
    thread->tid = fm_process_thread_id();
    thread->next_thread = pool->all;
    pool->all = thread;
    (void)pthread_mutex_unlock(&pool->lock);
}

/* False if that will not come about: then the items that a dead worker has left are not this one's,
 * and nobody would notice its end. */
static bool
await_watch(const struct fm_pool *pool)
{
    struct pollfd watched[] = {
        {.fd = pool->parent_pidfd, .events = POLLIN},
        {.fd = pool->close_fd, .events = POLLIN},
    };
    int timeout = 1;
    while (fm_load_relaxed(&pool->self->alive) == 0) {
        if (poll(watched, 2, timeout) > 0) {
            return false;
        }
        timeout *= timeout < WATCH_LOOK_MOST_MS ? 2 : 1;
    }
    return true;
}

int
fm_pool_init(struct fm_pool *pool)
{
    if (!await_watch(pool)) {
        return -ECANCELED;
    }
    pool->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->kick_fd < 0) {
        return -errno;
    }
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &pool->signals);
    fm_moderation_init(&pool->moderation);
    init_thread(&pool->main_thread, pool, 0);
    register_thread(&pool->main_thread);
    pool->threads = pool->active = pool->starting = 1;
    fm_store_relaxed(&pool->self->active, 1);
    fm_store_relaxed(&pool->self->started, 1);
    return 0;
}

static void
set_active_locked(struct fm_pool *pool, unsigned active)
{
    pool->active = active;
    fm_store_relaxed(&pool->self->active, active);
}

/* ---- taking work ---- */

/* Another process should take the waiting work if this one has more than its share. */
static bool
has_share(struct fm_pool *pool, unsigned others_active)
{
    if (others_active == 0) {
        return true;
    }
    /* The caller is among the active already, and is about to take one of the waiting. */
    uint64_t waiting = fm_slots_waiting(pool->slots);
    return others_active < fm_roster_share(pool->roster, waiting > 0 ? waiting - 1 : 0);
}

static void
end_batch(struct fm_pool_thread *thread)
{
    if (thread->batch_start == 0) {
        return;
    }
    int64_t elapsed = fm_clock_now() - thread->batch_start;
    thread->batch_start = 0;
    if (thread->batch > 1) {
        (void)fm_add_relaxed(&thread->pool->batching, UINT32_MAX); /* minus one */
        (void)fm_add_relaxed(&thread->pool->batches, 1);
    }
    if (elapsed < BATCH_TIME / 2 && thread->batch < BATCH_MOST) {
        thread->batch *= 2;
    }
    while (elapsed > 2 * BATCH_TIME && thread->batch > 1) {
        thread->batch /= 2;
        elapsed /= 2;
    }
}

/* Towards the end batches get smaller, so that all workers finish at about the same time. */
static uint64_t
batch_size(const struct fm_pool_thread *thread)
{
    const struct fm_pool *pool = thread->pool;
    uint64_t most = fm_slots_waiting(pool->slots) / (2 * (uint64_t)pool->roster->count);
    if (most < 1) {
        return 1;
    }
    return thread->batch < most ? thread->batch : most;
}

/* Completed something and found no further claim to serve as the barrier. */
static void
announce_finished(struct fm_pool_thread *thread)
{
    struct fm_doorbell *consumer = &thread->pool->slots->shared->consumer;
    if (thread->finished == FM_NO_ITEM) {
        return;
    }
    fm_fence_seq_cst();
    if (fm_doorbell_wanted(consumer) == thread->finished) {
        (void)fm_doorbell_answer(consumer, thread->finished);
    }
    thread->finished = FM_NO_ITEM;
}

bool
fm_pool_next_batch(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_pool *pool = thread->pool;
    announce_finished(thread);
    end_batch(thread);
    unsigned others = fm_load_relaxed(&pool->self->active) - 1;
    if (fm_load_relaxed(&pool->solo) || !has_share(pool, others)) {
        return false;
    }
    for (;;) {
        uint64_t begin;
        uint64_t count = fm_slots_reserve(pool->slots, batch_size(thread), &begin);
        if (count == 0) {
            return false;
        }
        thread->reserved = begin;
        thread->reserved_end = begin + count;
        if (fm_pool_next_reserved(thread, item)) {
            break;
        }
    }
    thread->batch_start = fm_clock_now();
    if (thread->batch > 1) {
        (void)fm_add_relaxed(&pool->batching, 1);
    }
    return true;
}

/* ---- waiting for work ---- */

static void
wait_parked(struct fm_pool_thread *thread)
{
    /* Pairs with the release in call_parked. */
    while (fm_load_acquire(&thread->called) == 0) {
        (void)fm_futex_wait(&thread->called, 0, FM_FOREVER);
    }
}

static struct fm_pool_thread *
pop_parked_locked(struct fm_pool *pool)
{
    struct fm_pool_thread *thread = pool->parked;
    if (thread != NULL) {
        pool->parked = thread->next_parked;
    }
    return thread;
}

static void
call_parked(struct fm_pool_thread *thread)
{
    if (thread != NULL) {
        fm_store_release(&thread->called, 1);
        (void)fm_futex_wake(&thread->called, 1);
    }
}

/* All items have been claimed, and those that this process had are done. */
static bool
is_over(struct fm_pool *pool)
{
    struct fm_slots *slots = pool->slots;
    /* Pairs with the release in fm_slots_finish. */
    uint64_t total = fm_load_acquire(&slots->shared->total);
    if (total == FM_UNKNOWN_TOTAL || fm_slots_limit(slots) < total || fm_slots_rewind(slots)) {
        return false;
    }
    (void)pthread_mutex_lock(&pool->lock);
    bool over = pool->active == 0;
    (void)pthread_mutex_unlock(&pool->lock);
    return over;
}

/* Sleeps until there may be work that was not there at `limit`. */
static void
lead_wait(struct fm_pool *pool, bool rejected)
{
    struct fm_slots_shared *shared = pool->slots->shared;
    uint64_t limit = fm_slots_limit(pool->slots);
    uint64_t gap = pool->moderation.gap;
    uint64_t wanted = limit + gap;
    uint64_t total = fm_load_acquire(&shared->total);
    if (wanted > total) {
        wanted = limit + 1;
    }
    fm_slots_await_room(pool->slots);
    uint32_t ticket = fm_doorbell_arm(&pool->self->work, wanted);
    /* Nobody rings for a claim, nor twice for the last thread that became idle. */
    bool changed = fm_slots_limit(pool->slots) > limit || fm_load_relaxed(&shared->ended)
                   || is_over(pool) || (!rejected && fm_slots_waiting(pool->slots) > 0);
    if (changed) {
        fm_doorbell_disarm(&pool->self->work);
    } else {
        int64_t timeout = rejected ? REJECTED_DELAY : gap > 1 ? FM_MODERATION_DELAY : FM_FOREVER;
        (void)fm_doorbell_wait(&pool->self->work, ticket, timeout);
    }
    fm_slots_end_await_room(pool->slots);
    if (!changed && fm_slots_limit(pool->slots) < wanted) {
        fm_moderation_reset(&pool->moderation);
    }
}

static bool
lead(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_pool *pool = thread->pool;
    while (!fm_load_acquire(&pool->slots->shared->ended)) {
        /* Counts as active while it looks, so that the others see how busy this process is. */
        (void)pthread_mutex_lock(&pool->lock);
        set_active_locked(pool, pool->active + 1);
        (void)pthread_mutex_unlock(&pool->lock);
        if (fm_pool_next_batch(thread, item)) {
            return true;
        }
        (void)pthread_mutex_lock(&pool->lock);
        set_active_locked(pool, pool->active - 1);
        (void)pthread_mutex_unlock(&pool->lock);
        if (is_over(pool)) {
            return false;
        }
        bool rejected = fm_slots_waiting(pool->slots) > 0;
        if (rejected) {
            fm_roster_call(pool->roster, UINT64_MAX - 1, pool->roster->count);
        }
        lead_wait(pool, rejected);
        fm_moderation_update(&pool->moderation, fm_slots_limit(pool->slots), BATCH_MOST);
    }
    return false;
}

/* The lead passes on: to one thread after work was found, to all at the end. */
static void
stop_leading(struct fm_pool *pool, bool over)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->led = false;
    pool->over = pool->over || over;
    struct fm_pool_thread *next = pop_parked_locked(pool);
    bool kick = !over && pool->supervisor_asleep;
    pool->supervisor_asleep = pool->supervisor_asleep && !kick;
    (void)pthread_mutex_unlock(&pool->lock);
    call_parked(next);
    if (kick) {
        (void)eventfd_write(pool->kick_fd, 1);
    }
}

/* Not active any more: leads, or parks until called. True when the caller leads now. */
static bool
become_leader(struct fm_pool_thread *thread)
{
    struct fm_pool *pool = thread->pool;
    for (;;) {
        (void)pthread_mutex_lock(&pool->lock);
        if (pool->over) {
            struct fm_pool_thread *next = pop_parked_locked(pool);
            (void)pthread_mutex_unlock(&pool->lock);
            call_parked(next);
            return false;
        }
        if (!pool->led) {
            pool->led = true;
            (void)pthread_mutex_unlock(&pool->lock);
            return true;
        }
        fm_store_relaxed(&thread->called, 0);
        thread->next_parked = pool->parked;
        pool->parked = thread;
        (void)pthread_mutex_unlock(&pool->lock);
        wait_parked(thread);
    }
}

/* The last thread to become idle may be what a leader waits for to see that all is over. */
static void
become_idle(struct fm_pool_thread *thread)
{
    struct fm_pool *pool = thread->pool;
    (void)pthread_mutex_lock(&pool->lock);
    set_active_locked(pool, pool->active - 1);
    pool->idles++;
    if (!thread->started) {
        thread->started = true;
        pool->starting--;
    }
    bool ring = pool->active == 0 && pool->led;
    (void)pthread_mutex_unlock(&pool->lock);
    if (ring && fm_load_relaxed(&pool->slots->shared->total) != FM_UNKNOWN_TOTAL) {
        fm_doorbell_ring(&pool->self->work);
    }
}

static void
note_started(struct fm_pool_thread *thread)
{
    if (!thread->started) {
        thread->started = true;
        (void)pthread_mutex_lock(&thread->pool->lock);
        thread->pool->starting--;
        (void)pthread_mutex_unlock(&thread->pool->lock);
    }
}

/* Only the main thread is there until a successor has run what was left to it. */
static bool
next_left_over(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_pool *pool = thread->pool;
    if (!fm_load_relaxed(&pool->solo)) {
        return false;
    }
    announce_finished(thread);
    if (fm_slots_claim_retry(pool->slots, pool->worker, item)) {
        return true;
    }
    fm_store_relaxed(&pool->solo, 0);
    return false;
}

bool
fm_pool_wait(struct fm_pool_thread *thread, uint64_t *item)
{
    if (next_left_over(thread, item)) {
        note_started(thread);
        return true;
    }
    if (!fm_load_acquire(&thread->pool->slots->shared->ended) && fm_pool_next(thread, item)) {
        note_started(thread);
        return true;
    }
    become_idle(thread);
    if (!become_leader(thread)) {
        return false;
    }
    bool found = lead(thread, item);
    stop_leading(thread->pool, !found);
    return found;
}

/* ---- more threads ---- */

static void *
run_pool_thread(void *argument)
{
    struct fm_pool_thread *thread = argument;
    struct fm_pool *pool = thread->pool;
    char name[16];
    (void)pthread_sigmask(SIG_SETMASK, &pool->signals, NULL);
    (void)snprintf(name, sizeof name, "fm-w%u-t%u", (unsigned)pool->worker, thread->number);
    fm_process_name_thread(name);
    register_thread(thread);
    pool->hooks.run_thread(pool->hooks.context, thread);
    return NULL;
}

/* The thread's memory lives as long as the process: threads come and never go. */
static int
start_thread(struct fm_pool *pool, const pthread_attr_t *attributes, unsigned number)
{
    pthread_t handle;
    struct fm_pool_thread *thread = malloc(sizeof *thread);
    if (thread == NULL) {
        return ENOMEM;
    }
    init_thread(thread, pool, number);
    int result = pthread_create(&handle, attributes, run_pool_thread, thread);
    if (result != 0) {
        free(thread);
    }
    return result;
}

unsigned
fm_pool_add_threads(struct fm_pool *pool, unsigned count)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return 0;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pool->stack_size > 0) {
        (void)pthread_attr_setstacksize(&attributes, pool->stack_size);
    }
    /* Counted before they start, and the ones that could not be started taken back. */
    (void)pthread_mutex_lock(&pool->lock);
    unsigned first = pool->threads;
    pool->threads += count;
    pool->starting += count;
    set_active_locked(pool, pool->active + count);
    (void)pthread_mutex_unlock(&pool->lock);
    unsigned started = 0;
    while (started < count && start_thread(pool, &attributes, first + started) == 0) {
        started++;
    }
    (void)pthread_attr_destroy(&attributes);
    unsigned missing = count - started;
    if (missing > 0) {
        (void)pthread_mutex_lock(&pool->lock);
        pool->threads -= missing;
        pool->starting -= missing;
        set_active_locked(pool, pool->active - missing);
        (void)pthread_mutex_unlock(&pool->lock);
    }
    return started;
}

bool
fm_pool_sample(struct fm_pool *pool, struct fm_growth_sample *sample)
{
    uint64_t waiting = fm_slots_waiting(pool->slots);
    uint64_t share = fm_roster_share(pool->roster, waiting);
    (void)pthread_mutex_lock(&pool->lock);
    bool idle = pool->led || pool->parked != NULL || fm_load_relaxed(&pool->solo);
    unsigned threads = pool->threads;
    uint64_t room = share > pool->active ? share - pool->active : 0;
    uint64_t allowed = pool->threads_limit > threads ? pool->threads_limit - threads : 0;
    sample->active = pool->active;
    sample->idles = pool->idles;
    sample->settled = pool->starting == 0;
    (void)pthread_mutex_unlock(&pool->lock);
    sample->waiting = waiting;
    sample->room = room < allowed ? room : allowed;
    sample->time = fm_clock_now();
    sample->cpu = idle || sample->room == 0 ? 0 : fm_clock_process_cpu();
    return !idle;
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
    return item != FM_NO_ITEM && now - since > thread->pool->task_timeout
           && fm_load_relaxed(&thread->running) == item;
}

struct fm_pool_thread *
fm_pool_find_overdue(struct fm_pool *pool, int64_t now, bool runnable_only)
{
    struct fm_pool_thread *thread;
    (void)pthread_mutex_lock(&pool->lock);
    for (thread = pool->all; thread != NULL; thread = thread->next_thread) {
        if (is_overdue(thread, now)
            && (!runnable_only || fm_process_thread_is_runnable(thread->tid))) {
            break;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return thread;
}
