#include "slots.h"

#include "engine.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- one call at a time ---- */

struct ring {
    struct fm_slots slots;
    void *memory;
};

static struct fm_slots *
make_ring(struct ring *ring, uint64_t buffersize, bool inherited, uint64_t total)
{
    uint64_t capacity = fm_slots_capacity(buffersize);
    size_t size = fm_slots_memory_size(capacity, inherited);
    ring->memory = aligned_alloc(FM_CACHE_LINE, size);
    CHECK(ring->memory != NULL);
    memset(ring->memory, 0, size);
    fm_slots_attach(&ring->slots, ring->memory, capacity, inherited, false);
    fm_slots_init(&ring->slots, buffersize, total);
    return &ring->slots;
}

static void
check_sizes(void)
{
    static const uint64_t cases[][2] = {
        {1, 1},       {2, 2},       {3, 4},       {4, 4}, {5, 8},
        {1000, 1024}, {1024, 1024}, {1025, 2048}, {0, 1}, {FM_MAX_CAPACITY, FM_MAX_CAPACITY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_EQUAL(fm_slots_capacity(cases[i][0]), cases[i][1]);
    }
    size_t shared = sizeof(struct fm_slots_shared);
    CHECK_EQUAL(fm_slots_memory_size(8, true), shared + 8 * 64);
    CHECK_EQUAL(fm_slots_memory_size(8, false), shared + 16 * 64);
    CHECK_EQUAL(shared % FM_CACHE_LINE, 0);
}

/* The parties' fields lie on lines of their own. */
static void
check_layout(void)
{
    CHECK_EQUAL(offsetof(struct fm_slots_shared, consumed) % FM_CACHE_LINE, 0);
    CHECK_EQUAL(offsetof(struct fm_slots_shared, cursor) % FM_CACHE_LINE, 0);
    CHECK_EQUAL(offsetof(struct fm_slots_shared, consumer) % FM_CACHE_LINE, 0);
    CHECK_EQUAL(offsetof(struct fm_slots_shared, feeder) % FM_CACHE_LINE, 0);
    CHECK_EQUAL(offsetof(struct fm_slots_shared, ended) % FM_CACHE_LINE, 0);
    CHECK_EQUAL(sizeof(struct fm_value), 56);
}

/* Every step of an item's life moves its word, and no word of another item, worker or round. */
static void
check_words(void)
{
    struct ring ring;
    struct fm_slots *slots = make_ring(&ring, 4, false, FM_UNKNOWN_TOTAL);
    static const uint64_t items[] = {0, 4, 8, (UINT64_C(1) << 38) - 4};
    uint64_t words[64];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        words[count++] = fm_slots_word(slots, items[i], FM_SLOT_READY, 0);
        words[count++] = fm_slots_word(slots, items[i], FM_SLOT_DONE, 0);
        for (uint32_t worker = 0; worker < FM_MAX_WORKERS; worker += 1365) {
            words[count++] = fm_slots_word(slots, items[i], FM_SLOT_RUNNING, worker);
        }
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(words[i] != 0);
        for (size_t j = 0; j < i; j++) {
            CHECK(words[i] != words[j]);
        }
    }
    free(ring.memory);
}

