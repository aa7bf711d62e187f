#include "supervisor.h"

#include "clock.h"
#include "process.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TICK_LEAST 1
#define TICK_MOST 16
#define TICK_QUIET 64
#define NO_TICK (-1)

/* An item that may run this long may as well run for a quiet tick longer. */
#define TIMED_LEAST (8 * TICK_QUIET * FM_MILLISECOND)

/* Who oversleeps by that much was stopped, or given no CPU, as was all of the process. */
#define STOP_LEAST FM_SECOND

/* How long a thread may take to write its stack: on a busy machine it may not run at once. */
#define STACK_MOST_MS 1000

struct supervisor {
    struct fm_pool *pool;
    struct fm_growth growth;
    int tick; /* ms until the next look; NO_TICK: when kicked, and the look after that is soon */
    int64_t looked; /* when the last look began */
    uint64_t seen_batches;
    bool has_seen_batches;
    uint32_t given_back; /* batches held when what stands in them was last given back */
};

static _Noreturn void
leave(struct fm_pool *pool, int status)
{
    (void)fm_pool_note_cpu(pool);
    /* Nothing but the farewell itself keeps an idle worker, on a machine that is busy. */
    bool is_idle = !fm_pool_is_at_work(pool);
    pool->hooks.leave(pool->hooks.context, status);
    struct pollfd parent = {.fd = pool->parent_pidfd, .events = POLLIN};
    (void)poll(&parent, 1, FM_LEAVE_GRACE_MS);
    if (is_idle || fm_load_relaxed(&pool->self->finishing) != 0) {
        (void)poll(&parent, 1, FM_FINISH_GRACE_MS);
    }
    _exit(status);
}

/* Makes the thread write its stack, wherever it is and whoever has the GIL, and reads that. */
static void
take_stack(struct fm_pool *pool, const struct fm_overdue *overdue, struct fm_last_words *words)
{
    words->size = 0;
    if (pool->stack_fd < 0) {
        return;
    }
    if (overdue->tid != 0) {
        fm_process_signal_thread(overdue->tid, pool->stack_signal);
    } else {
        pool->hooks.write_stack(pool->hooks.context, overdue->item);
    }
    for (int waited = 0; waited < STACK_MOST_MS; waited++) {
        struct pollfd parent = {.fd = pool->parent_pidfd, .events = POLLIN};
        (void)poll(&parent, 1, 1);
        /* In this order: what the handler has written before its end is read after it. */
        bool goes_on = overdue->tid != 0
                       && fm_process_thread_handles(overdue->tid, pool->stack_signal);
        ssize_t size = pread(pool->stack_fd, words->stack, sizeof words->stack, 0);
        if (size > 0 && (uint64_t)size == words->size && !goes_on) {
            return;
        }
        words->size = size > 0 ? (uint64_t)size : 0;
    }
}

/* If one item keeps the others of the process from running, it is to blame for all that are late,
 * once it is late itself. */
static bool
find_overdue(struct fm_pool *pool, struct fm_overdue *found)
{
    if (fm_pool_find_overdue(pool, fm_clock_now()) == NULL) {
        return false;
    }
    bool hogged = pool->hooks.is_hogged(pool->hooks.context);
    struct fm_pool_thread *thread = hogged ? fm_pool_find_hog(pool) : NULL;
    /* That took a while: the item may be done by now, and another one must not pay for it. */
    int64_t now = fm_clock_now();
    if (thread == NULL) {
        thread = fm_pool_find_overdue(pool, now);
    }
    found->item = thread != NULL ? fm_load_relaxed(&thread->running) : FM_NO_ITEM;
    if (found->item == FM_NO_ITEM
        || !fm_pool_is_late(pool, (int64_t)fm_load_relaxed(&thread->since), now)) {
        return false;
    }
    found->tid = thread->tid;
    found->running = &thread->running;
    return true;
}

/* An item that runs for too long can only be ended with its process. */
static void
end_overdue(const struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    struct fm_overdue overdue;
    bool found = pool->hooks.find_overdue != NULL
                     ? pool->hooks.find_overdue(pool->hooks.context, &overdue)
                     : find_overdue(pool, &overdue);
    /* If the process was stopped during this look, the next one knows. */
    if (!found || fm_clock_now() - supervisor->looked > STOP_LEAST || !fm_pool_condemn(&overdue)) {
        return;
    }
    struct fm_last_words *words = &pool->roster->last_words[pool->worker];
    words->item = overdue.item + 1;
    take_stack(pool, &overdue, words);
    leave(pool, FM_EXIT_OVERDUE);
}

/* Batches are sized to take microseconds. If some thread holds one and none has ended since the
 * last look, an item in it takes long, and what stands behind it is given to others. */
static void
give_back_reserved(struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    uint64_t batches = fm_load_relaxed(&pool->batches);
    uint32_t held = fm_load_relaxed(&pool->batching);
    bool stuck = supervisor->has_seen_batches && batches == supervisor->seen_batches && held > 0;
    supervisor->has_seen_batches = true;
    supervisor->seen_batches = batches;
    if (!stuck) {
        supervisor->given_back = 0;
        return;
    }
    /* Again, once another thread holds a batch: it may have got stuck with what was given back. */
    if (held != supervisor->given_back && fm_slots_rewind(pool->slots)) {
        fm_roster_call_all(pool->roster);
    }
    supervisor->given_back = held;
}

