#include "pool.h"

#include "clock.h"
#include "descriptor.h"
#include "process.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

/* How long a leader sleeps that may not take the waiting work because others are less busy. */
#define REJECTED_DELAY FM_MILLISECOND

/* A successor is watched within microseconds, or never, and then has nothing to hurry for. */
#define WATCH_LOOK_MOST_MS 64

void
fm_pool_init_thread(struct fm_pool_thread *thread, struct fm_pool *pool, unsigned number)
{
    *thread = (struct fm_pool_thread){.pool = pool, .number = number, .finished = FM_NO_ITEM};
    thread->batch = pool->chunksize > 0 ? pool->chunksize : 1;
    thread->stats = fm_stats_of_thread(&pool->roster->stats[pool->worker], number);
    fm_store_relaxed(&thread->running, FM_NO_ITEM);
}

void
fm_pool_register_thread(struct fm_pool_thread *thread)
{
    struct fm_pool *pool = thread->pool;
    (void)pthread_mutex_lock(&pool->lock);
    thread->tid = fm_process_thread_id();
    (void)pthread_getcpuclockid(pthread_self(), &thread->cpu_clock);
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

static void
take_main_thread(struct fm_pool *pool)
{
    fm_pool_init_thread(&pool->main_thread, pool, 0);
    fm_store_relaxed(&pool->roster->stats[pool->worker].threads_most, 1);
    fm_pool_register_thread(&pool->main_thread);
    pool->threads = pool->active = pool->starting = 1;
    fm_store_relaxed(&pool->self->active, 1);
}

int
fm_pool_init(struct fm_pool *pool)
{
    if (!await_watch(pool)) {
        return -ECANCELED;
    }
    pool->kick_fd = fm_descriptor_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (pool->kick_fd < 0) {
        return pool->kick_fd;
    }
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &pool->signals);
    fm_moderation_init(&pool->moderation);
    pool->cpu_before = fm_load_relaxed(&pool->roster->stats[pool->worker].cpu);
    if (pool->local) {
        /* The supervisor's share, which whoever joins it gives back. */
        fm_store_relaxed(&pool->present, 1);
    } else {
        take_main_thread(pool);
    }
    return 0;
}

void
fm_pool_set_active_locked(struct fm_pool *pool, unsigned active)
{
    pool->active = active;
    fm_store_relaxed(&pool->self->active, active);
}

int64_t
fm_pool_note_cpu(struct fm_pool *pool)
{
    struct fm_stats *stats = &pool->roster->stats[pool->worker];
    int64_t cpu = fm_clock_process_cpu();
    fm_store_relaxed(&stats->cpu, pool->cpu_before + (uint64_t)cpu);
    return cpu;
}

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

static bool
is_all_claimed(struct fm_slots *slots)
{
    /* Pairs with the release in fm_slots_finish. */
    uint64_t total = fm_load_acquire(&slots->shared->total);
    return total != FM_UNKNOWN_TOTAL && fm_slots_limit(slots) >= total && !fm_slots_rewind(slots);
}

static bool
is_spent_locked(const struct fm_pool *pool)
{
    return pool->is_mortal && pool->budget == 0;
}

bool
fm_pool_is_spent(struct fm_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    bool spent = is_spent_locked(pool);
    (void)pthread_mutex_unlock(&pool->lock);
    return spent;
}

/* There is nothing more for this process to claim, and the items that it had are done. */
static bool
is_over(struct fm_pool *pool)
{
    bool all_claimed = is_all_claimed(pool->slots);
    (void)pthread_mutex_lock(&pool->lock);
    bool over = pool->active == 0 && (all_claimed || is_spent_locked(pool));
    (void)pthread_mutex_unlock(&pool->lock);
    return over;
}

/* There are items that this process might take. */
static bool
has_waiting(struct fm_pool *pool)
{
    return fm_slots_waiting(pool->slots) > 0 && !fm_pool_is_spent(pool);
}

/* What this process waits for when it waits for work at `limit`; FM_SPENT_KINDS for nothing. */
static enum fm_spent
look_what_is_missing(const struct fm_slots_shared *shared, uint64_t limit, bool rejected)
{
    if (rejected || limit >= fm_load_relaxed(&shared->total)) {
        return FM_SPENT_KINDS;
    }
    bool full = fm_load_relaxed(&shared->consumed) + shared->buffersize <= limit;
    return full ? FM_SPENT_ROOM : FM_SPENT_INPUT;
}

static void
sleep_as_leader(struct fm_pool_thread *thread, uint32_t ticket, int64_t timeout,
                enum fm_spent missing)
{
    int64_t since = fm_clock_now();
    (void)fm_doorbell_wait(&thread->pool->self->work, ticket, timeout);
    if (missing < FM_SPENT_KINDS) {
        fm_stats_spend(thread->stats, missing, fm_clock_now() - since);
    }
}