static void
check_fed_item(void)
{
    struct ring ring;
    uint64_t begin;
    struct fm_slots *slots = make_ring(&ring, 2, false, FM_UNKNOWN_TOTAL);
    CHECK_EQUAL(fm_slots_room(slots, 0), 2);
    CHECK_EQUAL(fm_slots_limit(slots), 0);
    CHECK_EQUAL(fm_slots_waiting(slots), 0);
    CHECK_EQUAL(fm_slots_reserve(slots, 9, &begin), 0);
    CHECK(!fm_slots_claim(slots, 0, 1));
    CHECK(!fm_slots_is_done(slots, 0));
    fm_slots_publish(slots, 0);
    CHECK_EQUAL(fm_slots_limit(slots), 0); /* not announced */
    fm_slots_announce(slots, 1);
    CHECK_EQUAL(fm_slots_limit(slots), 1);
    CHECK_EQUAL(fm_slots_waiting(slots), 1);
    CHECK_EQUAL(fm_slots_room(slots, 1), 1);
    CHECK_EQUAL(fm_slots_reserve(slots, 9, &begin), 1);
    CHECK_EQUAL(begin, 0);
    CHECK_EQUAL(fm_slots_waiting(slots), 0);
    CHECK(!fm_slots_claim(slots, 2, 1)); /* the slot's next item */
    CHECK(fm_slots_claim(slots, 0, 1));
    CHECK(!fm_slots_claim(slots, 0, 1));
    CHECK(!fm_slots_claim(slots, 0, 2));
    CHECK(!fm_slots_is_done(slots, 0));
    fm_slots_complete(slots, 0);
    CHECK(fm_slots_is_done(slots, 0));
    CHECK(!fm_slots_is_done(slots, 2));
    CHECK(!fm_slots_claim(slots, 0, 1));
    fm_slots_set_consumed(slots, 1);
    CHECK_EQUAL(fm_slots_room(slots, 1), 2);
    fm_slots_publish(slots, 2);
    CHECK(!fm_slots_claim(slots, 0, 1)); /* late */
    CHECK(!fm_slots_is_done(slots, 0));
    CHECK(fm_slots_claim(slots, 2, 1));
    fm_slots_finish(slots, 3);
    CHECK_EQUAL(fm_load_relaxed(&slots->shared->total), 3);
    CHECK_EQUAL(fm_slots_limit(slots), 3);
    free(ring.memory);
}

static void
check_item_done_by_feeder(void)
{
    struct ring ring;
    uint64_t begin;
    struct fm_slots *slots = make_ring(&ring, 4, false, FM_UNKNOWN_TOTAL);
    fm_slots_publish_done(slots, 0);
    fm_slots_publish(slots, 1);
    fm_slots_announce(slots, 2);
    CHECK(fm_slots_is_done(slots, 0));
    CHECK_EQUAL(fm_slots_reserve(slots, 2, &begin), 2);
    CHECK(!fm_slots_claim(slots, 0, 1));
    CHECK(fm_slots_claim(slots, 1, 1));
    free(ring.memory);
}

/* Inherited items need no feeder; the window moves with the consumer, at any buffersize. */
static void
check_inherited(uint64_t buffersize)
{
    struct ring ring;
    uint64_t begin;
    uint64_t total = 3 * buffersize + 1;
    struct fm_slots *slots = make_ring(&ring, buffersize, true, total);
    for (uint64_t item = 0; item < total; item++) {
        uint64_t limit = item + buffersize < total ? item + buffersize : total;
        CHECK_EQUAL(fm_slots_limit(slots), limit);
        CHECK_EQUAL(fm_slots_waiting(slots), limit - item);
        CHECK_EQUAL(fm_slots_reserve(slots, 1, &begin), 1);
        CHECK_EQUAL(begin, item);
        CHECK(fm_slots_claim(slots, item, 3));
        CHECK(!fm_slots_claim(slots, item, 3));
        CHECK(!fm_slots_claim(slots, item + slots->mask + 1, 3));
        fm_slots_complete(slots, item);
        CHECK(fm_slots_is_done(slots, item));
        CHECK(item <= slots->mask || !fm_slots_is_done(slots, item - slots->mask - 1));
        fm_slots_set_consumed(slots, item + 1);
    }
    CHECK_EQUAL(fm_slots_reserve(slots, 1, &begin), 0);
    free(ring.memory);
}

