/* The threads of one worker process, or of one map in its caller's process, and their supervisor.
 *
 * A pool thread runs items as long as it finds any. Of the threads that find none, one *leads*: it
 * waits at the process's doorbell for work. The others are parked, the last parked on top. A leader
 * that got work hands the lead to a parked thread, so that exactly one thread wakes for each thing
 * that happens and no herd runs for it.
 *
 * The supervisor is one more thread, which never runs items. It adds threads when the tasks block
 * (growth.h), gives back what a stuck thread had reserved, and ends the process when the parent has
 * died or has no more use for it.
 *
 * The process's own state is guarded by `lock`, which is held for a few instructions and never while
 * anything is waited for. Shared memory is touched through slots.h and roster.h only.
 */
#ifndef FM_POOL_H
#define FM_POOL_H

#include "growth.h"
#include "roster.h"
#include "slots.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* No item, and not FM_NOBODY either. */
#define FM_NO_ITEM (UINT64_MAX - 1)

/* In the place of an item that has run for too long, once its process is about to end for that. */
#define FM_CONDEMNED (UINT64_MAX - 2)

/* Threads whose state is looked at one by one; where there are more, it is known that they block. */
#define FM_POOL_OBSERVED 8

struct fm_pool;

struct fm_pool_thread {
    struct fm_pool *pool;
    unsigned number;   /* 0 is the process's main thread */
    uint64_t reserved; /* next item to try, of those reserved */
    uint64_t reserved_end;
    uint64_t finished;   /* completed, and the consumer's doorbell not yet looked at */
    uint64_t batch;      /* items to reserve at a time */
    int64_t batch_start; /* when the current batch was reserved; 0 for none */
    struct fm_sampler sampler;
    struct fm_stats_record *stats;
    bool started;         /* has reached its first item */
    fm_atomic_u32 called; /* parked: becomes 1 with the wake */
    struct fm_pool_thread *next_parked;
    /* With a task_timeout: the item that runs, or FM_NO_ITEM, and since when. Written by the thread,
     * read by the supervisor; relaxed, `since` first. The item may be replaced by FM_CONDEMNED, by
     * the supervisor, and is then never completed: who is first, it or the thread that ends the item,
     * is decided by their exchange of this word. */
    fm_atomic_u64 running;
    fm_atomic_u64 since;
    /* The layer above's, for is_hog. Written once, by the thread before its first item (release), and
     * read by the supervisor (acquire). */
    fm_atomic_pointer state;
    pid_t tid;                          /* written under lock, before the thread runs an item */
    clockid_t cpu_clock;                /* likewise */
    struct fm_pool_thread *next_thread; /* constant once the thread is in the list */
};

/* An item that has run for longer than the task_timeout. */
struct fm_overdue {
    uint64_t item;
    pid_t tid;              /* the thread that is in it; 0 for none */
    fm_atomic_u64 *running; /* where it says so; NULL for none */
};

/* What the pool asks of the layer above; called without any lock, but for is_hog. */
struct fm_pool_hooks {
    /* A new thread's work: loops over fm_pool_wait until that says false. */
    void (*run_thread)(void *context, struct fm_pool_thread *thread);
    /* The process is to end: flush what has to be flushed and _exit with that status. Called on the
     * supervisor's thread; if it doesn't end the process soon, the supervisor does. */
    void (*leave)(void *context, int status);
    /* Whether some thread keeps all others from running, and then, with the pool's lock, whether it
     * is this one. With a task_timeout. */
    bool (*is_hogged)(void *context);
    bool (*is_hog)(const struct fm_pool_thread *thread);
    /* Both NULL, unless items are detached from the threads that claimed them: finds an item that
     * has run for too long, if there is one; writes the stack of one that no thread is in. */
    bool (*find_overdue)(void *context, struct fm_overdue *found);
    void (*write_stack)(void *context, uint64_t item);
    void *context;
};

struct fm_pool {
    struct fm_slots *slots;
    struct fm_roster *roster;
    struct fm_roster_entry *self;
    uint32_t worker;
    unsigned threads_limit; /* under lock, once there are threads */
    uint64_t chunksize;     /* items that a thread reserves at a time; 0: as many as is best */
    bool is_mortal;         /* the process may run only so many items: its budget */
    int64_t task_timeout;   /* ns that an item may run; 0 for no limit */
    int stack_signal;       /* makes a thread write its stack to stack_fd; with a task_timeout */
    int stack_fd;
    size_t stack_size; /* of new threads; 0: the system's */
    struct fm_pool_hooks hooks;
    int parent_pidfd;
    int close_fd; /* readable once the parent wants the workers to end */
    /* The pool is a part of its user's process, which goes on after it: there is no parent and no
     * main thread, and the threads and the supervisor end one by one. The descriptors are -1. */
    bool local;
    pthread_t supervisor; /* local: to be joined */
    /* Local: threads, the supervisor included, that haven't left. Written by them and by who starts
     * them; seq_cst. The futex of fm_pool_await_empty. */
    fm_atomic_u32 present;

