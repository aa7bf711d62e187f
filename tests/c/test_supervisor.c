#include "supervisor.h"

#include "engine.h"
#include "futex.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void
let_run(struct engine *engine, const struct engine_options *options)
{
    engine_start(engine, options);
    engine_drain(engine);
    engine_await_end(engine);
}

/* The same where the input's end isn't known as long as there are items: at the end threads that
 * find nothing take what others have reserved, and need no supervisor for that. */
static void
let_run_open(struct engine *engine, const struct engine_options *options)
{
    struct fm_value value;
    engine_start(engine, options);
    while (engine->next < options->items) {
        CHECK(engine_next(engine, &value));
    }
    if (!options->inherited) {
        engine_finish(engine);
    }
    engine_drain(engine);
    engine_await_end(engine);
}

/* ---- growth ---- */

static void
run_sleeping(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    (void)item;
    engine_await_workers(engine);
    test_sleep(20 * FM_MILLISECOND);
}

/* Nobody goes on before the pools have grown: a supervisor may get no CPU for a while. */
static void
await_growth(struct engine *engine, bool grown)
{
    fm_atomic_u32 *gate = &engine->shared->gate;
    if (grown) {
        fm_store_relaxed(gate, 1);
        (void)fm_futex_wake(gate, INT_MAX);
    }
    while (fm_load_relaxed(gate) == 0) {
        (void)fm_futex_wait(gate, 0, FM_FOREVER);
    }
}

enum { GROWING_ITEMS = 600, FAIR_SHARE = 20 };

/* Both workers take part, also one that the machine starts late: an item of the second half waits
 * until the other worker has had its share. */
static void
run_sleeping_beside(struct engine *engine, unsigned worker, uint64_t item)
{
    await_growth(engine, fm_load_relaxed(&engine->shared->peak) > 32);
    run_sleeping(engine, worker, item);
    while (item >= GROWING_ITEMS / 2
           && fm_load_relaxed(&engine->shared->ran_by[!worker]) <= FAIR_SHARE) {
        test_sleep(FM_MILLISECOND);
    }
}

/* One after the other they would take 12 seconds. */
static void
grow_for_blocking(void *forked)
{
    static struct engine engine;
    struct engine_options options = {.workers = 2,
                                     .threads_limit = 200,
                                     .items = GROWING_ITEMS,
                                     .buffersize = GROWING_ITEMS,
                                     .inherited = true,
                                     .forked = *(bool *)forked,
                                     .supervised = true,
                                     .run = run_sleeping_beside};
    int64_t start = fm_clock_now();
    let_run(&engine, &options);
    test_check_quick(start, 4 * FM_SECOND);
    CHECK(fm_load_relaxed(&engine.shared->peak) > 32);
    CHECK(fm_load_relaxed(&engine.shared->ran_by[0]) > FAIR_SHARE);
    CHECK(fm_load_relaxed(&engine.shared->ran_by[1]) > FAIR_SHARE);
}

static void
run_computing(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    (void)item;
    test_burn(2 * FM_MILLISECOND);
}

/* One worker or, on any machine with fewer CPUs, a crowd of them. */
static void
stay_one_for_computing(void *argument)
{
    static struct engine engine;
    unsigned workers = *(unsigned *)argument;
    struct engine_options options = {.workers = workers,
                                     .threads_limit = 50,
                                     .items = 120,
                                     .buffersize = 120,
                                     .inherited = true,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_computing};
    let_run(&engine, &options);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->most_thread), 0);
    CHECK(fm_load_relaxed(&engine.shared->peak) <= workers);
}

static void
run_changing(struct engine *engine, unsigned worker, uint64_t item)
{
    if (item < 60) {
        run_computing(engine, worker, item);
    } else {
        await_growth(engine, fm_load_relaxed(&engine->shared->most_thread) >= 8);
        run_sleeping(engine, worker, item);
    }
    fm_store_relaxed(&engine->shared->flags[item >= 60],
                     fm_load_relaxed(&engine->shared->most_thread));
}