static void
check_reserve(void)
{
    struct ring ring;
    uint64_t begin;
    struct fm_slots *slots = make_ring(&ring, 10, true, 1000);
    CHECK_EQUAL(fm_slots_reserve(slots, 4, &begin), 4);
    CHECK_EQUAL(begin, 0);
    CHECK_EQUAL(fm_slots_reserve(slots, 4, &begin), 4);
    CHECK_EQUAL(begin, 4);
    CHECK_EQUAL(fm_slots_reserve(slots, 4, &begin), 2);
    CHECK_EQUAL(begin, 8);
    CHECK_EQUAL(fm_slots_reserve(slots, 4, &begin), 0);
    free(ring.memory);
}

/* Items reserved and not claimed come back to the cursor, claimed ones don't. */
static void
check_rewind(void)
{
    struct ring ring;
    uint64_t begin;
    struct fm_slots *slots = make_ring(&ring, 8, true, 1000);
    CHECK(fm_slots_rewind(slots)); /* nothing to set back, but items there are */
    CHECK_EQUAL(fm_load_relaxed(&slots->shared->cursor), 0);
    CHECK_EQUAL(fm_slots_reserve(slots, 6, &begin), 6);
    CHECK(fm_slots_claim(slots, 0, 1));
    CHECK(fm_slots_claim(slots, 1, 1));
    fm_slots_complete(slots, 1);
    CHECK(fm_slots_rewind(slots));
    CHECK_EQUAL(fm_load_relaxed(&slots->shared->cursor), 2);
    CHECK_EQUAL(fm_slots_waiting(slots), 6);
    CHECK_EQUAL(fm_slots_reserve(slots, 9, &begin), 6);
    for (uint64_t item = 2; item < 8; item++) {
        CHECK(fm_slots_claim(slots, item, 2));
    }
    CHECK(!fm_slots_rewind(slots));
    CHECK_EQUAL(fm_load_relaxed(&slots->shared->cursor), 8);
    fm_slots_complete(slots, 0);
    fm_slots_set_consumed(slots, 2);
    CHECK(fm_slots_rewind(slots)); /* 8 and 9 are admitted now */
    CHECK_EQUAL(fm_load_relaxed(&slots->shared->cursor), 8);
    free(ring.memory);
}

static void
check_item_to_await(void)
{
    struct ring ring;
    struct fm_slots *slots = make_ring(&ring, 8, false, FM_UNKNOWN_TOTAL);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 1), 0);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 5), 4); /* though nothing is admitted */
    for (uint64_t item = 0; item < 6; item++) {
        fm_slots_publish(slots, item);
    }
    fm_slots_announce(slots, 6);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 1), 0);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 4), 3);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 100), 7); /* more the ring cannot have */
    fm_slots_finish(slots, 6);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 100), 5);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 5, 100), 5);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 6, 100), 6);
    fm_slots_complete(slots, 5);
    fm_slots_complete(slots, 4);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 100), 3);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 5), 3);
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 3), 2);
    for (uint64_t item = 1; item < 4; item++) {
        fm_slots_complete(slots, item);
    }
    CHECK_EQUAL(fm_slots_item_to_await(slots, 0, 100), 0);
    free(ring.memory);
}

static void
check_walk(const struct fm_slots *slots, enum fm_slot_phase phase, uint32_t worker,
           const uint64_t *expected, size_t count)
{
    uint64_t item;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    for (size_t i = 0; i < count; i++) {
        CHECK(fm_slots_walk_to(slots, &walk, phase, worker, &item));
        CHECK_EQUAL(item, expected[i]);
    }
    CHECK(!fm_slots_walk_to(slots, &walk, phase, worker, &item));
}

