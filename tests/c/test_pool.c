#include "pool.h"

#include "engine.h"

#include <errno.h>
#include <string.h>

/* ---- threads that can't be started ---- */

static fm_atomic_u32 threads_granted = UINT32_MAX;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                      void *argument)
{
    if (fm_load_relaxed(&threads_granted) == 0) {
        return EAGAIN;
    }
    (void)fm_add_relaxed(&threads_granted, UINT32_MAX); /* minus one */
    return __real_pthread_create(thread, attributes, run, argument);
}

/* ---- a pool whose only thread is the test's ---- */

struct bench {
    struct fm_board board;
    struct fm_pool pool;
    struct fm_pool_thread *thread;
};

static struct bench *
make_bench(unsigned workers, uint64_t total, uint64_t buffersize)
{
    static struct bench bench;
    struct fm_board_options options = {
        .workers = workers,
        .buffersize = buffersize,
        .inherited = total != FM_UNKNOWN_TOTAL,
        .total = total,
        .arena_limit = FM_ARENA_DEFAULT_LIMIT,
    };
    memset(&bench, 0, sizeof bench);
    CHECK_EQUAL(fm_board_map(&bench.board, &options, NULL), 0);
    bench.pool.slots = &bench.board.slots;
    bench.pool.roster = &bench.board.roster;
    bench.pool.self = &bench.board.roster.entries[0];
    bench.pool.threads_limit = 10;
    CHECK_EQUAL(fm_pool_init(&bench.pool), 0);
    fm_store_relaxed(&bench.board.slots.shared->watched, 1);
    bench.thread = &bench.pool.main_thread;
    return &bench;
}

static void
drop_bench(struct bench *bench)
{
    (void)close(bench->pool.kick_fd);
    fm_board_unmap(&bench->board);
}

static void
publish(struct bench *bench, uint64_t first, uint64_t end)
{
    for (uint64_t item = first; item < end; item++) {
        fm_slots_publish(&bench->board.slots, item);
    }
    fm_slots_announce(&bench->board.slots, end);
}

static void
check_first_state(void)
{
    struct bench *bench = make_bench(1, 10, 10);
    CHECK_EQUAL(bench->pool.threads, 1);
    CHECK_EQUAL(bench->pool.active, 1);
    CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->active), 1);
    CHECK(bench->pool.all == bench->thread && bench->thread->next_thread == NULL);
    CHECK_EQUAL(bench->thread->tid, fm_process_thread_id());
    drop_bench(bench);
}

/* A process that may run five items gets no sixth, and is over though there are more. */
static void
check_budget(void)
{
    struct bench *bench = make_bench(2, 100, 100);
    uint64_t item = FM_NO_ITEM;
    bench->pool.is_mortal = true;
    bench->pool.budget = 5;
    CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->started), 0);
    for (uint64_t expected = 0; expected < 5; expected++) {
        CHECK(!fm_pool_is_spent(&bench->pool) || bench->thread->reserved < 5);
        CHECK(fm_pool_wait(bench->thread, &item));
        CHECK_EQUAL(item, expected);
        CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->started), 1);
        fm_pool_complete(bench->thread, item);
    }
    CHECK(fm_pool_is_spent(&bench->pool));
    CHECK(!fm_pool_wait(bench->thread, &item));
    CHECK(bench->pool.over);
    CHECK_EQUAL(fm_slots_waiting(&bench->board.slots), 95);
    drop_bench(bench);
}

/* A thread takes as many at a time as it is told to, but at the end. */
static void
check_chunks(void)
{
    struct bench *bench = make_bench(1, 1000, 1000);
    uint64_t item;
    bench->pool.chunksize = 100;
    fm_pool_init_thread(bench->thread, &bench->pool, 0);
    for (uint64_t expected = 0; expected < 800; expected++) {
        CHECK(expected == 0 ? fm_pool_wait(bench->thread, &item)
                            : fm_pool_next(bench->thread, &item));
        CHECK_EQUAL(item, expected);
        CHECK_EQUAL(bench->thread->reserved_end, (expected / 100 + 1) * 100);
        fm_pool_complete(bench->thread, item);
    }
    drop_bench(bench);
}

