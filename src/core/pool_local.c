/* The end of a pool whose process goes on (pool.h, `local`). */
#include "pool.h"

#include "clock.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

bool
fm_pool_is_closing(struct fm_pool *pool)
{
    if (!pool->local) {
        return false;
    }
    (void)pthread_mutex_lock(&pool->lock);
    bool over = pool->over;
    (void)pthread_mutex_unlock(&pool->lock);
    return over || fm_load_acquire(&pool->slots->shared->ended);
}

bool
fm_pool_leave(struct fm_pool *pool)
{
    /* Whoever was not the last must not look at the pool again: it may be gone. */
    bool last = fm_sub_seq_cst(&pool->present, 1) == 1;
    if (last) {
        (void)fm_futex_wake(&pool->present, INT_MAX);
    }
    return last;
}

void
fm_pool_await_empty(struct fm_pool *pool, int64_t timeout_ns)
{
    int64_t deadline = fm_clock_now() + timeout_ns;
    uint32_t present = fm_load_seq_cst(&pool->present);
    int64_t left = timeout_ns;
    while (present > 0 && left > 0) {
        (void)fm_futex_wait(&pool->present, present, left);
        present = fm_load_seq_cst(&pool->present);
        left = deadline - fm_clock_now();
    }
}

void
fm_pool_fini(struct fm_pool *pool)
{
    while (pool->all != NULL) {
        struct fm_pool_thread *thread = pool->all;
        pool->all = thread->next_thread;
        free(thread);
    }
    (void)close(pool->kick_fd);
    (void)pthread_mutex_destroy(&pool->lock);
}
