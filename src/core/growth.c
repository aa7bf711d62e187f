#include "growth.h"

/* A process that uses less than this part of a CPU is taken to block. */
#define BLOCKED_BELOW_PERCENT 50

static uint64_t
smaller(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

static void
set_baseline(struct fm_growth *growth, const struct fm_growth_sample *sample)
{
    growth->has_baseline = true;
    growth->time = sample->time;
    growth->cpu = sample->cpu;
    growth->idles = sample->idles;
}

unsigned
fm_growth_decide(struct fm_growth *growth, const struct fm_growth_sample *sample)
{
    uint64_t wanted = smaller(sample->waiting, sample->room);
    if (wanted == 0 || !sample->settled) {
        growth->has_baseline = false;
        return 0;
    }
    if (!growth->has_baseline || growth->idles != sample->idles) {
        set_baseline(growth, sample);
        return 0;
    }
    int64_t elapsed = sample->time - growth->time;
    if (elapsed < FM_GROWTH_TICK) {
        return 0;
    }
    int64_t cpu = sample->cpu - growth->cpu;
    if (cpu * 100 >= elapsed * BLOCKED_BELOW_PERCENT) {
        set_baseline(growth, sample);
        return 0;
    }
    growth->has_baseline = false;
    return (unsigned)smaller(wanted, sample->active > 0 ? sample->active : 1);
}