/* Nothing that a look could help with can come about, but for items that arrive while every thread is
 * taken, and they can wait a little: nothing waits, and no batch that could get stuck is held. */
static bool
is_quiet(const struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    bool is_timed = pool->task_timeout > 0 && pool->task_timeout < TIMED_LEAST;
    return !is_timed && fm_slots_waiting(pool->slots) == 0
           && fm_load_relaxed(&pool->batching) == supervisor->given_back;
}

/* Where some thread is idle, the first one to get work kicks. */
static void
rest(struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    bool quiet = is_quiet(supervisor);
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->led && pool->active == 0) {
        supervisor->tick = NO_TICK;
    } else {
        supervisor->tick = !quiet                          ? TICK_MOST
                           : supervisor->tick < TICK_QUIET ? supervisor->tick * 2
                                                           : TICK_QUIET;
    }
    pool->supervisor_asleep = pool->led && supervisor->tick != TICK_MOST;
    (void)pthread_mutex_unlock(&pool->lock);
}

/* A look every tick as long as some thread runs an item, for it may get stuck. */
static void
choose_tick(struct supervisor *supervisor, bool grown)
{
    if (grown || supervisor->tick == NO_TICK) {
        supervisor->tick = TICK_LEAST;
    } else if (supervisor->tick < TICK_MOST) {
        supervisor->tick *= 2;
    } else {
        rest(supervisor);
    }
}

static void
look(struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    struct fm_growth_sample sample;
    unsigned added = 0;
    give_back_reserved(supervisor);
    if (pool->task_timeout > 0) {
        end_overdue(supervisor);
    }
    bool busy = fm_pool_sample(pool, &sample);
    if (busy) {
        bool had_baseline = supervisor->growth.has_baseline;
        unsigned wanted = fm_growth_decide(&supervisor->growth, &sample);
        if (wanted > 0 && fm_pool_is_runnable(pool)) {
            wanted = 0;
        }
        added = wanted > 0 ? fm_pool_add_threads(pool, wanted) : 0;
        if (added < wanted) {
            fm_pool_stop_growing(pool);
        }
        choose_tick(supervisor, added > 0 || (sample.waiting > 0 && !had_baseline));
        return;
    }
    supervisor->growth.has_baseline = false;
    choose_tick(supervisor, false);
}

static void
wake_up(struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    eventfd_t kicks;
    (void)eventfd_read(pool->kick_fd, &kicks);
    (void)pthread_mutex_lock(&pool->lock);
    pool->supervisor_asleep = false;
    (void)pthread_mutex_unlock(&pool->lock);
    supervisor->tick = NO_TICK;
}

/* When this look was due. Where a kick was waited for, nothing ran before it. */
static int64_t
find_due(const struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    if (supervisor->tick != NO_TICK) {
        return supervisor->looked + supervisor->tick * FM_MILLISECOND;
    }
    (void)pthread_mutex_lock(&pool->lock);
    int64_t kicked = pool->kicked;
    (void)pthread_mutex_unlock(&pool->lock);
    return kicked;
}

static void
note_stop(struct supervisor *supervisor)
{
    struct fm_pool *pool = supervisor->pool;
    int64_t now = fm_clock_now();
    int64_t overslept = now - find_due(supervisor);
    if (overslept > STOP_LEAST) {
        pool->resumed = now;
        pool->stopped += overslept;
    }
    supervisor->looked = now;
}

static void *
run_supervisor(void *argument)
{
    struct fm_pool *pool = argument;
    struct supervisor supervisor = {.pool = pool, .tick = TICK_LEAST, .looked = pool->kicked};
    struct pollfd watched[] = {
        {.fd = pool->parent_pidfd, .events = POLLIN},
        {.fd = pool->close_fd, .events = POLLIN},
        {.fd = pool->kick_fd, .events = POLLIN},
    };
    while (!fm_pool_is_closing(pool)) {
        int ready = poll(watched, 3, supervisor.tick);
        note_stop(&supervisor);
        /* A parent that ends closes its end of the pipe first; one that asks writes to it. */
        if (ready > 0 && (watched[0].revents != 0 || watched[1].revents == POLLHUP)) {
            _exit(FM_EXIT_ORPHANED);
        }
        if (ready > 0 && watched[1].revents != 0) {
            leave(pool, 0);
        }
        if (ready > 0) {
            wake_up(&supervisor);
        }
        look(&supervisor);
    }
    return NULL;
}

static void
adopt(struct fm_pool *pool, pthread_t handle)
{
    if (pool->local) {
        (void)pthread_setname_np(handle, FM_SUPERVISOR_NAME);
        pool->supervisor = handle;
    } else {
        (void)pthread_detach(handle);
    }
}

int
fm_supervisor_start(struct fm_pool *pool)
{
    pthread_t handle;
    if (!pool->local) {
        fm_process_name_thread(FM_SUPERVISOR_NAME);
    }
    pool->kicked = fm_clock_now();
    int result = fm_thread_create_deaf(&handle, run_supervisor, pool);
    if (result == 0) {
        adopt(pool, handle);
    }
    return result;
}

void
fm_supervisor_join(struct fm_pool *pool)
{
    (void)eventfd_write(pool->kick_fd, 1);
    (void)pthread_join(pool->supervisor, NULL);
}
