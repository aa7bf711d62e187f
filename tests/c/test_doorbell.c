#include "doorbell.h"

#include "support.h"

#include <errno.h>
#include <sched.h>

/* ---- one call at a time ---- */

static void
check_ring_before_sleep(void)
{
    struct fm_doorbell bell;
    fm_doorbell_init(&bell);
    CHECK_EQUAL(fm_doorbell_wanted(&bell), FM_NOBODY);
    uint32_t ticket = fm_doorbell_arm(&bell, 5);
    CHECK_EQUAL(fm_doorbell_wanted(&bell), 5);
    CHECK(!fm_doorbell_answer(&bell, 4));
    CHECK_EQUAL(fm_doorbell_wanted(&bell), 5);
    CHECK(fm_doorbell_answer(&bell, 5));
    CHECK(!fm_doorbell_answer(&bell, 5)); /* one wake for one wish */
    CHECK_EQUAL(fm_doorbell_wait(&bell, ticket, FM_FOREVER), -EAGAIN);
    CHECK_EQUAL(fm_doorbell_wanted(&bell), FM_NOBODY);
    ticket = fm_doorbell_arm(&bell, 6);
    fm_doorbell_disarm(&bell);
    CHECK_EQUAL(fm_doorbell_wanted(&bell), FM_NOBODY);
    CHECK(!fm_doorbell_answer(&bell, 6));
    /* An ending rings whatever is wanted, also between the arming and the sleep. */
    ticket = fm_doorbell_arm(&bell, 7);
    fm_doorbell_ring(&bell);
    CHECK_EQUAL(fm_doorbell_wait(&bell, ticket, FM_FOREVER), -EAGAIN);
}

struct lone_wait {
    int64_t timeout;
    int64_t expected;
};

/* Nobody sleeps longer than a slice: the ringer may have been killed. */
static struct lone_wait lone_waits[] = {
    {0, 0},
    {5 * FM_MILLISECOND, 5 * FM_MILLISECOND},
    {FM_FOREVER, FM_DOORBELL_SLICE},
    {FM_SECOND, FM_DOORBELL_SLICE},
};

static void
check_wait_ends(void *argument)
{
    const struct lone_wait *wait = argument;
    struct fm_doorbell bell;
    fm_doorbell_init(&bell);
    uint32_t ticket = fm_doorbell_arm(&bell, 5);
    int64_t start = fm_clock_now();
    CHECK_EQUAL(fm_doorbell_wait(&bell, ticket, wait->timeout), -ETIMEDOUT);
    CHECK(fm_clock_now() - start >= wait->expected);
    CHECK_EQUAL(fm_doorbell_wanted(&bell), FM_NOBODY);
    test_check_quick(start, wait->expected + FM_SECOND);
}

/* ---- moderation, on a clock of the test's ---- */

static int64_t fake_now = -1;

int64_t __real_fm_clock_now(void);
int64_t __wrap_fm_clock_now(void);

int64_t
__wrap_fm_clock_now(void)
{
    return fake_now >= 0 ? fake_now : __real_fm_clock_now();
}

static uint64_t
gap_after(struct fm_moderation *moderation, uint64_t positions, int64_t elapsed)
{
    fake_now += elapsed;
    fm_moderation_update(moderation, moderation->position + positions, 64);
    return moderation->gap;
}

static void
check_moderation(void)
{
    struct fm_moderation moderation;
    int64_t each = FM_MODERATION_DELAY / 10;
    fake_now = FM_SECOND;
    fm_moderation_init(&moderation);
    CHECK_EQUAL(moderation.gap, 1);
    /* A position each 10 us: ten fit the delay, but patience is learned step by step. */
    CHECK_EQUAL(gap_after(&moderation, 1, each), 2);
    CHECK_EQUAL(gap_after(&moderation, 2, 2 * each), 4);
    CHECK_EQUAL(gap_after(&moderation, 4, 4 * each), 8);
    CHECK_EQUAL(gap_after(&moderation, 8, 8 * each), 10);
    CHECK_EQUAL(gap_after(&moderation, 10, 10 * each), 10);
    /* The most. */
    for (int i = 0; i < 10; i++) {
        (void)gap_after(&moderation, 100, 10 * FM_MICROSECOND);
    }
    CHECK_EQUAL(moderation.gap, 64);
    /* Slow ones are each worth a wake, and one is enough to tell. */
    CHECK_EQUAL(gap_after(&moderation, 1, FM_MILLISECOND), 1);
    CHECK_EQUAL(gap_after(&moderation, 0, FM_MICROSECOND), 1);
    CHECK_EQUAL(gap_after(&moderation, 100, 0), 1);
    CHECK_EQUAL(gap_after(&moderation, 100, FM_MICROSECOND), 2);
    CHECK_EQUAL(gap_after(&moderation, 100, FM_MICROSECOND), 4);
    fm_moderation_fail(&moderation);
    CHECK_EQUAL(moderation.gap, 1);
    fake_now = -1;
}