/* It grows when the tasks begin to block, not before. */
static void
grow_when_blocking_begins(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {.workers = 1,
                                     .threads_limit = 100,
                                     .items = 300,
                                     .buffersize = 300,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_changing};
    (void)ignored;
    let_run(&engine, &options);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->flags[0]), 0);
    CHECK(fm_load_relaxed(&engine.shared->flags[1]) >= 8);
}

static void
run_at_limit(struct engine *engine, unsigned worker, uint64_t item)
{
    await_growth(engine, fm_load_relaxed(&engine->shared->peak) >= 10);
    run_sleeping(engine, worker, item);
}

static void
respect_limit(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {.workers = 2,
                                     .threads_limit = 5,
                                     .items = 200,
                                     .buffersize = 200,
                                     .inherited = true,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_at_limit};
    (void)ignored;
    let_run(&engine, &options);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->peak), 10);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->most_thread), 4);
}

/* Items that come one by one, after the supervisor has gone to sleep, and block until all have
 * come: each needs another thread. */
static void
run_until_all_are_there(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    (void)item;
    while (fm_load_relaxed(&engine->shared->running) < engine->options.items) {
        test_sleep(FM_MILLISECOND);
        if (fm_load_relaxed(&engine->shared->flags[0])) {
            return;
        }
    }
    fm_store_relaxed(&engine->shared->flags[0], 1);
}

static void
grow_one_by_one(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {.workers = 1,
                                     .threads = 3,
                                     .threads_limit = 100,
                                     .items = 8,
                                     .buffersize = 100,
                                     .burst = 1,
                                     .burst_pause = 80 * FM_MILLISECOND,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_until_all_are_there};
    (void)ignored;
    let_run(&engine, &options);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->peak), 8);
}

/* ---- what a stuck thread has reserved ---- */

#define QUICK 4000 /* items from which threads learn to take large batches */
#define SLOW 64

/* Every slow item waits for all of them: for ever, if one is kept back behind another. */
static void
run_in_company(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    if (item < QUICK) {
        return;
    }
    int64_t end = fm_clock_now() + 20 * FM_SECOND;
    (void)fm_add_relaxed(&engine->shared->flags[1], 1);
    while (fm_load_relaxed(&engine->shared->flags[1]) < SLOW) {
        CHECK(fm_clock_now() < end);
        test_sleep(FM_MILLISECOND);
    }
}

struct company {
    unsigned workers;
    unsigned threads;
    unsigned threads_limit;
    bool inherited;
    int64_t pause; /* before the slow ones come */
    uint64_t batch;
};

static void
keep_company(void *argument)
{
    const struct company *company = argument;
    static struct engine engine;
    struct engine_options options = {.workers = company->workers,
                                     .threads = company->threads,
                                     .threads_limit = company->threads_limit,
                                     .items = QUICK + SLOW,
                                     .buffersize = QUICK + SLOW + 1000,
                                     .burst = 64,
                                     .pause_at = QUICK,
                                     .pause = company->pause,
                                     .batch = company->batch,
                                     .inherited = company->inherited,
                                     .stays_open = true,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_in_company};
    let_run_open(&engine, &options);
    CHECK(fm_load_relaxed(&engine.shared->peak) >= SLOW);
}

static const struct company companies[] = {
    /* Threads are added. */
    {.workers = 1, .threads_limit = 100, .inherited = true},
    {.workers = 2, .threads_limit = 100},
    {.workers = 2, .threads_limit = 100, .pause = 100 * FM_MILLISECOND},
    /* The threads are there, some of them idle: it is only a matter of handing over. */
    {.workers = 1, .threads = SLOW + 8, .threads_limit = SLOW + 8, .inherited = true},
    {.workers = 1, .threads = SLOW + 8, .threads_limit = SLOW + 8},
    {.workers = 2, .threads = SLOW, .threads_limit = SLOW},
    /* And the supervisor has gone to sleep meanwhile. */
    {.workers = 1, .threads = SLOW + 8, .threads_limit = SLOW + 8, .pause = 100 * FM_MILLISECOND},
    {.workers = 2, .threads = SLOW, .threads_limit = SLOW, .pause = 100 * FM_MILLISECOND},
    /* What is given back is taken in large batches again. */
    {.workers = 1,
     .threads = SLOW + 8,
     .threads_limit = SLOW + 8,
     .pause = 100 * FM_MILLISECOND,
     .batch = 64},
    {.workers = 2,
     .threads = SLOW,
     .threads_limit = SLOW,
     .pause = 100 * FM_MILLISECOND,
     .batch = 256},
};

