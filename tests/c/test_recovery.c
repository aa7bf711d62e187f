#include "recovery.h"

#include "support.h"

#include <string.h>

#define BUFFERSIZE 8
#define WORKER 3

struct bench {
    struct fm_board board;
    struct fm_heap heap;
    struct fm_recovery recovery;
};

static struct bench *
make_limited_bench(uint64_t retries, uint64_t total, uint64_t limit)
{
    static struct bench bench;
    struct fm_board_options options = {
        .workers = 4,
        .buffersize = BUFFERSIZE,
        .inherited = true,
        .total = total,
        .arena_limit = limit,
    };
    CHECK_EQUAL(fm_board_map(&bench.board, &options, NULL), 0);
    fm_heap_init(&bench.heap, &bench.board.arena, 0);
    CHECK_EQUAL(fm_recovery_init(&bench.recovery, &bench.board, &bench.heap, retries), 0);
    return &bench;
}

static struct bench *
make_bench(uint64_t retries, uint64_t total)
{
    return make_limited_bench(retries, total, FM_ARENA_DEFAULT_LIMIT);
}

static void
drop_bench(struct bench *bench)
{
    fm_recovery_fini(&bench->recovery);
    fm_board_unmap(&bench->board);
}

static void
claim(struct bench *bench, uint64_t item, uint32_t worker)
{
    fm_store_relaxed(&bench->board.slots.shared->cursor, item + 1);
    CHECK(fm_slots_claim(&bench->board.slots, item, worker));
}

static struct fm_value
crash_of(int32_t pid)
{
    struct fm_value value = {.outcome = FM_OUTCOME_CRASHED};
    value.as.crash.pid = pid;
    return value;
}

static void
settle(struct bench *bench, int32_t pid)
{
    struct fm_value crash = crash_of(pid);
    fm_recovery_settle(&bench->recovery, WORKER, &crash);
}

/* Completed with the crash of this process; 0: not done. */
static void
check_crashed(struct bench *bench, uint64_t item, int32_t pid)
{
    CHECK_EQUAL(fm_slots_is_done(&bench->board.slots, item), pid != 0);
    if (pid != 0) {
        const struct fm_value *value = &fm_slots_at(&bench->board.slots, item)->value;
        CHECK_EQUAL(value->outcome, FM_OUTCOME_CRASHED);
        CHECK_EQUAL(value->as.crash.pid, pid);
    }
}

/* Only what the worker was running is lost: not what is done, nor others' items, nor unbegun. */
static void
check_without_retries(void)
{
    struct bench *bench = make_bench(0, 100);
    uint64_t item;
    claim(bench, 0, WORKER);
    claim(bench, 1, 1);
    claim(bench, 2, WORKER);
    claim(bench, 3, WORKER);
    claim(bench, 4, WORKER);
    fm_slots_complete(&bench->board.slots, 3);
    settle(bench, 111);
    check_crashed(bench, 0, 111);
    check_crashed(bench, 1, 0);
    check_crashed(bench, 2, 111);
    check_crashed(bench, 4, 111);
    CHECK(fm_slots_is_done(&bench->board.slots, 3));
    CHECK_EQUAL(fm_slots_at(&bench->board.slots, 3)->value.outcome, FM_OUTCOME_RESULT);
    CHECK(fm_slots_claim(&bench->board.slots, 5, 1));
    CHECK(!fm_slots_claim_retry(&bench->board.slots, WORKER, &item));
    drop_bench(bench);
}

static uint32_t watched; /* set by the one who watches */

static void *
watch_first(void *argument)
{
    const struct fm_slots *slots = argument;
    fm_store_release(&watched, 1);
    while (!fm_slots_is_done(slots, 0)) {
    }
    for (uint64_t item = 1; item < BUFFERSIZE; item++) {
        CHECK(fm_slots_is_done(slots, item));
    }
    return NULL;
}

/* Who takes results in order and comes to the first that was lost finds all of them. */
static void
check_all_at_once(void)
{
    for (int round = 0; round < 200; round++) {
        struct bench *bench = make_bench(0, 100);
        for (uint64_t item = 0; item < BUFFERSIZE; item++) {
            claim(bench, item, WORKER);
        }
        fm_store_relaxed(&watched, 0);
        pthread_t watcher = test_thread(watch_first, &bench->board.slots);
        while (!fm_load_acquire(&watched)) {
        }
        settle(bench, 111);
        test_join_thread(watcher);
        drop_bench(bench);
    }
}

static void
run_again(struct bench *bench, uint64_t expected)
{
    uint64_t item;
    CHECK(!fm_slots_claim_retry(&bench->board.slots, WORKER + 1, &item));
    CHECK(!fm_slots_claim(&bench->board.slots, expected, 1));
    CHECK(fm_slots_claim_retry(&bench->board.slots, WORKER, &item));
    CHECK_EQUAL(item, expected);
    CHECK(!fm_slots_is_done(&bench->board.slots, item));
}

