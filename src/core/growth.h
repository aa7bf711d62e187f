/* When a worker should add threads: the decision, apart from clocks and threads.
 *
 * Threads pay while tasks block, and cost while they compute. Tasks block if items wait, every
 * thread of the process has been taken for a while, and the process hardly uses the CPU. (On a
 * crowded machine a computing process may not get it, which is why the supervisor asks
 * fm_pool_is_runnable before it follows the advice.)
 */
#ifndef FM_GROWTH_H
#define FM_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

/* Two looks at a process closer together than this say nothing. */
#define FM_GROWTH_TICK INT64_C(1000000)

/* The same where other threads of the process compute: a few of CPython's switch intervals, for they
 * may have the GIL in turns with ours. */
#define FM_GROWTH_SHARED_TICK INT64_C(20000000)

struct fm_growth {
    bool has_baseline;
    int64_t time;
    int64_t cpu;
    int64_t others_cpu;
    uint64_t idles;
};

struct fm_growth_sample {
    int64_t time;       /* ns */
    int64_t cpu;        /* CPU time of the process until now, ns */
    int64_t others_cpu; /* the part of it that isn't the pool's, in a process that has other work */
    uint64_t idles;     /* how often a thread has become idle until now */
    unsigned active;    /* threads that are taken */
    bool settled;       /* every thread that was started has reached an item */
    uint64_t waiting;   /* items that nobody has taken */
    uint64_t room;      /* threads that may be added at the most */
};

/* How many threads to add now. Doubles them each time, so that thousands exist within
 * milliseconds. */
unsigned fm_growth_decide(struct fm_growth *growth, const struct fm_growth_sample *sample);

#endif
