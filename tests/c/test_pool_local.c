#include "supervisor.h"

#include "board.h"
#include "support.h"

#include <stdlib.h>

/* Few, so that all of them hold an item and none is idle. */
#define HELD_THREADS 4

/* A pool in this process, as src/python/local.c has it, without Python. */
struct local {
    struct fm_board board;
    struct fm_pool pool;
    int64_t nap;            /* that each item takes */
    fm_atomic_u32 held;     /* 1: items don't return */
    fm_atomic_u32 running;  /* items that run now */
    fm_atomic_u32 ran;      /* items that were run */
    fm_atomic_u32 released; /* how often the last one left */
};

static void
run_thread(void *context, struct fm_pool_thread *thread)
{
    struct local *local = context;
    uint64_t item;
    while (fm_pool_wait(thread, &item)) {
        (void)fm_add_seq_cst(&local->running, 1);
        test_sleep(local->nap);
        while (fm_load_acquire(&local->held)) {
            test_sleep(FM_MILLISECOND);
        }
        (void)fm_sub_seq_cst(&local->running, 1);
        (void)fm_add_seq_cst(&local->ran, 1);
        fm_pool_complete(thread, item);
    }
    if (fm_pool_leave(&local->pool)) {
        (void)fm_add_seq_cst(&local->released, 1);
    }
}

static struct local *
start_local(uint64_t total, uint64_t buffersize, int64_t nap, bool held)
{
    struct local *local = calloc(1, sizeof *local);
    struct fm_board_options options = {
        .workers = 1,
        .buffersize = buffersize,
        .inherited = true,
        .total = total,
        .arena_limit = FM_ARENA_DEFAULT_LIMIT,
    };
    CHECK_EQUAL(fm_board_map(&local->board, &options, NULL), 0);
    local->nap = nap;
    fm_store_relaxed(&local->held, held);
    local->pool.slots = &local->board.slots;
    local->pool.roster = &local->board.roster;
    local->pool.self = &local->board.roster.entries[0];
    local->pool.threads_limit = held ? HELD_THREADS : 1000;
    local->pool.hooks = (struct fm_pool_hooks){.run_thread = run_thread, .context = local};
    local->pool.parent_pidfd = local->pool.close_fd = -1;
    local->pool.local = true;
    CHECK_EQUAL(fm_pool_init(&local->pool), 0);
    CHECK_EQUAL(fm_supervisor_start(&local->pool), 0);
    fm_store_relaxed(&local->board.slots.shared->watched, 1);
    CHECK_EQUAL(fm_pool_add_threads(&local->pool, 1), 1);
    return local;
}

/* True if nobody is left. */
static bool
stop_local(struct local *local, int64_t timeout)
{
    fm_board_end(&local->board);
    fm_supervisor_join(&local->pool);
    if (fm_pool_leave(&local->pool)) {
        (void)fm_add_seq_cst(&local->released, 1);
    }
    fm_pool_await_empty(&local->pool, timeout);
    return fm_load_seq_cst(&local->pool.present) == 0;
}

static void
free_local(struct local *local)
{
    while (fm_load_seq_cst(&local->released) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    CHECK_EQUAL(fm_load_seq_cst(&local->released), 1);
    fm_pool_fini(&local->pool);
    fm_board_unmap(&local->board);
    free(local);
}

static void
await(fm_atomic_u32 *number, uint32_t least)
{
    while (fm_load_seq_cst(number) < least) {
        test_sleep(FM_MILLISECOND);
    }
}

/* All threads, and the supervisor, leave by themselves after the last item. */
static void
check_end_of_input(void)
{
    struct local *local = start_local(300, 300, 5 * FM_MILLISECOND, false);
    await(&local->ran, 300);
    while (fm_load_seq_cst(&local->pool.present) > 1) { /* the share that stop_local gives back */
        test_sleep(FM_MILLISECOND);
    }
    (void)pthread_mutex_lock(&local->pool.lock);
    CHECK(local->pool.over && local->pool.threads > 1);
    (void)pthread_mutex_unlock(&local->pool.lock);
    CHECK(fm_pool_is_closing(&local->pool));
    CHECK(stop_local(local, 20 * FM_SECOND));
    free_local(local);
}

/* Threads that wait for room leave when the ring ends. */
static void
check_end_while_waiting(void)
{
    struct local *local = start_local(1000000, 10, 0, false);
    await(&local->ran, 10);
    CHECK(stop_local(local, 20 * FM_SECOND));
    CHECK_EQUAL(fm_load_seq_cst(&local->ran), 10);
    free_local(local);
}

/* Those that run an item leave when it is done, and nobody waits for them for ever. */
static void
check_end_while_running(void)
{
    struct local *local = start_local(1000, 1000, 0, true);
    await(&local->running, HELD_THREADS);
    CHECK(!stop_local(local, FM_MILLISECOND));
    CHECK_EQUAL(fm_load_seq_cst(&local->released), 0);
    fm_store_release(&local->held, 0);
    free_local(local);
}

/* Maps one after the other, ended at any moment. */
static void
check_many(void)
{
    for (int i = 0; i < CHECK_SCALED(300); i++) {
        struct local *local = start_local(200, 100, 0, false);
        await(&local->ran, (uint32_t)(i % 100));
        CHECK(stop_local(local, 20 * FM_SECOND));
        free_local(local);
    }
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_end_of_input();
    check_end_while_waiting();
    check_end_while_running();
    check_many();
    return 0;
}