/* The waits of a conversation, of which each attempt to wait for two takes the whole delay: how many
 * of them there are. */
static unsigned
count_attempts(struct fm_moderation *moderation, unsigned waits)
{
    unsigned attempts = 0;
    for (unsigned i = 0; i < waits; i++) {
        bool moderated = moderation->gap > 1;
        if (moderated) {
            fm_moderation_fail(moderation);
        }
        attempts += moderated;
        (void)gap_after(moderation, 1, moderated ? FM_MODERATION_DELAY : FM_MODERATION_DELAY / 10);
    }
    return attempts;
}

static void
check_conversation(void)
{
    struct fm_moderation moderation;
    fake_now = FM_SECOND;
    fm_moderation_init(&moderation);
    unsigned attempts = count_attempts(&moderation, 200);
    CHECK(attempts > 5 && attempts < 12);
    attempts = count_attempts(&moderation, 6500);
    CHECK(attempts > 90 && attempts < 105);
    /* A stream again: the next attempt succeeds, and all is forgotten. */
    for (unsigned i = 0; i < 200; i++) {
        (void)gap_after(&moderation, 10, FM_MODERATION_DELAY);
    }
    CHECK_EQUAL(moderation.gap, 10);
    CHECK_EQUAL(moderation.failures, 0);
    fm_moderation_fail(&moderation);
    CHECK_EQUAL(gap_after(&moderation, 1, FM_MODERATION_DELAY / 10), 1);
    CHECK_EQUAL(gap_after(&moderation, 1, FM_MODERATION_DELAY / 10), 2);
    fake_now = -1;
}

/* ---- sleeping and waking at every rate ---- */

#define RINGERS 3
#define MOST_LEAD 4096

/* Ringers raise `position`, the waiter waits for some position ahead. */
struct race {
    struct fm_doorbell bell;
    FM_CACHE_ALIGNED fm_atomic_u64 position;
    FM_CACHE_ALIGNED fm_atomic_u64 seen; /* by the waiter */
    fm_atomic_u64 turn;
    uint64_t end;
    uint64_t lead; /* positions that ringers may be ahead of the waiter */
    uint64_t most_gap;
    int64_t pause; /* of a ringer, at most */
    bool tight;    /* both sides arrive within nanoseconds of each other */
};

static void
ring(struct race *race)
{
    uint64_t reached = fm_add_seq_cst(&race->position, 1) + 1;
    watch_touch();
    fm_fence_after_rmw();
    uint64_t wanted = fm_doorbell_wanted(&race->bell);
    if (wanted <= reached) {
        (void)fm_doorbell_answer(&race->bell, wanted);
    }
}

static void
run_ringer(void *argument)
{
    struct race *race = argument;
    uint64_t seed = fm_add_relaxed(&race->turn, 1) + 99;
    uint64_t idle = 0;
    for (;;) {
        uint64_t position = fm_load_relaxed(&race->position);
        if (position + RINGERS > race->end) {
            return;
        }
        if (position >= fm_load_relaxed(&race->seen) + race->lead) {
            if (!race->tight || ++idle % 4096 == 0) {
                (void)sched_yield();
            }
            continue;
        }
        for (uint64_t i = race->tight ? test_random(&seed) % 48 : 0; i > 0; i--) {
            (void)fm_load_relaxed(&race->turn);
        }
        ring(race);
        if (race->pause > 0) {
            test_burn((int64_t)(test_random(&seed) % (uint64_t)race->pause));
        }
    }
}

static void *
run_ringer_thread(void *race)
{
    run_ringer(race);
    return NULL;
}

