#include "growth.h"

/* A process that uses less than this part of a CPU is taken to block. */
#define BLOCKED_BELOW_PERCENT 50

static uint64_t
smaller(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

static bool
is_busy(int64_t cpu, int64_t elapsed)
{
    return cpu * 100 >= elapsed * BLOCKED_BELOW_PERCENT;
}

static void
set_baseline(struct fm_growth *growth, const struct fm_growth_sample *sample)
{
    growth->has_baseline = true;
    growth->time = sample->time;
    growth->cpu = sample->cpu;
    growth->others_cpu = sample->others_cpu;
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
    if (is_busy(cpu - (sample->others_cpu - growth->others_cpu), elapsed)) {
        set_baseline(growth, sample);
        return 0;
    }
    if (is_busy(cpu, elapsed) && elapsed < FM_GROWTH_SHARED_TICK) {
        return 0;
    }
    growth->has_baseline = false;
    return (unsigned)smaller(wanted, sample->active > 0 ? sample->active : 1);
}