/* One thread alone gets every item once, in order, and then the end. */
static void
check_all_items(bool wait_only)
{
    struct bench *bench = make_bench(1, 3000, 3000);
    uint64_t item;
    for (uint64_t expected = 0; expected < 3000; expected++) {
        if (expected == 0 || wait_only) {
            CHECK(fm_pool_wait(bench->thread, &item));
        } else {
            CHECK(fm_pool_next(bench->thread, &item));
        }
        CHECK_EQUAL(item, expected);
        CHECK(!fm_slots_is_done(&bench->board.slots, item));
        fm_pool_complete(bench->thread, item);
        CHECK(fm_slots_is_done(&bench->board.slots, item));
    }
    CHECK(!fm_pool_next(bench->thread, &item));
    CHECK(!fm_pool_wait(bench->thread, &item));
    CHECK_EQUAL(bench->pool.active, 0);
    CHECK(bench->pool.over);
    drop_bench(bench);
}

static uint64_t
run_batch(struct bench *bench, int64_t each)
{
    uint64_t item;
    CHECK(fm_pool_next_batch(bench->thread, &item));
    uint64_t count = 1 + bench->thread->reserved_end - bench->thread->reserved;
    do {
        test_burn(each);
        fm_pool_complete(bench->thread, item);
    } while (fm_pool_next_reserved(bench->thread, &item));
    return count;
}

/* Batches grow while items are quick, up to a most; shrink at once for slow ones. */
static void
check_batches(void)
{
    struct bench *bench = make_bench(1, 1000000, 1000000);
    uint64_t largest = 0;
    CHECK_EQUAL(run_batch(bench, 0), 1);
    for (int i = 0; i < 100; i++) {
        uint64_t count = run_batch(bench, 0);
        largest = count > largest ? count : largest;
        CHECK(count <= 256);
    }
    CHECK(largest >= 8);
    (void)run_batch(bench, 2 * FM_MILLISECOND);
    (void)run_batch(bench, 2 * FM_MILLISECOND);
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(run_batch(bench, 2 * FM_MILLISECOND), 1);
    }
    drop_bench(bench);
}

/* Near the end nobody takes more than its part of half of what is left. */
static void
check_last_batches(void)
{
    struct bench *bench = make_bench(2, 100, 100);
    bench->pool.chunksize = 64; /* so that no batch is made smaller because it took long */
    bench->thread->batch = 64;
    for (uint64_t left = 100; left > 0;) {
        uint64_t most = left / 4 > 0 ? left / 4 : 1;
        uint64_t count = run_batch(bench, 0);
        CHECK_EQUAL(count, most < 64 ? most : 64);
        left -= count;
    }
    drop_bench(bench);
}

/* Items leave waiting work to a process that has less. */
static void
check_share(void)
{
    struct bench *bench = make_bench(2, FM_UNKNOWN_TOTAL, 100);
    struct fm_roster_entry *other = &bench->board.roster.entries[1];
    uint64_t item;
    publish(bench, 0, 1);
    fm_store_relaxed(&bench->pool.self->active, 3);
    fm_store_relaxed(&other->active, 0);
    CHECK(!fm_pool_next_batch(bench->thread, &item));
    fm_store_relaxed(&other->alive, 0);
    CHECK(fm_pool_next_batch(bench->thread, &item));
    fm_store_relaxed(&other->alive, 1);
    publish(bench, 1, 2);
    CHECK(!fm_pool_next_batch(bench->thread, &item));
    fm_store_relaxed(&other->active, 2);
    CHECK(fm_pool_next_batch(bench->thread, &item));
    /* A process with nothing to do takes what there is, however little the others have. */
    publish(bench, 2, 3);
    fm_store_relaxed(&bench->pool.self->active, 1);
    fm_store_relaxed(&other->active, 0);
    CHECK(fm_pool_next_batch(bench->thread, &item));
    /* Much waiting work is for everybody. */
    publish(bench, 3, 13);
    fm_store_relaxed(&bench->pool.self->active, 5);
    CHECK(fm_pool_next_batch(bench->thread, &item));
    drop_bench(bench);
}