/* One item that lasts, behind which others of its batch wait; they must not wait for it. */
static void
run_first_lasting(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    if (item != QUICK) {
        (void)fm_add_relaxed(&engine->shared->flags[1], item > QUICK);
        return;
    }
    int64_t end = fm_clock_now() + 20 * FM_SECOND;
    while (fm_load_relaxed(&engine->shared->flags[1]) < SLOW - 1) {
        CHECK(fm_clock_now() < end);
        test_sleep(FM_MILLISECOND);
    }
    fm_store_relaxed(&engine->shared->flags[2], 1);
}

static void
overtake(void *argument)
{
    const struct company *company = argument;
    static struct engine engine;
    struct engine_options options = {.workers = company->workers,
                                     .threads = company->threads,
                                     .threads_limit = company->threads_limit,
                                     .items = QUICK + SLOW,
                                     .buffersize = QUICK + SLOW + 1000,
                                     .burst = 64,
                                     .pause_at = QUICK,
                                     .pause = company->pause,
                                     .batch = company->batch,
                                     .stays_open = true,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_first_lasting};
    let_run_open(&engine, &options);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->flags[2]), 1);
}

static const struct company overtakers[] = {
    {.workers = 1, .threads = 2, .threads_limit = 2},
    {.workers = 1, .threads = 3, .threads_limit = 3, .pause = 100 * FM_MILLISECOND},
    {.workers = 1, .threads = 8, .threads_limit = 8, .pause = 100 * FM_MILLISECOND},
    {.workers = 2, .threads = 1, .threads_limit = 1},
    {.workers = 2, .threads = 1, .threads_limit = 1, .pause = 100 * FM_MILLISECOND},
    {.workers = 3, .threads = 2, .threads_limit = 2, .pause = 100 * FM_MILLISECOND},
};

static void
run_companies(void)
{
    char name[64];
    for (size_t i = 0; i < sizeof companies / sizeof *companies; i++) {
        struct company company = companies[i];
        (void)snprintf(name, sizeof name, "company %zu", i);
        test_run(name, keep_company, &company);
    }
    for (size_t i = 0; i < sizeof overtakers / sizeof *overtakers; i++) {
        struct company company = overtakers[i];
        (void)snprintf(name, sizeof name, "overtaking %zu", i);
        test_run(name, overtake, &company);
    }
}

/* ---- items that run for too long ---- */

#define LATE 40 /* the item that does */
#define TIMEOUT (600 * FM_MILLISECOND)

static fm_atomic_u64 begins[100]; /* of the items that run in this process and must not be late */

static void
run_timed(uint64_t item, int64_t late, int64_t others)
{
    fm_store_relaxed(&begins[item], item == LATE ? 0 : (uint64_t)fm_clock_now());
    test_sleep(item == LATE ? late : others);
    fm_store_relaxed(&begins[item], 0);
}

static void
run_late(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    run_timed(item, 60 * FM_SECOND, FM_MILLISECOND);
}

/* Its neighbours, which run with it in its process, take their time too. */
static void
run_late_in_company(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    run_timed(item, 60 * FM_SECOND, TIMEOUT / 2);
}

/* The one computes and keeps the others from running, at first; they sleep. */
static void
run_hogging(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    if (item == LATE) {
        test_burn(60 * FM_SECOND);
    } else if (item >= LATE - 3 && item < LATE
               && fm_load_relaxed(&engine->shared->runs[item]) == 1) {
        test_sleep(60 * FM_SECOND);
    }
}