/* Sleeps until there may be work that was not there at `limit`. */
static void
lead_wait(struct fm_pool_thread *thread, bool rejected)
{
    struct fm_pool *pool = thread->pool;
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
                   || is_over(pool) || (!rejected && has_waiting(pool));
    if (changed) {
        fm_doorbell_disarm(&pool->self->work);
    } else {
        int64_t timeout = rejected ? REJECTED_DELAY : gap > 1 ? FM_MODERATION_DELAY : FM_FOREVER;
        sleep_as_leader(thread, ticket, timeout, look_what_is_missing(shared, limit, rejected));
    }
    fm_slots_end_await_room(pool->slots);
    if (!changed && fm_slots_limit(pool->slots) < limit + 2) {
        fm_moderation_fail(&pool->moderation);
    }
}

static bool
lead(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_pool *pool = thread->pool;
    while (!fm_load_acquire(&pool->slots->shared->ended)) {
        /* Counts as active while it looks, so that the others see how busy this process is. */
        (void)pthread_mutex_lock(&pool->lock);
        fm_pool_set_active_locked(pool, pool->active + 1);
        (void)pthread_mutex_unlock(&pool->lock);
        if (fm_pool_next_batch(thread, item)) {
            return true;
        }
        (void)pthread_mutex_lock(&pool->lock);
        fm_pool_set_active_locked(pool, pool->active - 1);
        (void)pthread_mutex_unlock(&pool->lock);
        if (is_over(pool)) {
            return false;
        }
        if (fm_slots_waiting(pool->slots) > 0) {
            fm_roster_call(pool->roster, UINT64_MAX - 1, pool->roster->count);
        }
        bool rejected = has_waiting(pool);
        lead_wait(thread, rejected);
        fm_moderation_update(&pool->moderation, fm_slots_limit(pool->slots), FM_BATCH_MOST);
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
    bool kick = (!over || pool->local) && pool->supervisor_asleep;
    if (kick) {
        pool->supervisor_asleep = false;
        pool->kicked = fm_clock_now();
    }
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

/* With its main thread the process has set itself up. */
static void
note_started_locked(struct fm_pool_thread *thread)
{
    if (!thread->started) {
        thread->started = true;
        thread->pool->starting--;
        fm_store_relaxed(&thread->pool->self->started, 1);
    }
}

/* Releases the lock. The last one to become idle may be what a leader waits for to see that all is
 * over. */
static void
end_active_unlock(struct fm_pool *pool)
{
    fm_pool_set_active_locked(pool, pool->active - 1);
    bool ring = pool->active == 0 && pool->led
                && (is_spent_locked(pool)
                    || fm_load_relaxed(&pool->slots->shared->total) != FM_UNKNOWN_TOTAL);
    (void)pthread_mutex_unlock(&pool->lock);
    if (ring) {
        fm_doorbell_ring(&pool->self->work);
    }
}

static void
become_idle(struct fm_pool_thread *thread)
{
    struct fm_pool *pool = thread->pool;
    (void)pthread_mutex_lock(&pool->lock);
    pool->idles++;
    note_started_locked(thread);
    end_active_unlock(pool);
}

void
fm_pool_stop_growing(struct fm_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->threads_limit = pool->threads;
    (void)pthread_mutex_unlock(&pool->lock);
}

void
fm_pool_withdraw(struct fm_pool_thread *thread)
{
    fm_pool_stop_growing(thread->pool);
    become_idle(thread);
}

static void
note_started(struct fm_pool_thread *thread)
{
    if (!thread->started) {
        (void)pthread_mutex_lock(&thread->pool->lock);
        note_started_locked(thread);
        (void)pthread_mutex_unlock(&thread->pool->lock);
    }
}

/* Only the main thread is there until a successor has run what was left to it. */
static bool
next_left_over(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_pool *pool = thread->pool;
    if (!fm_load_relaxed(&pool->self->solo)) {
        return false;
    }
    fm_pool_announce_finished(thread);
    if (fm_slots_claim_retry(pool->slots, pool->worker, item)) {
        return true;
    }
    fm_store_relaxed(&pool->self->solo, 0);
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

void
fm_pool_detach(struct fm_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    fm_pool_set_active_locked(pool, pool->active + 1);
    (void)pthread_mutex_unlock(&pool->lock);
}

void
fm_pool_complete_detached(struct fm_pool *pool, uint64_t item)
{
    fm_slots_complete(pool->slots, item);
    fm_fence_seq_cst();
    fm_slots_call_consumer(pool->slots, fm_slots_awaited(pool->slots, item));
    (void)pthread_mutex_lock(&pool->lock);
    end_active_unlock(pool);
}

bool
fm_pool_is_at_work(const struct fm_pool *pool)
{
    return fm_roster_is_at_work(pool->roster, pool->slots, pool->worker);
}

void
fm_pool_await_end(void)
{
    for (;;) {
        (void)pause();
    }
}