/* The consumer is rung for the item that it waits for, on both ways to the next item. */
static void
check_consumer_rung(void)
{
    struct bench *bench = make_bench(1, FM_UNKNOWN_TOTAL, 16);
    struct fm_doorbell *consumer = &bench->board.slots.shared->consumer;
    uint64_t item;
    publish(bench, 0, 5);
    bench->thread->batch = 2;
    CHECK(fm_pool_wait(bench->thread, &item)); /* reserves 0 and 1 */
    (void)fm_doorbell_arm(consumer, 0);
    fm_pool_complete(bench->thread, 0);
    CHECK_EQUAL(fm_doorbell_wanted(consumer), 0);
    CHECK(fm_pool_next(bench->thread, &item));
    CHECK_EQUAL(item, 1);
    CHECK_EQUAL(fm_doorbell_wanted(consumer), FM_NOBODY);
    (void)fm_doorbell_arm(consumer, 3);
    fm_pool_complete(bench->thread, 1);
    CHECK(fm_pool_next(bench->thread, &item));
    CHECK_EQUAL(fm_doorbell_wanted(consumer), 3); /* not for another one */
    fm_doorbell_disarm(consumer);
    (void)fm_doorbell_arm(consumer, 2);
    fm_pool_complete(bench->thread, 2);
    CHECK(fm_pool_next(bench->thread, &item)); /* a new batch */
    CHECK_EQUAL(fm_doorbell_wanted(consumer), FM_NOBODY);
    fm_pool_complete(bench->thread, item);
    CHECK(fm_pool_next(bench->thread, &item));
    CHECK_EQUAL(item, 4);
    (void)fm_doorbell_arm(consumer, 4);
    fm_pool_complete(bench->thread, 4);
    CHECK(!fm_pool_next(bench->thread, &item)); /* and where there is none */
    CHECK_EQUAL(fm_doorbell_wanted(consumer), FM_NOBODY);
    drop_bench(bench);
}

/* A successor takes what was left to it, and nothing else before that is done; its last results are
 * announced, whichever way its thread goes on. */
static void
check_left_over(bool wait_only)
{
    struct bench *bench = make_bench(1, FM_UNKNOWN_TOTAL, 16);
    struct fm_slots *slots = &bench->board.slots;
    struct fm_doorbell *consumer = &slots->shared->consumer;
    uint64_t item;
    publish(bench, 0, 4);
    fm_store_relaxed(&slots->shared->cursor, 3);
    for (item = 0; item < 3; item++) {
        CHECK(fm_slots_claim(slots, item, 0));
        if (item != 1) {
            fm_slots_mark_retry(slots, item, 0);
        }
    }
    fm_store_relaxed(&bench->pool.self->solo, 1);
    CHECK(!fm_pool_next(bench->thread, &item));
    CHECK(fm_pool_wait(bench->thread, &item));
    CHECK_EQUAL(item, 0);
    (void)fm_doorbell_arm(consumer, 0);
    fm_pool_complete(bench->thread, 0);
    CHECK(wait_only || !fm_pool_next(bench->thread, &item));
    CHECK(fm_pool_wait(bench->thread, &item));
    CHECK_EQUAL(item, 2);
    CHECK_EQUAL(fm_doorbell_wanted(consumer), FM_NOBODY);
    CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->solo), 1);
    fm_pool_complete(bench->thread, 2);
    CHECK(wait_only || !fm_pool_next(bench->thread, &item));
    CHECK(fm_pool_wait(bench->thread, &item));
    CHECK_EQUAL(item, 3);
    CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->solo), 0);
    drop_bench(bench);
}

/* Detached items count as active until they are completed, in any order; the consumer is rung for
 * each, and it is over only after the last. */
static void
check_detached(void)
{
    struct bench *bench = make_bench(1, 3, 3);
    struct fm_doorbell *consumer = &bench->board.slots.shared->consumer;
    uint64_t item;
    CHECK(fm_pool_wait(bench->thread, &item));
    fm_pool_detach(&bench->pool);
    while (fm_pool_next(bench->thread, &item)) {
        fm_pool_detach(&bench->pool);
    }
    CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->active), 4); /* and the thread */
    for (item = 3; item-- > 0;) {
        CHECK(!fm_slots_is_done(&bench->board.slots, item));
        (void)fm_doorbell_arm(consumer, item);
        fm_pool_complete_detached(&bench->pool, item);
        CHECK(fm_slots_is_done(&bench->board.slots, item));
        CHECK_EQUAL(fm_doorbell_wanted(consumer), FM_NOBODY);
        CHECK_EQUAL(fm_load_relaxed(&bench->pool.self->active), item + 1);
    }
    CHECK(!fm_pool_wait(bench->thread, &item));
    drop_bench(bench);
}

