/* How a map spends its time: counters that its threads keep, and that the parent reads while they run.
 *
 * Where items are quick, reading a clock several times for each would cost as much as the items do.
 * So a *sampler* chooses which are timed: one in a few hundred where they take nanoseconds, each one
 * where they take microseconds. All the time since the last one that was timed counts as spent in the
 * proportions of this one. What a thread waits for is always timed, since waiting takes longer than
 * two looks at a clock.
 *
 * Each record has one writer, which adds with plain loads and stores, and any number of readers in any
 * process; relaxed: a reader may see one counter a little later than the next.
 */
#ifndef FM_STATS_H
#define FM_STATS_H

#include "atomic.h"
#include "clock.h"

#include <stdbool.h>

/* What a thread's time goes to. */
enum fm_spent {
    FM_SPENT_DECODE, /* worker: arguments; consumer: results */
    FM_SPENT_CALL, /* worker: in the callable, coroutines from start to end; feeder: in iterators */
    FM_SPENT_ENCODE, /* worker: results; feeder: arguments */
    FM_SPENT_GIL,    /* worker: waiting for it with an item in hand */
    FM_SPENT_INPUT,  /* worker: waiting for items; consumer: for results */
    FM_SPENT_ROOM, /* worker and feeder: waiting for the consumer, with the ring or the memory full */
    FM_SPENT_KINDS
};

struct fm_stats_record {
    fm_atomic_u64 items;
    fm_atomic_u64 bytes;                 /* consumer: of results; feeder: of arguments */
    fm_atomic_u64 spent[FM_SPENT_KINDS]; /* ns */
};

/* Threads of a worker beyond these share the last record, where counts may get lost then. */
#define FM_STATS_THREADS 64

_Static_assert(sizeof(struct fm_stats_record) == FM_CACHE_LINE, "a record is one cache line");

/* Of one worker and of those that took its place. Zeroed memory is the beginning. */
struct fm_stats {
    FM_CACHE_ALIGNED struct fm_stats_record threads[FM_STATS_THREADS];
    /* CPU time of its processes, ns, as far as it has been written: now and then, and when one ends;
     * and the most threads that one had. Written by the worker. */
    FM_CACHE_ALIGNED fm_atomic_u64 cpu;
    fm_atomic_u32 threads_most;
};

static inline struct fm_stats_record *
fm_stats_of_thread(struct fm_stats *stats, unsigned thread)
{
    return &stats->threads[thread < FM_STATS_THREADS ? thread : FM_STATS_THREADS - 1];
}

static inline void
fm_stats_add(fm_atomic_u64 *counter, uint64_t amount)
{
    fm_store_relaxed(counter, fm_load_relaxed(counter) + amount);
}

static inline void
fm_stats_spend(struct fm_stats_record *record, enum fm_spent what, int64_t ns)
{
    fm_stats_add(&record->spent[what], ns > 0 ? (uint64_t)ns : 0);
}

/* Private to one thread. Zeroed, it times the next item. */
struct fm_sampler {
    uint32_t left;     /* items to come before one is timed */
    uint32_t interval; /* of which the one that is timed is the last */
    int64_t last;      /* when the last one that was timed ended; 0: there has been a wait since */
};

static inline bool
fm_sampler_is_due(struct fm_sampler *sampler)
{
    if (sampler->left > 0) {
        sampler->left--;
        return false;
    }
    return true;
}

/* After a wait: what comes is timed. */
static inline void
fm_sampler_restart(struct fm_sampler *sampler)
{
    sampler->left = 0;
    sampler->last = 0;
}

/* An item that was timed has ended: what it spent, by kinds, in ns. Spends that, and in the same
 * proportions what was not timed before it, and chooses which one is timed next. */
void fm_sampler_spend(struct fm_sampler *sampler, struct fm_stats_record *record, int64_t now,
                      const int64_t spent[FM_SPENT_KINDS]);

/* The same where other things happen between two items: it stands for those that were not timed. */
void fm_sampler_spend_alone(struct fm_sampler *sampler, struct fm_stats_record *record,
                            enum fm_spent what, int64_t ns);

#endif