/* Asked when some item is overdue. One that must not be may be, if the machine kept it from its
 * end: then the scenario proves nothing. */
static bool
is_not_hogged(void *context)
{
    const struct engine_worker *at = context;
    int64_t now = fm_clock_now();
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        int64_t begin = (int64_t)fm_load_relaxed(&begins[i]);
        if (begin > 0 && now - begin > TIMEOUT) {
            fm_store_relaxed(&at->engine->shared->flags[0], 1);
        }
    }
    return false;
}

static void
check_machine(struct engine *engine)
{
    if (fm_load_relaxed(&engine->shared->flags[0]) != 0) {
        test_end_late("an item was kept from its end");
    }
}

static bool
is_always_hogged(void *context)
{
    return !is_not_hogged(context);
}

static bool
runs_late_item(const struct fm_pool_thread *thread)
{
    return fm_load_relaxed(&thread->running) == LATE;
}

static bool
is_none_of_the_pool(const struct fm_pool_thread *thread)
{
    (void)thread;
    return false;
}

/* A little late, so that it is done by the time that it is found to be. */
static void
run_hardly_late(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    run_timed(item, TIMEOUT + 30 * FM_MILLISECOND, 5 * FM_MILLISECOND);
}

static bool
is_not_hogged_after_all(void *context)
{
    test_sleep(60 * FM_MILLISECOND);
    return is_not_hogged(context);
}

static struct engine_options
timed_options(void)
{
    return (struct engine_options){.workers = 2,
                                   .threads_limit = 1,
                                   .items = 100,
                                   .buffersize = 64,
                                   .forked = true,
                                   .supervised = true,
                                   .replaces = true,
                                   .repeats = true,
                                   .task_timeout = TIMEOUT,
                                   .is_hogged = is_not_hogged,
                                   .run = run_late};
}

/* Only the late item is overdue, in its place and with its stack. */
static void
run_overdue(void *argument)
{
    static struct engine engine;
    const struct engine_options *options = argument;
    struct fm_value value;
    uint64_t size;
    int64_t start = fm_clock_now();
    engine_start(&engine, options);
    while (engine_next(&engine, &value)) {
        bool late = engine.next - 1 == LATE;
        check_machine(&engine);
        CHECK_EQUAL(value.outcome, late ? FM_OUTCOME_OVERDUE : FM_OUTCOME_RESULT);
        if (late) {
            const char *stack = fm_board_bytes(&engine.board, &value, &size);
            if (size < 5) {
                test_end_late("a stack was not written in time");
            }
            CHECK_EQUAL(size, 5);
            CHECK_EQUAL(memcmp(stack, "stack", 5), 0);
            CHECK_EQUAL(fm_load_relaxed(&engine.shared->runs[LATE]), 1);
        }
    }
    CHECK_EQUAL(engine.next, options->items);
    CHECK(fm_clock_now() - start > TIMEOUT);
    engine_await_end(&engine);
    engine_check_no_children();
}

/* Whatever becomes of that one, no other item pays for it. */
static void
run_hardly_overdue(void *ignored)
{
    static struct engine engine;
    struct engine_options options = timed_options();
    struct fm_value value;
    (void)ignored;
    options.workers = 1;
    options.items = LATE + 20;
    options.run = run_hardly_late;
    options.is_hogged = is_not_hogged_after_all;
    engine_start(&engine, &options);
    while (engine_next(&engine, &value)) {
        check_machine(&engine);
        CHECK(value.outcome == FM_OUTCOME_RESULT || engine.next - 1 == LATE);
    }
    CHECK_EQUAL(engine.next, options.items);
    engine_await_end(&engine);
}

static void
run_in_time(void *ignored)
{
    struct engine_options options = timed_options();
    (void)ignored;
    options.items = 2000;
    options.run = NULL;
    options.repeats = false;
    options.task_timeout = 10 * FM_SECOND;
    engine_run(&options);
}