static void *
complete_while_awaited(void *argument)
{
    struct bench *bench = argument;
    struct fm_doorbell *work = &bench->pool.self->work;
    while (fm_doorbell_wanted(work) == FM_NOBODY) {
        test_sleep(FM_MILLISECOND);
    }
    uint32_t rings = fm_load_relaxed(&work->rings);
    fm_pool_complete_detached(&bench->pool, 0);
    CHECK_EQUAL(fm_load_relaxed(&work->rings), rings + 1);
    return NULL;
}

/* A leader that waits for the last detached item is told that it was the last. */
static void
check_last_detached(void)
{
    struct bench *bench = make_bench(1, 1, 1);
    uint64_t item;
    CHECK(fm_pool_wait(bench->thread, &item));
    fm_pool_detach(&bench->pool);
    pthread_t other = test_thread(complete_while_awaited, bench);
    CHECK(!fm_pool_wait(bench->thread, &item));
    CHECK(fm_slots_is_done(&bench->board.slots, 0));
    test_join_thread(other);
    drop_bench(bench);
}

static void
check_sample(void)
{
    struct bench *bench = make_bench(2, FM_UNKNOWN_TOTAL, 100);
    struct fm_growth_sample sample;
    uint64_t item;
    publish(bench, 0, 30);
    CHECK(fm_pool_sample(&bench->pool, &sample));
    CHECK(!sample.settled);
    CHECK_EQUAL(sample.waiting, 30);
    CHECK_EQUAL(sample.active, 1);
    CHECK_EQUAL(sample.room, 9); /* the limit of ten; the share is 16 */
    CHECK(fm_pool_wait(bench->thread, &item));
    CHECK(fm_pool_sample(&bench->pool, &sample));
    CHECK(sample.settled);
    CHECK_EQUAL(sample.waiting, 29);
    int64_t cpu = sample.cpu;
    int64_t start = fm_clock_process_cpu();
    while (fm_clock_process_cpu() - start < 2 * FM_MILLISECOND) {
    }
    CHECK(fm_pool_sample(&bench->pool, &sample));
    CHECK(sample.cpu - cpu > FM_MILLISECOND);
    fm_store_relaxed(&bench->board.slots.shared->cursor, 26);
    CHECK(fm_pool_sample(&bench->pool, &sample));
    CHECK_EQUAL(sample.room, 2); /* ceil((4 + 1) / 2) less its own */
    bench->pool.threads_limit = 1;
    CHECK(fm_pool_sample(&bench->pool, &sample));
    CHECK_EQUAL(sample.room, 0);
    bench->pool.led = true;
    CHECK(!fm_pool_sample(&bench->pool, &sample));
    bench->pool.led = false;
    fm_store_relaxed(&bench->board.slots.shared->watched, 0);
    CHECK(!fm_pool_sample(&bench->pool, &sample));
    CHECK(fm_pool_is_runnable(&bench->pool));
    bench->pool.all = NULL;
    CHECK(!fm_pool_is_runnable(&bench->pool));
    drop_bench(bench);
}

static void
check_overdue(void)
{
    struct bench *bench = make_bench(1, 10, 10);
    struct fm_pool *pool = &bench->pool;
    int64_t before = fm_clock_now();
    pool->task_timeout = FM_SECOND;
    CHECK(fm_pool_find_overdue(pool, before + 10 * FM_SECOND) == NULL);
    fm_pool_note_begin(bench->thread, 5);
    int64_t start = (int64_t)fm_load_relaxed(&bench->thread->since);
    CHECK(before <= start && start <= fm_clock_now());
    CHECK(fm_pool_find_overdue(pool, start + FM_SECOND / 2) == NULL);
    CHECK(fm_pool_find_overdue(pool, start + 2 * FM_SECOND) == bench->thread);
    struct fm_pool_thread newer = {.pool = pool, .next_thread = pool->all};
    fm_pool_note_begin(&newer, 6);
    fm_store_relaxed(&newer.since, (uint64_t)start + 1);
    pool->all = &newer;
    CHECK(fm_pool_find_overdue(pool, start + 2 * FM_SECOND) == bench->thread);
    pool->all = bench->thread;
    CHECK(fm_pool_note_end(bench->thread));
    CHECK(fm_pool_find_overdue(pool, start + 2 * FM_SECOND) == NULL);
    drop_bench(bench);
}