    pthread_mutex_t lock;
    struct fm_pool_thread *parked; /* under lock */
    struct fm_pool_thread *all;    /* under lock: every thread, by next_thread */
    bool led;                      /* under lock: some thread leads */
    bool over;                     /* under lock: nothing more will come */
    bool supervisor_asleep;        /* under lock: the supervisor needs a kick */
    int64_t kicked;                /* under lock: when it got the last one, or was started */
    unsigned threads;              /* under lock: all that were started */
    unsigned starting;             /* under lock: those that haven't reached an item yet */
    unsigned active;               /* under lock: those that aren't idle, and the detached items;
                                    * copied to the roster */
    uint64_t idles;                /* under lock: how often a thread became idle */
    uint64_t budget;               /* under lock: items that may still be reserved, if is_mortal */

    /* Threads that hold a batch of several items, and batches ended so far: how the supervisor sees
     * that one is stuck. Written by pool threads; relaxed. */
    fm_atomic_u32 batching;
    fm_atomic_u64 batches;

    /* When the process last went on after it had been stopped (SIGSTOP, Ctrl-Z), and for how long it
     * was, all in all. The supervisor's own. */
    int64_t resumed;
    int64_t stopped;

    int kick_fd;                     /* wakes the supervisor */
    sigset_t signals;                /* the signal mask of pool threads */
    struct fm_moderation moderation; /* the leader's */
    uint64_t cpu_before;             /* CPU time of the processes whose place this one takes */
    struct fm_pool_thread main_thread;
};

/* In the worker, right after the fork; 0 or -errno. The caller has set the fields up to close_fd.
 * Waits until the monitor watches this process: if the nursery died before it could tell of its
 * child, that never happens. */
int fm_pool_init(struct fm_pool *pool);

/* How much CPU time the process has used until now; also writes it down. Not in a local pool. */
int64_t fm_pool_note_cpu(struct fm_pool *pool);

/* Local, when nobody is present any more. */
void fm_pool_fini(struct fm_pool *pool);

/* Local: whether the supervisor, and the threads that find nothing, are to leave. */
bool fm_pool_is_closing(struct fm_pool *pool);

/* Local: the caller, a thread of the pool or who has joined the supervisor, touches the pool no more.
 * True if it was the last to leave. */
bool fm_pool_leave(struct fm_pool *pool);

/* Local: waits until all have left, but not for longer than `timeout_ns`. */
void fm_pool_await_empty(struct fm_pool *pool, int64_t timeout_ns);

/* Supervisor, and who starts a local pool: starts up to `count` threads more, as far as the system
 * and the address space allow; how many that were. */
unsigned fm_pool_add_threads(struct fm_pool *pool, unsigned count);

/* Supervisor: what growth.h wants to know, which a worker process also notes as its CPU time. False
 * while some thread is idle, and no growth could help, or none is allowed yet. */
bool fm_pool_sample(struct fm_pool *pool, struct fm_growth_sample *sample);

/* Whether this process is at work, as fm_roster_is_at_work says. */
bool fm_pool_is_at_work(const struct fm_pool *pool);

/* The process has run as many items as it may, or reserved them in vain. */
bool fm_pool_is_spent(struct fm_pool *pool);

/* Waits until there is an item for this thread (true), or none will ever come (false). Not to be
 * called with the GIL. */
bool fm_pool_wait(struct fm_pool_thread *thread, uint64_t *item);

/* On a thread that could not begin its work, and ends: counts it as idle, and has no more started. */
void fm_pool_withdraw(struct fm_pool_thread *thread);

/* Supervisor: the threads that there are must do. */
void fm_pool_stop_growing(struct fm_pool *pool);

/* Supervisor: some thread would run if it were let. Looks at a few threads only. */
bool fm_pool_is_runnable(struct fm_pool *pool);

/* Supervisor: whether an item that runs since then has exceeded the task_timeout at `now`. That the
 * process was stopped is not the item's doing. */
static inline bool
fm_pool_is_late(const struct fm_pool *pool, int64_t since, int64_t now)
{
    int64_t stopped = since < pool->resumed ? pool->stopped : 0;
    return now - since - stopped > pool->task_timeout;
}

/* Supervisor: the thread whose item has run for longest, if that is longer than the task_timeout at
 * `now`, or NULL. Others may be late because of it, as those of an item that keeps the GIL are. */
