#include "stats.h"

/* A look at a clock takes some 25 ns; items that take longer than this can bear several. */
#define SLOW (2 * FM_MICROSECOND)

#define INTERVAL_MOST 256

static void
choose_next(struct fm_sampler *sampler, int64_t elapsed)
{
    uint32_t interval = sampler->interval > 0 ? sampler->interval : 1;
    if (elapsed / interval >= SLOW) {
        interval = 1;
    } else if (interval < INTERVAL_MOST) {
        interval *= 2;
    }
    sampler->interval = interval;
    sampler->left = interval - 1;
}

void
fm_sampler_spend_alone(struct fm_sampler *sampler, struct fm_stats_record *record,
                       enum fm_spent what, int64_t ns)
{
    int64_t items = sampler->interval > 0 ? sampler->interval : 1;
    fm_stats_spend(record, what, ns * items);
    choose_next(sampler, ns * items);
}

void
fm_sampler_spend(struct fm_sampler *sampler, struct fm_stats_record *record, int64_t now,
                 const int64_t spent[FM_SPENT_KINDS])
{
    int64_t timed = 0;
    for (unsigned kind = 0; kind < FM_SPENT_KINDS; kind++) {
        timed += spent[kind];
    }
    int64_t elapsed = sampler->last > 0 ? now - sampler->last : timed;
    double weight = timed > 0 && elapsed > timed ? (double)elapsed / (double)timed : 1;
    for (unsigned kind = 0; kind < FM_SPENT_KINDS; kind++) {
        if (spent[kind] > 0) {
            fm_stats_spend(record, kind, (int64_t)((double)spent[kind] * weight));
        }
    }
    choose_next(sampler, elapsed);
    sampler->last = now;
}