static void
check_condemned(void)
{
    struct bench *bench = make_bench(1, 10, 10);
    struct fm_overdue overdue = {.item = 5, .running = &bench->thread->running};
    fm_pool_note_begin(bench->thread, 5);
    CHECK(fm_pool_condemn(&overdue));
    CHECK(!fm_pool_note_end(bench->thread));
    /* One that has ended meanwhile, or that no thread is in. */
    CHECK(!fm_pool_condemn(&overdue));
    fm_pool_note_begin(bench->thread, 6);
    CHECK(!fm_pool_condemn(&overdue));
    CHECK(fm_pool_note_end(bench->thread));
    CHECK(fm_pool_condemn(&(struct fm_overdue){.item = 6}));
    drop_bench(bench);
}

static bool
has_state(const struct fm_pool_thread *thread)
{
    return fm_load_acquire(&thread->state) != NULL;
}

static void
check_hog(void)
{
    struct bench *bench = make_bench(1, 10, 10);
    bench->pool.hooks.is_hog = has_state;
    CHECK(fm_pool_find_hog(&bench->pool) == NULL);
    fm_store_release(&bench->thread->state, bench);
    CHECK(fm_pool_find_hog(&bench->pool) == bench->thread);
    drop_bench(bench);
}

/* Threads that the system doesn't grant are not counted, and the pool goes on with the others. */
static void
run_with_few_threads(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {
        .workers = 1, .threads_limit = 20, .items = 2000, .buffersize = 64, .inherited = true};
    (void)ignored;
    engine_start(&engine, &options);
    struct fm_pool *pool = &engine.pools[0];
    while (!fm_slots_is_done(&engine.board.slots, 63)) {
        test_sleep(FM_MILLISECOND);
    }
    fm_store_relaxed(&threads_granted, 3);
    CHECK_EQUAL(fm_pool_add_threads(pool, 8), 3);
    CHECK_EQUAL(fm_pool_add_threads(pool, 8), 0);
    CHECK_EQUAL(pool->threads, 4);
    engine_drain(&engine);
    engine_await_end(&engine);
    CHECK_EQUAL(pool->starting, 0);
    CHECK_EQUAL(pool->active, 0);
}

static void
withdraw(void *context, struct fm_pool_thread *thread)
{
    (void)context;
    fm_pool_withdraw(thread);
}

/* Threads that end before they have taken anything are not waited for. */
static void
check_withdrawn_threads(void *ignored)
{
    struct bench *bench = make_bench(1, 3, 3);
    struct fm_growth_sample sample;
    uint64_t item;
    (void)ignored;
    bench->pool.hooks.run_thread = withdraw;
    CHECK(fm_pool_wait(bench->thread, &item));
    CHECK_EQUAL(fm_pool_add_threads(&bench->pool, 4), 4);
    while (fm_load_relaxed(&bench->pool.self->active) != 1) {
        test_sleep(FM_MILLISECOND);
    }
    CHECK(fm_pool_sample(&bench->pool, &sample));
    CHECK(sample.settled);
    CHECK_EQUAL(sample.room, 0);
    do {
        fm_pool_complete(bench->thread, item);
    } while (fm_pool_wait(bench->thread, &item));
    drop_bench(bench);
}

/* ---- many threads, many items ---- */

static void
run_quick(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    if (item % 4 == 0) {
        test_burn(300);
    }
}

/* Some block, some compute, most do neither: batches grow and shrink all the time. */
static void
run_mixed(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    if (item % 97 == 0) {
        test_sleep(200 * FM_MICROSECOND);
    } else if (item % 13 == 0) {
        test_burn((int64_t)(item % 20) * FM_MICROSECOND);
    }
}

#define STRESS(size, ...) {.buffersize = size, .watched = true, __VA_ARGS__}

static void
run_stress(void *argument)
{
    engine_run(argument);
}

static const struct engine_options stresses[] = {
    STRESS(1, .workers = 1, .threads = 1, .items = 5000),
    STRESS(1, .workers = 2, .threads = 2, .items = 5000, .inherited = true),
    STRESS(2, .workers = 2, .threads = 3, .items = 10000),
    STRESS(4, .workers = 3, .threads = 1, .items = 10000, .inherited = true),
    STRESS(8, .workers = 2, .threads = 4, .items = 20000, .dawdles = true),
    STRESS(8, .workers = 2, .threads = 2, .items = 20000, .inherited = true, .dawdles = true),
    STRESS(1024, .workers = 2, .threads = 1, .items = 200000, .burst = 64),
    STRESS(1024, .workers = 2, .threads = 3, .items = 200000, .inherited = true),
    STRESS(1024, .workers = 2, .threads = 2, .items = 100000, .burst = 4, .dawdles = true),
    STRESS(1024, .workers = 1, .threads = 2, .items = 20000, .wait_only = true),
    STRESS(300, .workers = 4, .threads = 2, .items = 20000, .run = run_mixed),
};