/* The ringers stop within a few positions of the end; the last wait is for one that all reach. */
static void
run_waiter(struct race *race)
{
    uint64_t seed = 4711;
    uint64_t last = race->end - RINGERS;
    uint64_t position = 0;
    while (position < last) {
        uint64_t wanted = position + 1 + test_random(&seed) % race->most_gap;
        wanted = wanted < last ? wanted : last;
        if (!race->tight) {
            test_dawdle(&seed);
        }
        uint32_t ticket = fm_doorbell_arm(&race->bell, wanted);
        if (fm_load_acquire(&race->position) >= wanted) {
            fm_doorbell_disarm(&race->bell);
        } else {
            (void)fm_doorbell_wait(&race->bell, ticket, FM_FOREVER);
        }
        position = fm_load_acquire(&race->position);
        fm_store_relaxed(&race->seen, position);
        watch_touch();
    }
    fm_store_relaxed(&race->seen, race->end);
}

static bool
is_due(void *context, const fm_atomic_u32 *word)
{
    struct race *race = context;
    uint64_t wanted = fm_doorbell_wanted(&race->bell);
    CHECK(word == &race->bell.rings);
    return wanted == FM_NOBODY || wanted <= fm_load_relaxed(&race->position);
}

struct race_options {
    unsigned ringers;
    bool forked;
    uint64_t steps;
    uint64_t lead;
    uint64_t most_gap;
    int64_t pause;
    unsigned jitter;
    bool tight;
};

static void
run_race(void *argument)
{
    const struct race_options *options = argument;
    struct race *race = test_map(sizeof *race);
    pid_t pids[RINGERS];
    pthread_t threads[RINGERS];
    watch_begin(options->jitter, is_due, race);
    fm_doorbell_init(&race->bell);
    race->end = options->steps;
    race->lead = options->lead;
    race->most_gap = options->most_gap;
    race->pause = options->pause;
    race->tight = options->tight;
    for (unsigned i = 0; i < options->ringers; i++) {
        if (options->forked) {
            pids[i] = test_fork(run_ringer, race);
        } else {
            threads[i] = test_thread(run_ringer_thread, race);
        }
    }
    run_waiter(race);
    for (unsigned i = 0; i < options->ringers; i++) {
        if (options->forked) {
            test_join(pids[i]);
        } else {
            test_join_thread(threads[i]);
        }
    }
    CHECK(watch_sleeps() > 0);
    watch_end();
}

/* A lead of 1 is lock-step: each position is waited for, each wake counts. */
static const struct race_options races[] = {
    {.ringers = 1, .steps = 40000, .lead = 1, .most_gap = 1},
    {.ringers = 1, .steps = 30000, .lead = 1, .most_gap = 1, .pause = 3 * FM_MICROSECOND},
    {.ringers = 1, .steps = 8000, .lead = 1, .most_gap = 1, .pause = 40 * FM_MICROSECOND},
    {.ringers = 1, .steps = 500, .lead = 1, .most_gap = 1, .pause = FM_MILLISECOND},
    {.ringers = 2, .steps = 3000, .lead = 1, .most_gap = 1, .jitter = 8},
    {.ringers = RINGERS, .steps = 40000, .lead = 2, .most_gap = 2},
    {.ringers = RINGERS, .steps = 200000, .lead = 64, .most_gap = 64},
    {.ringers = RINGERS, .steps = 1000000, .lead = MOST_LEAD, .most_gap = MOST_LEAD},
    {.ringers = 1, .steps = 300000, .lead = 1, .most_gap = 1, .tight = true},
    {.ringers = 2, .steps = 100000, .lead = 64, .most_gap = 16, .pause = 2 * FM_MICROSECOND},
};

/* A gap beyond the lead would deadlock the test, not the doorbell. */
static void
run_races(bool forked)
{
    for (size_t i = 0; i < sizeof races / sizeof *races; i++) {
        struct race_options options = races[i];
        char name[64];
        CHECK(options.most_gap <= options.lead);
        options.forked = forked;
        options.steps = CHECK_SCALED(options.steps) / 2;
        (void)snprintf(name, sizeof name, "%s, race %zu", forked ? "processes" : "threads", i);
        test_run(name, run_race, &options);
    }
}

int
main(void)
{
    (void)alarm(CHECK_TIME_LIMIT);
    watch_check_linked();
    check_ring_before_sleep();
    for (size_t i = 0; i < sizeof lone_waits / sizeof *lone_waits; i++) {
        test_run("wait", check_wait_ends, &lone_waits[i]);
    }
    check_moderation();
    check_conversation();
    run_races(false);
    run_races(true);
    return 0;
}