static void
check_recovery(void)
{
    struct ring ring;
    uint64_t begin;
    struct fm_slots *slots = make_ring(&ring, 8, true, 100);
    CHECK_EQUAL(fm_slots_next_unfinished(slots, 0), 0);
    CHECK_EQUAL(fm_slots_reserve(slots, 8, &begin), 8);
    for (uint64_t item = 0; item < 8; item++) {
        CHECK(fm_slots_claim(slots, item, item % 2 == 0 ? 0 : 4095));
    }
    fm_slots_complete(slots, 2);
    fm_slots_complete(slots, 5);
    check_walk(slots, FM_SLOT_RUNNING, 4095, (const uint64_t[]){1, 3, 7}, 3);
    check_walk(slots, FM_SLOT_RUNNING, 0, (const uint64_t[]){0, 4, 6}, 3);
    check_walk(slots, FM_SLOT_RUNNING, 7, NULL, 0);
    fm_slots_mark_retry(slots, 3, 4095);
    check_walk(slots, FM_SLOT_RETRY, 4095, (const uint64_t[]){3}, 1);
    check_walk(slots, FM_SLOT_RUNNING, 4095, (const uint64_t[]){1, 7}, 2);
    CHECK_EQUAL(fm_slots_next_unfinished(slots, 2), 3);
    CHECK_EQUAL(fm_slots_next_unfinished(slots, 5), 6);
    CHECK_EQUAL(fm_slots_next_unfinished(slots, 8), FM_UNKNOWN_TOTAL);
    free(ring.memory);
}

static bool
is_readable(int fd)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};
    return poll(&watched, 1, 0) == 1;
}

/* A consumer in an event loop is told through its descriptor; any other costs nobody a write. */
static void
check_consumer_fd(void)
{
    struct ring ring;
    struct fm_slots *slots = make_ring(&ring, 4, true, 100);
    struct fm_doorbell *bell = &slots->shared->consumer;
    CHECK_EQUAL(slots->consumer_fd, -1);
    slots->consumer_fd = eventfd(0, EFD_NONBLOCK);
    (void)fm_doorbell_arm(bell, 0);
    fm_slots_call_consumer(slots, 0);
    fm_slots_ring_consumer(slots);
    CHECK_EQUAL(fm_doorbell_wanted(bell), FM_NOBODY);
    CHECK(!is_readable(slots->consumer_fd));
    fm_slots_arm_consumer_fd(slots, 2);
    CHECK_EQUAL(fm_doorbell_wanted(bell), 2);
    fm_slots_call_consumer(slots, 1);
    CHECK(!is_readable(slots->consumer_fd));
    fm_slots_call_consumer(slots, 2);
    CHECK_EQUAL(fm_doorbell_wanted(bell), FM_NOBODY);
    CHECK(is_readable(slots->consumer_fd));
    fm_slots_arm_consumer_fd(slots, 3);
    CHECK(!is_readable(slots->consumer_fd));
    fm_slots_ring_consumer(slots);
    CHECK(is_readable(slots->consumer_fd));
    (void)close(slots->consumer_fd);
    free(ring.memory);
}

static void
check_count_done(void)
{
    static const uint64_t done[] = {0, 1, 3, 6};
    struct ring ring;
    struct fm_slots *slots = make_ring(&ring, 8, true, 100);
    CHECK_EQUAL(fm_slots_count_done(slots, 0), 0);
    for (size_t i = 0; i < sizeof done / sizeof *done; i++) {
        CHECK(fm_slots_claim(slots, done[i], 1));
        fm_slots_complete(slots, done[i]);
    }
    CHECK(fm_slots_claim(slots, 7, 1));
    CHECK_EQUAL(fm_slots_count_done(slots, 0), 4);
    CHECK_EQUAL(fm_slots_count_done(slots, 2), 2);
    fm_slots_set_consumed(slots, 2);
    CHECK_EQUAL(fm_slots_count_done(slots, 2), 2); /* 8 and 9 are admitted, but not done */
    CHECK_EQUAL(fm_slots_count_done(slots, 8), 0);
    free(ring.memory);
}

/* ---- feeder, claimants, consumer ---- */

/* Reserves batches of random sizes and claims them. What it leaves of a batch it must set the
 * cursor back for, once, as the monitor does for a worker that died. */