static void
run_stresses(bool forked)
{
    for (size_t i = 0; i < sizeof stresses / sizeof *stresses; i++) {
        struct engine_options stress = stresses[i];
        char name[64];
        stress.items = CHECK_SCALED(stress.items);
        stress.threads_limit = stress.threads;
        stress.forked = forked;
        if (stress.run == NULL) {
            stress.run = run_quick;
        }
        (void)snprintf(name, sizeof name, "%s, stress %zu", forked ? "processes" : "threads", i);
        test_run(name, run_stress, &stress);
    }
}

/* Few items and long pauses in the windows of races: the start, the end, the last item. */
static void
run_short(bool forked)
{
    int64_t end = fm_clock_now() + 500 * FM_MILLISECOND;
    for (unsigned i = 0; fm_clock_now() < end; i++) {
        struct engine_options stress = {.workers = 1 + i % 2,
                                        .threads = 1 + i % 3,
                                        .threads_limit = 3,
                                        .items = i % 40,
                                        .buffersize = 1 + i % 9,
                                        .inherited = i % 5 < 2,
                                        .forked = forked,
                                        .watched = true,
                                        .jitter = 3};
        test_join(test_fork(run_stress, &stress));
    }
}

#define BLOCKED 12 /* items at the same time, one in each thread */
#define ROUNDS 33

/* As many items block at the same time as there are threads, and never more. None goes on before
 * that many have come; then each takes so long that no thread learns to take two. */
static void
run_blocking(struct engine *engine, unsigned worker, uint64_t item)
{
    uint64_t before = fm_add_relaxed(&engine->shared->flags[0], 1);
    (void)worker;
    (void)item;
    while (fm_load_relaxed(&engine->shared->flags[0]) < (before / BLOCKED + 1) * BLOCKED) {
        test_sleep(FM_MILLISECOND);
    }
    test_sleep(10 * FM_MILLISECOND);
}

static void
run_blocked(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {.workers = 2,
                                     .threads = 6,
                                     .threads_limit = 6,
                                     .items = ROUNDS * BLOCKED,
                                     .buffersize = 100,
                                     .forked = true,
                                     .run = run_blocking};
    (void)ignored;
    engine_start(&engine, &options);
    engine_drain(&engine);
    engine_await_end(&engine);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->peak), BLOCKED);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->ran_by[0]), ROUNDS * BLOCKED / 2);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->ran_by[1]), ROUNDS * BLOCKED / 2);
}

/* When the board ends, threads that wait return at once, from the lead and from the park. */
static void
run_ended(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {
        .workers = 2, .threads = 4, .threads_limit = 4, .items = 0, .buffersize = 8};
    (void)ignored;
    options.items = 100;
    options.inherited = true;
    options.watched = true;
    engine_start(&engine, &options);
    struct fm_value value;
    for (int i = 0; i < 20; i++) {
        CHECK(engine_next(&engine, &value));
    }
    test_sleep(30 * FM_MILLISECOND); /* the window is full; all wait */
    watch_touch();
    fm_board_end(&engine.board);
    for (unsigned i = 0; i < options.workers; i++) {
        test_join_thread(engine.mains[i]);
    }
    engine_check_watch(&engine);
    /* The last ones to be called may still be on their way. */
    int64_t end = fm_clock_now() + 5 * FM_SECOND;
    while (fm_load_relaxed(&engine.shared->returned) < options.workers * options.threads) {
        CHECK(fm_clock_now() < end);
        test_sleep(FM_MILLISECOND);
    }
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    watch_check_linked();
    check_first_state();
    check_budget();
    check_chunks();
    check_all_items(false);
    check_all_items(true);
    check_batches();
    check_last_batches();
    check_share();
    check_consumer_rung();
    check_left_over(false);
    check_left_over(true);
    check_detached();
    check_last_detached();
    check_sample();
    check_overdue();
    check_condemned();
    check_hog();
    test_run("few threads", run_with_few_threads, NULL);
    test_run("withdrawn threads", check_withdrawn_threads, NULL);
    test_run("blocked", run_blocked, NULL);
    test_run("ended", run_ended, NULL);
    run_stresses(false);
    run_stresses(true);
    run_short(false);
    run_short(true);
    return 0;
}
