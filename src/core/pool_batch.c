/* How a pool thread takes work: in batches, and no more than its process's share. */
#include "pool.h"

#include "clock.h"

/* A batch should take about this long: long enough to make its overhead small, short enough that
 * nobody waits for what it holds back. */
#define BATCH_TIME (50 * FM_MICROSECOND)

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
    if (thread->pool->chunksize > 0) {
        return;
    }
    if (elapsed < BATCH_TIME / 2 && thread->batch < FM_BATCH_MOST) {
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
void
fm_pool_announce_finished(struct fm_pool_thread *thread)
{
    if (thread->finished == FM_NO_ITEM) {
        return;
    }
    fm_fence_seq_cst();
    fm_slots_call_consumer(thread->pool->slots, thread->finished);
    thread->finished = FM_NO_ITEM;
}

/* No more than the process may still run. */
static uint64_t
reserve_mortal(struct fm_pool *pool, uint64_t size, uint64_t *begin)
{
    (void)pthread_mutex_lock(&pool->lock);
    size = size < pool->budget ? size : pool->budget;
    uint64_t count = size > 0 ? fm_slots_reserve(pool->slots, size, begin) : 0;
    pool->budget -= count;
    (void)pthread_mutex_unlock(&pool->lock);
    return count;
}

static uint64_t
reserve(struct fm_pool_thread *thread, uint64_t *begin)
{
    struct fm_pool *pool = thread->pool;
    uint64_t size = batch_size(thread);
    return pool->is_mortal ? reserve_mortal(pool, size, begin)
                           : fm_slots_reserve(pool->slots, size, begin);
}

bool
fm_pool_next_batch(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_pool *pool = thread->pool;
    fm_pool_announce_finished(thread);
    end_batch(thread);
    unsigned others = fm_load_relaxed(&pool->self->active) - 1;
    if (fm_load_relaxed(&pool->self->solo) || !has_share(pool, others)) {
        return false;
    }
    for (;;) {
        uint64_t begin;
        uint64_t count = reserve(thread, &begin);
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