struct fm_pool_thread *fm_pool_find_overdue(struct fm_pool *pool, int64_t now);

/* Supervisor: the thread that keeps all others from running, or NULL if that is none of the pool's. */
struct fm_pool_thread *fm_pool_find_hog(struct fm_pool *pool);

/* With a task_timeout, around each item. */
static inline void
fm_pool_note_begin(struct fm_pool_thread *thread, uint64_t item)
{
    fm_store_relaxed(&thread->since, (uint64_t)fm_clock_now());
    fm_store_relaxed(&thread->running, item);
}

/* Before the item is completed. False if it may not be: then fm_pool_await_end has to be called. */
static inline bool
fm_pool_note_end(struct fm_pool_thread *thread)
{
    return fm_exchange_acquire(&thread->running, FM_NO_ITEM) != FM_CONDEMNED;
}

/* Supervisor: a signal that makes an item tell where it is may also cut short what it waits for, so
 * that it ends with half a result: it is not to be completed any more. False if it has ended. */
static inline bool
fm_pool_condemn(const struct fm_overdue *overdue)
{
    uint64_t item = overdue->item;
    return overdue->running == NULL || fm_cas_seq_cst(overdue->running, &item, FM_CONDEMNED);
}

/* Until the process ends. Not to be called with the GIL, which its farewell needs. */
_Noreturn void fm_pool_await_end(void);

/* Around a wait that is not the item's doing, its time stands still: what it has used of it. Not to
 * be called with the GIL. */
static inline int64_t
fm_pool_note_pause(struct fm_pool_thread *thread)
{
    int64_t used = fm_clock_now() - (int64_t)fm_load_relaxed(&thread->since);
    if (!fm_pool_note_end(thread)) {
        fm_pool_await_end();
    }
    return used;
}

static inline void
fm_pool_note_resume(struct fm_pool_thread *thread, uint64_t item, int64_t used)
{
    fm_store_relaxed(&thread->since, (uint64_t)(fm_clock_now() - used));
    fm_store_relaxed(&thread->running, item);
}

/* Reserves a new batch and claims its first item; false if there is none now. */
bool fm_pool_next_batch(struct fm_pool_thread *thread, uint64_t *item);

static inline bool
fm_pool_next_reserved(struct fm_pool_thread *thread, uint64_t *item)
{
    struct fm_slots *slots = thread->pool->slots;
    while (thread->reserved < thread->reserved_end) {
        uint64_t candidate = thread->reserved++;
        if (candidate + FM_SLOTS_AHEAD < thread->reserved_end) {
            fm_slots_prefetch_to_claim(slots, candidate + FM_SLOTS_AHEAD);
        }
        if (fm_slots_claim(slots, candidate, thread->pool->worker)) {
            *item = candidate;
            return true;
        }
    }
    return false;
}

/* The next item, without waiting. The claim is the full barrier that has to stand between having
 * completed the last item and looking whether the consumer waits for it. */
static inline bool
fm_pool_next(struct fm_pool_thread *thread, uint64_t *item)
{
    if (fm_pool_next_reserved(thread, item)) {
        fm_fence_after_rmw();
        fm_slots_call_consumer(thread->pool->slots, thread->finished);
        return true;
    }
    return fm_pool_next_batch(thread, item);
}

/* The item's result is in its slot. Must be followed by fm_pool_next or fm_pool_wait. */
static inline void
fm_pool_complete(struct fm_pool_thread *thread, uint64_t item)
{
    fm_slots_complete(thread->pool->slots, item);
    fm_stats_add(&thread->stats->items, 1);
    thread->finished = fm_slots_awaited(thread->pool->slots, item);
}

/* ---- items that run apart from the thread that claimed them, many at a time ---- */

/* The thread's item counts as one more that is active, and the thread may go on to its next. */
void fm_pool_detach(struct fm_pool *pool);

/* Such an item's result is in its slot. Any thread may call this. */
void fm_pool_complete_detached(struct fm_pool *pool, uint64_t item);

/* ---- what the parts of the pool (pool.c, pool_batch.c, pool_threads.c) offer each other ---- */

/* Most items that a thread reserves at a time. */
#define FM_BATCH_MOST 256

void fm_pool_init_thread(struct fm_pool_thread *thread, struct fm_pool *pool, unsigned number);

/* On the thread itself: enters it in the list of all. */
void fm_pool_register_thread(struct fm_pool_thread *thread);

void fm_pool_set_active_locked(struct fm_pool *pool, unsigned active);

/* Completed something and found no further claim to serve as the barrier: looks whether the consumer
 * waits for it. */
void fm_pool_announce_finished(struct fm_pool_thread *thread);

#endif