static void
run_timeouts(void)
{
    struct engine_options options = timed_options();
    test_run("overdue", run_overdue, &options);
    options.replaces = false;
    test_run("overdue, not replaced", run_overdue, &options);
    options = timed_options();
    options.threads_limit = 8;
    options.run = run_late_in_company;
    test_run("overdue, in company", run_overdue, &options);
    options = timed_options();
    options.workers = 1;
    options.threads = options.threads_limit = 8;
    options.run = run_hogging;
    options.is_hogged = is_always_hogged;
    options.is_hog = runs_late_item;
    test_run("overdue, hogging", run_overdue, &options);
    options = timed_options();
    options.is_hogged = is_always_hogged;
    options.is_hog = is_none_of_the_pool;
    test_run("overdue, hogged by another thread", run_overdue, &options);
    test_run("hardly overdue", run_hardly_overdue, NULL);
    test_run("in time", run_in_time, NULL);
}

/* ---- the process's end ---- */

static void
run_for_ever(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    (void)item;
    fm_store_relaxed(&engine->shared->flags[0], (uint64_t)getpid());
    for (;;) {
        (void)pause();
    }
}

struct deserter {
    struct engine *engine;
    fm_atomic_u32 pid;
};

static struct engine_options
stuck_options(void (*leave)(void *context, int status))
{
    struct engine_options options = {.workers = 1,
                                     .threads_limit = 2,
                                     .items = 10,
                                     .buffersize = 10,
                                     .inherited = true,
                                     .forked = true,
                                     .supervised = true,
                                     .run = run_for_ever,
                                     .leave = leave};
    return options;
}

static void
await_stuck(struct engine *engine)
{
    while (fm_load_relaxed(&engine->shared->flags[0]) == 0) {
        test_sleep(FM_MILLISECOND);
    }
}

/* A parent that is killed while its worker runs an item. The worker was told to survive its
 * parent's death (see test_fork), so that only the supervisor can end it. */
static void
start_and_die(void *argument)
{
    struct deserter *deserter = argument;
    static struct engine engine;
    struct engine_options options = stuck_options(NULL);
    options.survives_parent = true;
    engine_start(&engine, &options);
    await_stuck(&engine);
    fm_store_release(&deserter->pid, (uint32_t)engine.pids[0]);
    for (;;) {
        (void)pause();
    }
}

static void
end_with_parent(void *ignored)
{
    struct deserter *deserter = test_map(sizeof *deserter);
    int status;
    (void)ignored;
    CHECK_EQUAL(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    pid_t parent = test_fork(start_and_die, deserter);
    while (fm_load_acquire(&deserter->pid) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    pid_t orphan = (pid_t)fm_load_acquire(&deserter->pid);
    int64_t start = fm_clock_now();
    CHECK_EQUAL(kill(parent, SIGKILL), 0);
    CHECK_EQUAL(waitpid(parent, &status, 0), parent);
    CHECK_EQUAL(waitpid(orphan, &status, 0), orphan);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), FM_EXIT_ORPHANED);
    CHECK(fm_clock_now() - start < 2 * FM_SECOND);
}

static struct engine asked; /* of end_when_asked */

static void
note_leaving(void)
{
    fm_store_relaxed(&asked.shared->flags[1], (uint64_t)fm_clock_now());
}

static void
leave_at_once(void *context, int status)
{
    (void)context;
    note_leaving();
    _exit(status != 0 ? status : ENGINE_EXIT_LEFT);
}

static void
leave_reluctantly(void *context, int status)
{
    (void)context;
    (void)status;
    note_leaving();
}

/* It takes longer than a worker would be granted that doesn't say so. */
static void *
finish(void *ignored)
{
    (void)ignored;
    test_sleep((FM_CLOSE_GRACE_MS + 200) * FM_MILLISECOND);
    _exit(ENGINE_EXIT_LEFT);
}

