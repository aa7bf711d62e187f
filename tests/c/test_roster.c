#include "roster.h"

#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 4

static struct fm_roster *
make_roster(unsigned count)
{
    static struct fm_roster roster;
    static void *memory;
    CHECK_EQUAL(sizeof *roster.entries % FM_CACHE_LINE, 0);
    free(memory);
    memory = aligned_alloc(FM_CACHE_LINE, fm_roster_memory_size(WORKERS));
    CHECK(memory != NULL);
    memset(memory, 0, fm_roster_memory_size(WORKERS));
    fm_roster_attach(&roster, memory, count);
    fm_roster_init(&roster);
    CHECK((char *)(roster.entries + count) <= (char *)roster.last_words);
    CHECK((char *)(roster.last_words + count) <= (char *)memory + fm_roster_memory_size(count));
    return &roster;
}

/* A worker that waits for `wanted`, with so many threads active. */
static void
wait_for(struct fm_roster *roster, unsigned worker, uint64_t wanted, unsigned active)
{
    (void)fm_doorbell_arm(&roster->entries[worker].work, wanted);
    fm_store_relaxed(&roster->entries[worker].active, active);
}

static bool
is_waiting(struct fm_roster *roster, unsigned worker)
{
    return fm_doorbell_wanted(&roster->entries[worker].work) != FM_NOBODY;
}

static uint32_t
rings_of(struct fm_roster *roster, unsigned worker)
{
    return fm_load_relaxed(&roster->entries[worker].work.rings);
}

static void
check_least_busy_first(void)
{
    struct fm_roster *roster = make_roster(WORKERS);
    static const unsigned order[] = {2, 0, 3, 1};
    wait_for(roster, 0, 10, 1);
    wait_for(roster, 1, 10, 7);
    wait_for(roster, 2, 10, 0);
    wait_for(roster, 3, 10, 3);
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK(is_waiting(roster, order[i]));
        fm_roster_call(roster, 10, 1);
        CHECK(!is_waiting(roster, order[i]));
        for (unsigned j = i + 1; j < WORKERS; j++) {
            CHECK(is_waiting(roster, order[j]));
        }
    }
    fm_roster_call(roster, 10, 1); /* nobody is left, and that is no matter */
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK_EQUAL(rings_of(roster, i), 1);
    }
}

static void
check_limits(void)
{
    struct fm_roster *roster = make_roster(WORKERS);
    wait_for(roster, 0, 11, 0);
    wait_for(roster, 1, 10, 5);
    wait_for(roster, 2, 20, 0);
    fm_roster_call(roster, 9, 99);
    CHECK(is_waiting(roster, 0) && is_waiting(roster, 1) && is_waiting(roster, 2));
    fm_roster_call(roster, 10, 99);
    CHECK(is_waiting(roster, 0) && !is_waiting(roster, 1) && is_waiting(roster, 2));
    fm_roster_call(roster, 19, 0);
    CHECK(is_waiting(roster, 0));
    fm_roster_call(roster, UINT64_MAX - 1, 99);
    CHECK(!is_waiting(roster, 0) && !is_waiting(roster, 2));
    CHECK_EQUAL(rings_of(roster, 3), 0);
}

/* One that has died takes no wake from one that lives. */
static void
check_dead(void)
{
    struct fm_roster *roster = make_roster(2);
    wait_for(roster, 0, 1, 0);
    wait_for(roster, 1, 1, 9);
    fm_store_relaxed(&roster->entries[0].alive, 0);
    fm_roster_call(roster, 1, 1);
    CHECK(is_waiting(roster, 0) && !is_waiting(roster, 1));
    fm_roster_call(roster, 1, 1);
    CHECK(is_waiting(roster, 0));
}

static void
check_call_all(void)
{
    struct fm_roster *roster = make_roster(WORKERS);
    uint32_t ticket = fm_doorbell_arm(&roster->entries[1].work, 1000);
    fm_roster_call_all(roster);
    for (unsigned i = 0; i < WORKERS; i++) {
        CHECK_EQUAL(rings_of(roster, i), 1);
    }
    CHECK_EQUAL(fm_doorbell_wait(&roster->entries[1].work, ticket, FM_FOREVER), -EAGAIN);
}

static void
check_share(uint64_t expected, uint64_t waiting, const unsigned *active, unsigned alive)
{
    struct fm_roster *roster = make_roster(WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        fm_store_relaxed(&roster->entries[i].active, active[i]);
        fm_store_relaxed(&roster->entries[i].alive, alive >> i & 1);
    }
    CHECK_EQUAL(fm_roster_share(roster, waiting), expected);
}

static void
check_shares(void)
{
    static const unsigned none[] = {0, 0, 0, 0};
    static const unsigned even[] = {5, 5, 5, 5};
    static const unsigned skewed[] = {9, 1, 0, 2};
    check_share(0, 0, none, 0xf);
    check_share(1, 1, none, 0xf);
    check_share(1, 4, none, 0xf);
    check_share(2, 5, none, 0xf);
    check_share(5, 0, even, 0xf);
    check_share(6, 1, even, 0xf);
    check_share(3, 0, skewed, 0xf);
    check_share(4, 1, skewed, 0xf);
    /* The dead count neither as threads nor as processes. */
    check_share(1, 0, skewed, 0xe);
    check_share(6, 2, skewed, 0x3);
    check_share(0, 7, skewed, 0);
}