static void
claim_and_run(struct engine *engine, unsigned worker)
{
    struct fm_slots *slots = &engine->board.slots;
    uint64_t seed = worker + 17;
    while (!fm_load_acquire(&slots->shared->ended)) {
        uint64_t begin;
        uint64_t count = fm_slots_reserve(slots, 1 + test_random(&seed) % 6, &begin);
        uint64_t end = begin + count;
        if (count == 0) {
            (void)sched_yield();
            continue;
        }
        bool leaves = fm_load_relaxed(&engine->shared->flags[0]) && test_random(&seed) % 4 == 0;
        for (uint64_t item = begin; item < (leaves ? begin + count / 2 : end); item++) {
            if (fm_slots_claim(slots, item, worker)) {
                engine_run_item(engine, worker, item);
            }
        }
        if (leaves) {
            (void)fm_slots_rewind(slots);
        }
    }
}

struct stress {
    uint64_t items;
    uint64_t buffersize;
    unsigned workers;
    bool inherited;
    bool dawdles;
    bool leaves;
    bool polls;
    unsigned jitter;
    bool forked;
};

static void
run_stress(void *argument)
{
    const struct stress *stress = argument;
    static struct engine engine;
    struct engine_options options = {
        .workers = stress->workers,
        .items = CHECK_SCALED(stress->items),
        .buffersize = stress->buffersize,
        .inherited = stress->inherited,
        .forked = stress->forked,
        .dawdles = stress->dawdles,
        .polls = stress->polls,
        .watched = true,
        .jitter = stress->jitter,
        .work = claim_and_run,
    };
    engine_start(&engine, &options);
    fm_store_relaxed(&engine.shared->flags[0], stress->leaves);
    engine_drain(&engine);
    fm_board_end(&engine.board);
    engine_await_end(&engine);
    CHECK_EQUAL(engine.crashed, 0);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->ended), options.workers);
    engine_check_watch(&engine);
}

static const struct stress stresses[] = {
    {.buffersize = 1, .items = 10000, .workers = 2},
    {.buffersize = 1, .items = 10000, .workers = 2, .inherited = true},
    {.buffersize = 2, .items = 10000, .workers = 3},
    {.buffersize = 3, .items = 20000, .workers = 2, .inherited = true, .leaves = true},
    {.buffersize = 4, .items = 30000, .workers = 3, .leaves = true},
    {.buffersize = 8, .items = 40000, .workers = 2, .dawdles = true},
    {.buffersize = 8, .items = 3000, .workers = 4, .jitter = 16, .leaves = true},
    {.buffersize = 100, .items = 200000, .workers = 2},
    {.buffersize = 1024, .items = 400000, .workers = 2, .leaves = true},
    {.buffersize = 1024, .items = 400000, .workers = 3, .inherited = true, .leaves = true},
    {.buffersize = 1024, .items = 100000, .workers = 2, .dawdles = true, .inherited = true},
    {.buffersize = 2, .items = 10000, .workers = 3, .polls = true},
    {.buffersize = 8, .items = 3000, .workers = 3, .polls = true, .jitter = 16},
    {.buffersize = 1024, .items = 100000, .workers = 2, .polls = true, .inherited = true},
};

static void
run_stresses(bool forked)
{
    for (size_t i = 0; i < sizeof stresses / sizeof *stresses; i++) {
        struct stress stress = stresses[i];
        char name[64];
        stress.forked = forked;
        (void)snprintf(name, sizeof name, "%s, stress %zu", forked ? "processes" : "threads", i);
        test_run(name, run_stress, &stress);
    }
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_sizes();
    check_layout();
    check_words();
    check_fed_item();
    check_item_done_by_feeder();
    for (uint64_t buffersize = 1; buffersize < 20; buffersize++) {
        check_inherited(buffersize);
    }
    check_reserve();
    check_rewind();
    check_item_to_await();
    check_recovery();
    check_consumer_fd();
    check_count_done();
    watch_check_linked();
    run_stresses(false);
    run_stresses(true);
    return 0;
}