static void
leave_when_finished(void *context, int status)
{
    (void)context;
    (void)status;
    fm_store_relaxed(&asked.board.roster.entries[0].finishing, 1);
    note_leaving();
    (void)test_thread(finish, NULL);
}

static void
leave_late(void *context, int status)
{
    (void)context;
    (void)status;
    (void)test_thread(finish, NULL);
}

struct farewell {
    void (*leave)(void *context, int status);
    int status;
    int64_t least;
};

/* Killed, though it would have gone in time if it had had the CPU. One that is reluctant needs it
 * twice. */
static void
check_had_time(const struct farewell *farewell, int64_t start)
{
    int64_t left = (int64_t)fm_load_relaxed(&asked.shared->flags[1]);
    if (left == 0 || left - start > 100 * FM_MILLISECOND || farewell->leave == leave_reluctantly) {
        test_end_late("the worker was killed");
    }
}

/* close_fd asks it to leave; where nobody then ends the process, it does, also under a thread that
 * is stuck. */
static void
end_when_asked(void *argument)
{
    const struct farewell *farewell = argument;
    struct engine_options options = stuck_options(farewell->leave);
    engine_start(&asked, &options);
    await_stuck(&asked);
    int64_t start = fm_clock_now();
    fm_monitor_stop(&asked.monitor);
    int64_t took = fm_clock_now() - start;
    const struct fm_value *how = &asked.monitor.last_crash;
    if (how->as.crash.exit_signal == SIGKILL) {
        check_had_time(farewell, start);
    }
    CHECK_EQUAL(how->as.crash.exit_signal, 0);
    CHECK_EQUAL(how->as.crash.exit_code, farewell->status);
    CHECK(took >= farewell->least);
    test_check_quick(start, farewell->least + FM_SECOND);
}

/* While nothing runs in it, it has the time of one that says that it is finishing. */
static void
end_idle_when_asked(void *ignored)
{
    (void)ignored;
    struct engine_options options = stuck_options(leave_late);
    options.inherited = false;
    options.items = 0;
    options.stays_open = true;
    engine_start(&asked, &options);
    engine_await_workers(&asked);
    fm_monitor_stop(&asked.monitor);
    test_join_thread(asked.feeder);
    const struct fm_value *how = &asked.monitor.last_crash;
    CHECK_EQUAL(how->as.crash.exit_signal, 0);
    CHECK_EQUAL(how->as.crash.exit_code, ENGINE_EXIT_LEFT);
}

int
main(void)
{
    static bool forked = true;
    static bool as_threads = false;
    static unsigned crowds[] = {1, 2, 6};
    static struct farewell quick = {.leave = leave_at_once, .status = ENGINE_EXIT_LEFT};
    static struct farewell slow = {.leave = leave_reluctantly,
                                   .least = FM_LEAVE_GRACE_MS * FM_MILLISECOND};
    static struct farewell finishing = {.leave = leave_when_finished,
                                        .status = ENGINE_EXIT_LEFT,
                                        .least = (FM_CLOSE_GRACE_MS + 200) * FM_MILLISECOND};
    (void)alarm(CHECK_TIME_LIMIT);
    test_run("growth in processes", grow_for_blocking, &forked);
    test_run("growth in threads", grow_for_blocking, &as_threads);
    for (size_t i = 0; i < 3; i++) {
        test_run("computing", stay_one_for_computing, &crowds[i]);
    }
    test_run("blocking begins", grow_when_blocking_begins, NULL);
    test_run("limit", respect_limit, NULL);
    test_run("one by one", grow_one_by_one, NULL);
    run_companies();
    run_timeouts();
    test_run("parent dies", end_with_parent, NULL);
    test_run("asked to leave", end_when_asked, &quick);
    test_run("asked to leave, reluctant", end_when_asked, &slow);
    test_run("asked to leave, finishing", end_when_asked, &finishing);
    test_run("asked to leave, idle", end_idle_when_asked, NULL);
    return 0;
}