/* Waiting items never wait for the share: the least busy process may always take one, counting
 * the thread that asks as active, as the pool does. */
static void
check_least_busy_has_share(void)
{
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        struct fm_roster *roster = make_roster(WORKERS);
        unsigned least = 0;
        for (unsigned j = 0; j < WORKERS; j++) {
            uint32_t active = (uint32_t)(test_random(&seed) % (i % 2 ? 3 : 50));
            fm_store_relaxed(&roster->entries[j].active, active);
            fm_store_relaxed(&roster->entries[j].alive, j == 0 || test_random(&seed) % 4 > 0);
            if (fm_load_relaxed(&roster->entries[j].alive)
                && active < fm_load_relaxed(&roster->entries[least].active)) {
                least = j;
            }
        }
        uint32_t others = fm_add_relaxed(&roster->entries[least].active, 1);
        CHECK(others < fm_roster_share(roster, 1 + test_random(&seed) % 10));
    }
}

/* ---- one position after the other, each for any one of the workers ---- */

#define POSITIONS CHECK_SCALED(60000)

struct shift {
    struct fm_roster roster;
    FM_CACHE_ALIGNED fm_atomic_u64 limit;
    FM_CACHE_ALIGNED fm_atomic_u64 taken;
    fm_atomic_u64 turn;
};

/* Each position that is announced wakes one worker at least, or it was about to look again. */
static void
work_shift(void *argument)
{
    struct shift *shift = argument;
    struct fm_roster_entry *self = &shift->roster.entries[fm_add_relaxed(&shift->turn, 1)];
    uint64_t seed = (uint64_t)getpid();
    for (;;) {
        uint64_t taken = fm_load_relaxed(&shift->taken);
        if (taken == (uint64_t)POSITIONS) {
            return;
        }
        if (taken < fm_load_acquire(&shift->limit)) {
            if (fm_cas_relaxed(&shift->taken, &taken, taken + 1)) {
                watch_touch();
                test_dawdle(&seed);
            }
            continue;
        }
        uint32_t ticket = fm_doorbell_arm(&self->work, taken + 1);
        if (fm_load_acquire(&shift->limit) > taken) {
            fm_doorbell_disarm(&self->work);
            continue;
        }
        (void)fm_doorbell_wait(&self->work, ticket, FM_FOREVER);
    }
}

static void *
work_shift_thread(void *shift)
{
    work_shift(shift);
    return NULL;
}

static void
announce_positions(struct shift *shift)
{
    uint64_t seed = 3;
    uint64_t limit = 0;
    while (limit < (uint64_t)POSITIONS) {
        uint64_t count = 1 + test_random(&seed) % 3;
        count = count < (uint64_t)POSITIONS - limit ? count : (uint64_t)POSITIONS - limit;
        limit += count;
        fm_store_release(&shift->limit, limit);
        fm_fence_seq_cst();
        fm_roster_call(&shift->roster, limit, count);
        watch_touch();
        while (fm_load_relaxed(&shift->taken) + 8 < limit) {
            test_burn(200);
        }
        test_dawdle(&seed);
    }
    while (fm_load_relaxed(&shift->taken) < (uint64_t)POSITIONS) {
        test_sleep(FM_MILLISECOND / 10);
    }
    fm_roster_call_all(&shift->roster);
}

static bool
is_due(void *context, const fm_atomic_u32 *word)
{
    struct shift *shift = context;
    (void)word;
    return fm_load_relaxed(&shift->taken) < fm_load_relaxed(&shift->limit)
           || fm_load_relaxed(&shift->taken) == (uint64_t)POSITIONS;
}

static void
run_shift(void *argument)
{
    bool forked = *(bool *)argument;
    struct shift *shift = test_map(sizeof *shift);
    pid_t pids[WORKERS];
    pthread_t threads[WORKERS];
    watch_begin(0, is_due, shift);
    fm_roster_attach(&shift->roster, test_map(fm_roster_memory_size(WORKERS)), WORKERS);
    fm_roster_init(&shift->roster);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (forked) {
            pids[i] = test_fork(work_shift, shift);
        } else {
            threads[i] = test_thread(work_shift_thread, shift);
        }
    }
    announce_positions(shift);
    for (unsigned i = 0; i < WORKERS; i++) {
        if (forked) {
            test_join(pids[i]);
        } else {
            test_join_thread(threads[i]);
        }
    }
    CHECK(watch_sleeps() > 0);
    watch_end();
}

int
main(void)
{
    bool forked = false;
    (void)alarm(CHECK_TIME_LIMIT);
    check_least_busy_first();
    check_limits();
    check_dead();
    check_call_all();
    check_shares();
    check_least_busy_has_share();
    watch_check_linked();
    test_run("threads", run_shift, &forked);
    forked = true;
    test_run("processes", run_shift, &forked);
    return 0;
}