/* Each item has its own count. */
static void
check_retries(void)
{
    struct bench *bench = make_bench(2, 100);
    uint64_t item;
    claim(bench, 0, WORKER);
    claim(bench, 1, WORKER);
    settle(bench, 111);
    check_crashed(bench, 0, 0);
    check_crashed(bench, 1, 0);
    CHECK(fm_slots_rewind(&bench->board.slots)); /* the others' items are not touched */
    CHECK_EQUAL(fm_load_relaxed(&bench->board.slots.shared->cursor), 2);
    run_again(bench, 0);
    settle(bench, 222); /* 0 for the second time; 1 was only waiting */
    run_again(bench, 0);
    fm_slots_complete(&bench->board.slots, 0);
    run_again(bench, 1);
    settle(bench, 333);
    run_again(bench, 1);
    settle(bench, 444);
    check_crashed(bench, 1, 444);
    CHECK(!fm_slots_claim_retry(&bench->board.slots, WORKER, &item));
    drop_bench(bench);
}

/* The count doesn't stay with the slot. */
static void
check_next_round(void)
{
    struct bench *bench = make_bench(1, 100);
    for (uint64_t item = 0; item < 50; item++) {
        claim(bench, item, WORKER);
        settle(bench, 111);
        run_again(bench, item);
        settle(bench, 222);
        check_crashed(bench, item, 222);
        fm_slots_set_consumed(&bench->board.slots, item + 1);
    }
    drop_bench(bench);
}

static void
check_abandon(void)
{
    struct bench *bench = make_bench(5, 100);
    struct fm_value crash = crash_of(222);
    uint64_t item;
    for (item = 0; item < 6; item++) {
        claim(bench, item, item % 2 == 0 ? WORKER : 1);
    }
    settle(bench, 111);
    fm_recovery_abandon(&bench->recovery, WORKER, &crash);
    for (item = 0; item < 6; item++) {
        check_crashed(bench, item, item % 2 == 0 ? 222 : 0);
    }
    CHECK(!fm_slots_claim_retry(&bench->board.slots, WORKER, &item));
    drop_bench(bench);
}

static void
check_has_work(void)
{
    struct bench *bench = make_bench(1, BUFFERSIZE + 1);
    CHECK(fm_recovery_has_work(&bench->recovery, WORKER)); /* unclaimed */
    for (uint64_t item = 0; item < BUFFERSIZE; item++) {
        claim(bench, item, item == 5 ? WORKER : 1);
    }
    CHECK(fm_recovery_has_work(&bench->recovery, WORKER)); /* not yet admitted */
    fm_slots_complete(&bench->board.slots, 0);
    fm_slots_set_consumed(&bench->board.slots, 1);
    claim(bench, BUFFERSIZE, 1);
    CHECK(!fm_recovery_has_work(&bench->recovery, WORKER));
    settle(bench, 111);
    CHECK(fm_recovery_has_work(&bench->recovery, WORKER)); /* left to it */
    CHECK(!fm_recovery_has_work(&bench->recovery, 1));
    run_again(bench, 5);
    settle(bench, 222);
    CHECK(!fm_recovery_has_work(&bench->recovery, WORKER));
    drop_bench(bench);
}

/* The item that the worker named is overdue, its other items are anybody's. */
static void
check_overdue(uint64_t stack_size, uint64_t limit, uint64_t stored)
{
    struct bench *bench = make_limited_bench(0, 100, limit);
    struct fm_slots *slots = &bench->board.slots;
    struct fm_last_words *words = &bench->board.roster.last_words[WORKER];
    uint64_t size;
    claim(bench, 0, WORKER);
    claim(bench, 1, WORKER);
    claim(bench, 2, 1);
    claim(bench, 3, WORKER);
    words->item = 1 + 1;
    words->size = stack_size;
    memset(words->stack, 'S', stack_size);
    fm_recovery_settle_overdue(&bench->recovery, WORKER);
    CHECK_EQUAL(words->item, 0);
    CHECK(fm_slots_is_done(slots, 1));
    const struct fm_value *value = &fm_slots_at(slots, 1)->value;
    CHECK_EQUAL(value->outcome, FM_OUTCOME_OVERDUE);
    const char *bytes = fm_board_bytes(&bench->board, value, &size);
    CHECK_EQUAL(size, stored);
    for (uint64_t i = 0; i < size; i++) {
        CHECK_EQUAL(bytes[i], 'S');
    }
    CHECK(!fm_slots_claim(slots, 2, 0));
    CHECK(fm_slots_claim(slots, 0, 0));
    CHECK(fm_slots_claim(slots, 3, 2));
    drop_bench(bench);
}

/* It was done after all by the time its worker ended: then nothing is overdue. */
static void
check_overdue_but_done(void)
{
    struct bench *bench = make_bench(0, 100);
    struct fm_slots *slots = &bench->board.slots;
    claim(bench, 0, WORKER);
    claim(bench, 1, WORKER);
    fm_slots_complete(slots, 0);
    bench->board.roster.last_words[WORKER] = (struct fm_last_words){.item = 0 + 1, .size = 3};
    fm_recovery_settle_overdue(&bench->recovery, WORKER);
    CHECK_EQUAL(fm_slots_at(slots, 0)->value.outcome, FM_OUTCOME_RESULT);
    CHECK(fm_slots_claim(slots, 1, 0));
    drop_bench(bench);
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    check_without_retries();
    check_all_at_once();
    check_retries();
    check_next_round();
    check_abandon();
    check_has_work();
    check_overdue(20, FM_ARENA_DEFAULT_LIMIT, 20);
    check_overdue(8192, FM_ARENA_DEFAULT_LIMIT, 8192);
    check_overdue(8192, 1000, 0); /* no room for its stack */
    check_overdue_but_done();
    return 0;
}
