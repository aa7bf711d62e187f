#include "stats.h"

#include "check.h"

#include <string.h>

static uint64_t
spent_on(const struct fm_stats_record *record, enum fm_spent what)
{
    return fm_load_relaxed(&record->spent[what]);
}

static uint64_t
items_until_due(struct fm_sampler *sampler)
{
    uint64_t count = 1;
    while (!fm_sampler_is_due(sampler)) {
        count++;
    }
    return count;
}

/* Quick items are timed ever more seldom, and those in between count in the same proportions. */
static void
check_quick(void)
{
    struct fm_sampler sampler = {0};
    struct fm_stats_record record = {0};
    int64_t now = 1000;
    uint64_t items = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t count = items_until_due(&sampler);
        CHECK(count >= 1 && count <= 256);
        items += count;
        now += 100 * (int64_t)count;
        const int64_t spent[FM_SPENT_KINDS] = {[FM_SPENT_CALL] = 75, [FM_SPENT_ENCODE] = 25};
        fm_sampler_spend(&sampler, &record, now, spent);
    }
    CHECK(items > 100 * 128);
    uint64_t call = spent_on(&record, FM_SPENT_CALL);
    uint64_t encode = spent_on(&record, FM_SPENT_ENCODE);
    CHECK(call + encode > items * 99 && call + encode <= items * 100);
    CHECK(call >= 3 * encode - 300 && call <= 3 * encode + 300);
    CHECK_EQUAL(spent_on(&record, FM_SPENT_DECODE), 0);
}

/* Slow ones are all timed; one among quick ones counts for itself, and makes the next be timed. */
static void
check_slow(void)
{
    struct fm_sampler sampler = {0};
    struct fm_stats_record record = {0};
    const int64_t slow[FM_SPENT_KINDS] = {[FM_SPENT_CALL] = FM_MILLISECOND};
    int64_t now = 1;
    for (int i = 0; i < 10; i++) {
        CHECK(fm_sampler_is_due(&sampler));
        now += FM_MILLISECOND;
        fm_sampler_spend(&sampler, &record, now, slow);
    }
    CHECK_EQUAL(spent_on(&record, FM_SPENT_CALL), 10 * FM_MILLISECOND);
    const int64_t quick[FM_SPENT_KINDS] = {[FM_SPENT_CALL] = 100};
    for (int i = 0; i < 10; i++) {
        now += 100 * (int64_t)items_until_due(&sampler);
        fm_sampler_spend(&sampler, &record, now, quick);
    }
    uint64_t before = spent_on(&record, FM_SPENT_CALL);
    now += 100 * (int64_t)(items_until_due(&sampler) - 1) + 100 * FM_MILLISECOND;
    const int64_t very_slow[FM_SPENT_KINDS] = {[FM_SPENT_CALL] = 100 * FM_MILLISECOND};
    fm_sampler_spend(&sampler, &record, now, very_slow);
    CHECK(spent_on(&record, FM_SPENT_CALL) - before < 101 * FM_MILLISECOND);
    CHECK(fm_sampler_is_due(&sampler));
}

/* After a wait the next is timed, and the wait counts for nothing. */
static void
check_restart(void)
{
    struct fm_sampler sampler = {0};
    struct fm_stats_record record = {0};
    const int64_t quick[FM_SPENT_KINDS] = {[FM_SPENT_DECODE] = 100};
    CHECK(fm_sampler_is_due(&sampler));
    fm_sampler_spend(&sampler, &record, 100, quick);
    CHECK(!fm_sampler_is_due(&sampler));
    fm_sampler_restart(&sampler);
    CHECK(fm_sampler_is_due(&sampler));
    fm_sampler_spend(&sampler, &record, FM_SECOND, quick);
    CHECK_EQUAL(spent_on(&record, FM_SPENT_DECODE), 200);
}

/* Many threads: each has a record, or shares the last one. */
static void
check_records(void)
{
    static struct fm_stats stats;
    CHECK(fm_stats_of_thread(&stats, 0) == &stats.threads[0]);
    CHECK(fm_stats_of_thread(&stats, FM_STATS_THREADS - 1)
          == fm_stats_of_thread(&stats, 10 * FM_STATS_THREADS));
    CHECK_EQUAL((uintptr_t)&stats.threads[1] % FM_CACHE_LINE, 0);
    fm_stats_spend(&stats.threads[1], FM_SPENT_GIL, -5); /* clocks of two cores may differ */
    CHECK_EQUAL(spent_on(&stats.threads[1], FM_SPENT_GIL), 0);
}

int
main(void)
{
    check_quick();
    check_slow();
    check_restart();
    check_records();
    return 0;
}
