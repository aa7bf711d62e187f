/* A small engine on the core, for the tests: what src/python does, without Python.
 *
 * The parent feeds and consumes; workers run pools, as forked processes or, so that a sanitizer
 * sees both sides, as threads of this process. An item is a number, its result a function of it.
 * What running it does besides is up to the test.
 */
#ifndef FM_TEST_ENGINE_H
#define FM_TEST_ENGINE_H

#include "board.h"
#include "monitor.h"
#include "pool.h"
#include "supervisor.h"
#include "support.h"

#define ENGINE_MOST_WORKERS 16
#define ENGINE_EXIT_LEFT 71  /* a worker that left because it was asked to */
#define ENGINE_EXIT_UNFIT 73 /* one that could not set itself up */

/* The result of an item is that of its argument. */
#define ENGINE_SECRET UINT64_C(0x5DEECE66D)

static inline int64_t
engine_argument(uint64_t item)
{
    return (int64_t)(item * 3 + 1);
}

static inline int64_t
engine_result(uint64_t item)
{
    return engine_argument(item) ^ (int64_t)ENGINE_SECRET;
}

struct engine;

struct engine_options {
    unsigned workers;
    unsigned threads;       /* of each worker, at the start */
    unsigned threads_limit; /* of each worker */
    uint64_t batch;         /* with which threads begin; 0: their own choice */
    uint64_t items;
    uint64_t buffersize;
    bool inherited;
    bool forked;
    bool supervised;
    unsigned jitter; /* see watch_begin; the watch is kept where watched is true */
    bool watched;
    bool wait_only; /* pool threads never call fm_pool_next */
    bool polls;     /* the consumer waits at the eventfd, as in an event loop */
    bool dawdles;   /* everybody pauses at random */
    bool replaces;  /* workers that die get successors */
    uint64_t retries;
    bool stays_open; /* the end of the input comes with engine_finish */
    bool survives_parent;
    uint64_t burst;      /* items published at a time, at most; 0: 16 */
    int64_t burst_pause; /* after each burst */
    uint64_t pause_at;   /* the feeder pauses before this item, until all before it are done */
    int64_t pause;
    void (*run)(struct engine *engine, unsigned worker, uint64_t item);
    void (*leave)(void *context, int status);
    int64_t task_timeout; /* each thread's stack is "stack" then */
    bool (*is_hogged)(void *context);
    bool (*is_hog)(const struct fm_pool_thread *thread);
    bool repeats; /* items may run more often than they are retried */
    /* How long a worker lives until it is killed, wherever it is then; 0: nobody kills it. */
    int64_t (*life)(struct engine *engine, unsigned worker, bool is_successor);
    uint64_t payload;     /* bytes of each argument and result, in blocks; 0: just the number */
    uint64_t arena_limit; /* 0: the default */
    bool may_fail; /* what the system refuses is no failure of the test: a worker ends, or all do */
    /* Instead of a pool: claims and completes by itself, until the board has ended. */
    void (*work)(struct engine *engine, unsigned worker);
};

/* Shared with the workers. */
struct engine_shared {
    fm_atomic_u32 running;                     /* items that run now */
    fm_atomic_u32 peak;                        /* the most that did */
    fm_atomic_u32 returned;                    /* pool threads */
    fm_atomic_u32 ended;                       /* workers whose pool was over */
    fm_atomic_u32 most_thread;                 /* the highest thread number that ran an item */
    fm_atomic_u64 flags[8];                    /* for the test */
    fm_atomic_u32 gate;                        /* likewise, a futex */
    fm_atomic_u32 births[ENGINE_MOST_WORKERS]; /* processes */
    fm_atomic_u32 ran_by[ENGINE_MOST_WORKERS]; /* items */
    fm_atomic_u32 runs[];                      /* of each item */
};

struct engine {
    struct engine_options options;
    struct fm_board board;
    struct fm_heap heap;
    struct fm_monitor monitor;
    struct engine_shared *shared;
    struct fm_pool pools[ENGINE_MOST_WORKERS];
    pid_t pids[ENGINE_MOST_WORKERS];
    pthread_t mains[ENGINE_MOST_WORKERS];
    pthread_t feeder;
    bool feeding; /* the feeder is still to be joined */
    pid_t nursery;
    int parent_pidfd;
    uint64_t next; /* the consumer's */
    uint64_t crashed;
    uint64_t overdue;
    uint64_t seed;
    struct fm_moderation moderation;
};

/* What a worker process or thread is started with. */
struct engine_worker {
    struct engine *engine;
    unsigned worker;
    bool is_successor;
};

/* The whole life of one worker; `argument` is its struct engine_worker. */
void engine_run_worker(void *argument);

void engine_start(struct engine *engine, const struct engine_options *options);

/* The same with options.may_fail: 0, or the -errno that the system gave, and then nothing is left. */
int engine_try_start(struct engine *engine, const struct engine_options *options);

/* The next result, in order, checked; false after the last. */
bool engine_next(struct engine *engine, struct fm_value *value);

/* No wake-up was lost until now. */
void engine_check_watch(struct engine *engine);

/* Takes all results; every item must have run exactly once, or crashed. With options.may_fail it
 * ends early when all workers have gone. */
void engine_drain(struct engine *engine);

/* The input has ended, where it stays open until told. */
void engine_finish(struct engine *engine);

/* Waits until the workers have ended by themselves, as they do after the last item. */
void engine_await_end(struct engine *engine);

/* Ends the workers, whatever they do; only forked ones. */
void engine_stop(struct engine *engine);

/* In an item: waits until all workers are there, so that each can have its part. */
void engine_await_workers(struct engine *engine);

/* For `work`: runs a claimed item, completes it and rings the consumer if it waits for it. */
void engine_run_item(struct engine *engine, unsigned worker, uint64_t item);

/* Every child has been reaped. */
void engine_check_no_children(void);

/* start, drain, await_end. */
void engine_run(const struct engine_options *options);

#endif
