#include "monitor.h"

#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

/* ---- the thread that can't be started ---- */

static bool threads_refused;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                      void *argument)
{
    return threads_refused ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

/* ---- the process that can't be watched, for want of a descriptor ---- */

static unsigned pidfds_granted = UINT32_MAX;

int __real_fm_process_open(pid_t pid);
int __wrap_fm_process_open(pid_t pid);

int
__wrap_fm_process_open(pid_t pid)
{
    if (pidfds_granted == 0) {
        return -EMFILE;
    }
    pidfds_granted--;
    return __real_fm_process_open(pid);
}

/* ---- one death at a time ---- */

#define POISON 7 /* the item that ends its process */

static void
run_poison(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    if (item == POISON) {
        (void)kill(getpid(), SIGKILL);
    }
}

static void
run_exit(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    if (item == POISON) {
        _exit(3);
    }
}

static struct engine_options
poison_options(void)
{
    return (struct engine_options){.workers = 2,
                                   .threads_limit = 1,
                                   .items = 300,
                                   .buffersize = 64,
                                   .forked = true,
                                   .supervised = true,
                                   .watched = true,
                                   .run = run_poison};
}

/* Takes all results; the number of those that crashed, which are around the poisonous one. */
static void
take_all(struct engine *engine, struct fm_value *crash)
{
    struct fm_value value;
    while (engine_next(engine, &value)) {
        uint64_t item = engine->next - 1;
        if (value.outcome == FM_OUTCOME_CRASHED) {
            CHECK_EQUAL(item, POISON);
            *crash = value;
        }
    }
    CHECK_EQUAL(engine->next, engine->options.items);
}

/* Its item crashed, in its place; all others have their results, by the worker that is left. */
static void
die_running(void *argument)
{
    static struct engine engine;
    bool exits = *(bool *)argument;
    struct engine_options options = poison_options();
    struct fm_value crash = {0};
    options.run = exits ? run_exit : run_poison;
    engine_start(&engine, &options);
    take_all(&engine, &crash);
    CHECK_EQUAL(engine.crashed, 1);
    CHECK_EQUAL(crash.form, FM_FORM_INLINE);
    CHECK(crash.as.crash.pid == engine.pids[0] || crash.as.crash.pid == engine.pids[1]);
    CHECK_EQUAL(crash.as.crash.exit_known, 1);
    CHECK_EQUAL(crash.as.crash.exit_signal, exits ? 0 : SIGKILL);
    CHECK_EQUAL(crash.as.crash.exit_code, exits ? 3 : 0);
    CHECK_EQUAL(crash.as.crash.setup_error, 0);
    CHECK_EQUAL(crash.as.crash.successor_error, 0);
    engine_await_end(&engine);
    engine_check_watch(&engine);
    engine_check_no_children();
}

/* With the last worker gone the consumer is told, and told what became of it. */
static void
die_alone(void *ignored)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value value;
    (void)ignored;
    options.workers = 1;
    engine_start(&engine, &options);
    for (uint64_t item = 0; item <= POISON; item++) {
        CHECK(engine_next(&engine, &value));
        CHECK_EQUAL(value.outcome, item == POISON ? FM_OUTCOME_CRASHED : FM_OUTCOME_RESULT);
    }
    while (!fm_monitor_is_deserted(&engine.monitor)) {
        test_sleep(FM_MILLISECOND);
    }
    CHECK_EQUAL(memcmp(&engine.monitor.last_crash, &value, sizeof value), 0);
    CHECK(!fm_slots_is_done(&engine.board.slots, POISON + 1));
    CHECK_EQUAL(fm_load_relaxed(&engine.board.roster.entries[0].alive), 0);
    engine_stop(&engine);
    engine_check_watch(&engine);
    engine_check_no_children();
}

/* Somebody else in the parent collects children: how the worker ended is not known. */
static void
die_uncollected(void *ignored)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value crash = {0};
    (void)ignored;
    (void)signal(SIGCHLD, SIG_IGN);
    engine_start(&engine, &options);
    take_all(&engine, &crash);
    CHECK_EQUAL(crash.outcome, FM_OUTCOME_CRASHED);
    CHECK_EQUAL(crash.as.crash.exit_known, 0);
    engine_await_end(&engine);
}

/* ---- a ring that was lost with its ringer ---- */

/* The only idle worker was about to be rung by the one that then died: its doorbell is taken down,
 * so that nobody else will ring it either. */
static void
run_briefly(struct engine *engine, unsigned worker, uint64_t item)
{
    if (item == 0) {
        fm_store_relaxed(&engine->shared->flags[0], worker + 1);
        for (;;) {
            (void)pause();
        }
    }
}

static void
lose_ring(void *ignored)
{
    static struct engine engine;
    struct engine_options options = {.workers = 2,
                                     .threads_limit = 1,
                                     .items = 2,
                                     .buffersize = 8,
                                     .pause_at = 1, /* item 1 comes when item 0 is settled */
                                     .pause = FM_MILLISECOND,
                                     .stays_open = true, /* the end of the input rings, too */
                                     .forked = true,
                                     .run = run_briefly};
    (void)ignored;
    engine_start(&engine, &options);
    while (fm_load_relaxed(&engine.shared->flags[0]) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    unsigned runner = (unsigned)fm_load_relaxed(&engine.shared->flags[0]) - 1;
    struct fm_doorbell *bell = &engine.board.roster.entries[1 - runner].work;
    uint64_t wanted = FM_NOBODY;
    while ((wanted = fm_doorbell_wanted(bell)) == FM_NOBODY
           || !fm_cas_seq_cst(&bell->wanted, &wanted, FM_NOBODY)) {
        test_sleep(FM_MILLISECOND);
    }
    int64_t start = fm_clock_now();
    CHECK_EQUAL(kill(engine.pids[runner], SIGKILL), 0);
    struct fm_value value;
    CHECK(engine_next(&engine, &value));
    CHECK_EQUAL(value.outcome, FM_OUTCOME_CRASHED);
    CHECK(engine_next(&engine, &value));
    CHECK_EQUAL(value.outcome, FM_OUTCOME_RESULT);
    /* The slice would have ended after a quarter of a second. */
    test_check_quick(start, 180 * FM_MILLISECOND);
    engine_stop(&engine);
}

/* ---- successors ---- */

/* Each successor runs the poison alone, until it has been lost once too often. */
static void
retry_poison(void *argument)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value crash = {0};
    uint64_t retries = *(uint64_t *)argument;
    options.replaces = true;
    options.retries = retries;
    engine_start(&engine, &options);
    take_all(&engine, &crash);
    CHECK_EQUAL(engine.crashed, 1);
    CHECK_EQUAL(crash.as.crash.exit_signal, SIGKILL);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->runs[POISON]), retries + 1);
    uint64_t births =
        fm_load_relaxed(&engine.shared->births[0]) + fm_load_relaxed(&engine.shared->births[1]);
    /* The last one to die may leave nothing to a successor. */
    CHECK(births == 2 + retries || births == 2 + retries + 1);
    engine_await_end(&engine);
    engine_check_watch(&engine);
    engine_check_no_children();
}

static void
run_once_deadly(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    if (item == POISON && fm_load_relaxed(&engine->shared->runs[item]) == 1) {
        (void)kill(getpid(), SIGKILL);
    }
}

static void
retry_once(void *ignored)
{
    struct engine_options options = poison_options();
    (void)ignored;
    options.workers = 1;
    options.replaces = true;
    options.retries = 1;
    options.run = run_once_deadly;
    engine_run(&options);
    engine_check_no_children();
}

static int64_t
die_at_birth(struct engine *engine, unsigned worker, bool is_successor)
{
    if (is_successor) {
        fm_store_relaxed(&engine->board.roster.entries[worker].setup_error, ENOSPC);
        (void)kill(getpid(), SIGKILL);
    }
    return 0;
}

/* Successors that never get ready end the attempt, and the items with it. */
static void
give_up(void *ignored)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value value;
    (void)ignored;
    options.workers = 1;
    options.replaces = true;
    options.retries = 1000;
    options.life = die_at_birth;
    engine_start(&engine, &options);
    for (uint64_t item = 0; item <= POISON; item++) {
        CHECK(engine_next(&engine, &value));
        CHECK_EQUAL(value.outcome, item == POISON ? FM_OUTCOME_CRASHED : FM_OUTCOME_RESULT);
    }
    CHECK_EQUAL(value.as.crash.setup_error, ENOSPC);
    while (!fm_monitor_is_deserted(&engine.monitor)) {
        test_sleep(FM_MILLISECOND);
    }
    CHECK(fm_load_relaxed(&engine.shared->births[0]) <= 20);
    engine_stop(&engine);
    engine_check_no_children();
}

/* What could not be watched must not run: the items are not its any more. */
static void
lose_sight(void *ignored)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value crash = {0};
    (void)ignored;
    options.replaces = true;
    options.retries = 3;
    options.run = run_once_deadly;
    pidfds_granted = 4; /* this process, the nursery, two workers */
    int64_t start = fm_clock_now();
    engine_start(&engine, &options);
    take_all(&engine, &crash);
    CHECK_EQUAL(crash.outcome, FM_OUTCOME_CRASHED);
    CHECK_EQUAL(crash.as.crash.exit_signal, SIGKILL);
    CHECK_EQUAL(crash.as.crash.successor_error, EMFILE);
    CHECK_EQUAL(crash.as.crash.setup_error, 0);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->runs[POISON]), 1);
    engine_await_end(&engine);
    CHECK(fm_clock_now() - start < 5 * FM_SECOND);
    engine_check_no_children();
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->ended), 1);
}

static void
run_poison_later(struct engine *engine, unsigned worker, uint64_t item)
{
    while (item == POISON && fm_load_relaxed(&engine->shared->flags[0]) == 0) {
        test_sleep(FM_MILLISECOND);
    }
    run_poison(engine, worker, item);
}

/* Without a nursery, when it has died, workers are not replaced, and the rest goes on. */
static void
lose_nursery(void *ignored)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value crash = {0};
    (void)ignored;
    options.replaces = true;
    options.retries = 3;
    options.run = run_poison_later;
    engine_start(&engine, &options);
    CHECK_EQUAL(kill(engine.nursery, SIGKILL), 0);
    fm_store_relaxed(&engine.shared->flags[0], 1);
    take_all(&engine, &crash);
    CHECK_EQUAL(engine.crashed, 1);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->runs[POISON]), 1);
    engine_await_end(&engine);
    engine_check_no_children();
}

/* ---- the end ---- */

static void
ignore_everything(void *context, int status)
{
    (void)context;
    (void)status;
    test_sleep(60 * FM_SECOND);
}

static void
run_for_ever(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)worker;
    (void)item;
    (void)fm_add_relaxed(&engine->shared->flags[0], 1);
    for (;;) {
        (void)pause();
    }
}

/* Workers that don't listen are killed, and all are collected, the nursery and successors too. */
static void
stop_stubborn(void *argument)
{
    static struct engine engine;
    bool replaces = *(bool *)argument;
    struct engine_options options = {.workers = 3,
                                     .threads_limit = 1,
                                     .items = 100,
                                     .buffersize = 8,
                                     .inherited = true,
                                     .forked = true,
                                     .supervised = true,
                                     .replaces = replaces,
                                     .retries = replaces,
                                     .run = run_for_ever,
                                     .leave = ignore_everything};
    engine_start(&engine, &options);
    while (fm_load_relaxed(&engine.shared->flags[0]) < 3) {
        test_sleep(FM_MILLISECOND);
    }
    if (replaces) {
        CHECK_EQUAL(kill(engine.pids[1], SIGKILL), 0);
        while (fm_load_relaxed(&engine.shared->flags[0]) < 4) {
            test_sleep(FM_MILLISECOND);
        }
    }
    int64_t start = fm_clock_now();
    engine_stop(&engine);
    CHECK(fm_clock_now() - start >= (FM_CLOSE_GRACE_MS - 1) * FM_MILLISECOND);
    test_check_quick(start, FM_CLOSE_GRACE_MS * FM_MILLISECOND + FM_SECOND);
    engine_check_no_children();
}

/* Workers that listen end at once; so does the monitor where all have ended before. */
static void
stop_willing(void *argument)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value value;
    options.replaces = *(bool *)argument;
    options.retries = options.replaces;
    options.run = NULL;
    options.items = 1000;
    options.inherited = true;
    engine_start(&engine, &options);
    CHECK(engine_next(&engine, &value));
    int64_t start = fm_clock_now();
    engine_stop(&engine);
    test_check_quick(start, FM_CLOSE_GRACE_MS * FM_MILLISECOND);
    engine_check_no_children();
    engine_run(&options);
    engine_check_no_children();
}

/* Stopped without waiting, and the consumer is told at its descriptor when that would not block. */
static void
stop_unawaited(void *ignored)
{
    static struct engine engine;
    struct engine_options options = poison_options();
    struct fm_value value;
    (void)ignored;
    options.run = NULL;
    options.inherited = true;
    options.replaces = true; /* the nursery ends last */
    engine_start(&engine, &options);
    CHECK(engine_next(&engine, &value));
    CHECK(!fm_monitor_is_over(&engine.monitor));
    fm_board_end(&engine.board);
    fm_monitor_begin_stop(&engine.monitor);
    for (;;) {
        struct pollfd watched = {.fd = engine.board.slots.consumer_fd, .events = POLLIN};
        fm_slots_arm_consumer_fd(&engine.board.slots, FM_NOBODY);
        if (fm_monitor_is_over(&engine.monitor)) {
            break;
        }
        CHECK_EQUAL(poll(&watched, 1, 10000), 1);
    }
    engine_check_no_children();
    engine_stop(&engine);
}

static void
wait_for_signal(void *ignored)
{
    (void)ignored;
    for (;;) {
        (void)pause();
    }
}

/* The workers are gone, and a child that isn't ours is left alone. */
static void
fail_to_start(void *argument)
{
    struct fm_board board;
    struct fm_monitor monitor;
    bool replaces = *(bool *)argument;
    struct fm_board_options options = {
        .workers = 2, .buffersize = 4, .total = 10, .inherited = true, .arena_limit = 1};
    struct fm_heap heap;
    struct fm_monitor_options monitoring = {
        .heap = &heap, .workers = 2, .replaces = replaces, .retries = replaces};
    CHECK_EQUAL(fm_board_map(&board, &options, NULL), 0);
    fm_heap_init(&heap, &board.arena, 0);
    CHECK_EQUAL(fm_monitor_init(&monitor, &board, &monitoring), 0);
    pid_t bystander = test_fork(wait_for_signal, NULL);
    if (replaces) {
        pid_t nursery = test_fork(wait_for_signal, NULL);
        fm_nursery_enter_parent(&monitor.nursery);
        CHECK_EQUAL(fm_monitor_add_nursery(&monitor, nursery), 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_EQUAL(fm_monitor_add(&monitor, test_fork(wait_for_signal, NULL)), 0);
    }
    threads_refused = true;
    CHECK_EQUAL(fm_monitor_start(&monitor), -EAGAIN);
    CHECK(fm_monitor_is_deserted(&monitor));
    fm_monitor_fini(&monitor);
    fm_board_unmap(&board);
    CHECK_EQUAL(waitpid(-1, NULL, WNOHANG), 0); /* one child, which lives */
    CHECK_EQUAL(kill(bystander, SIGKILL), 0);
    CHECK_EQUAL(waitpid(bystander, NULL, 0), bystander);
    engine_check_no_children();
}

/* ---- random deaths ---- */

static uint64_t
chance(unsigned worker)
{
    uint64_t seed = (uint64_t)fm_clock_now() * 31 + worker * 7919 + (uint64_t)getpid();
    (void)test_random(&seed);
    return test_random(&seed);
}

/* All but the first worker die, within the time of the run. */
static int64_t
die_soon(struct engine *engine, unsigned worker, bool is_successor)
{
    (void)engine;
    (void)is_successor;
    return worker == 0 ? 0 : 1 + (int64_t)(chance(worker) % 4000) * FM_MICROSECOND;
}

/* Every one dies, its successors too, until they live long enough to get on. */
static int64_t
die_again(struct engine *engine, unsigned worker, bool is_successor)
{
    uint32_t births = fm_load_relaxed(&engine->shared->births[worker]);
    (void)is_successor;
    if (births > 6) {
        return 0;
    }
    return FM_MICROSECOND * 50 + (int64_t)(chance(worker) % 4000) * FM_MICROSECOND;
}

static void
run_short_work(struct engine *engine, unsigned worker, uint64_t item)
{
    (void)engine;
    (void)worker;
    if (item % 16 == 0) {
        test_burn(10 * FM_MICROSECOND);
    }
}

static void
suffer(void *argument)
{
    static struct engine engine;
    const struct engine_options *options = argument;
    engine_start(&engine, options);
    engine_drain(&engine);
    engine_await_end(&engine);
    engine_check_watch(&engine);
    engine_check_no_children();
    if (options->retries > 0) {
        CHECK_EQUAL(engine.crashed, 0);
    } else {
        /* One item for each thread of each worker that died. */
        unsigned threads = options->threads > 1 ? options->threads : 1;
        CHECK(engine.crashed <= (options->workers - 1) * threads);
    }
}

static void
run_plagues(const char *name, bool retried)
{
    int64_t end = fm_clock_now() + FM_SECOND;
    for (unsigned i = 0; fm_clock_now() < end; i++) {
        static const uint64_t sizes[] = {1, 2, 4, 8, 64, 1024};
        struct engine_options plague = {
            .workers = 2 + i % 3,
            .threads = 1 + i % 2,
            .threads_limit = 1 + i % 2,
            .items = CHECK_SCALED(sizes[i % 6] < 8 ? UINT64_C(1000) : UINT64_C(6000)),
            .buffersize = sizes[i % 6],
            .inherited = i % 4 == 0,
            .dawdles = i % 5 == 0,
            .forked = true,
            .supervised = true,
            .watched = true,
            .jitter = i % 3 == 0 ? 32 : 0,
            .replaces = retried,
            .retries = retried ? 1000 : 0,
            .run = run_short_work,
            .life = retried ? die_again : die_soon,
        };
        test_join(test_fork(suffer, &plague));
    }
    (void)printf("%s\n", name);
}

int
main(void)
{
    static uint64_t retries[] = {1, 4};
    static bool no = false;
    static bool yes = true;
    (void)alarm(CHECK_TIME_LIMIT);
    watch_check_linked();
    test_run("killed while it runs an item", die_running, &no);
    test_run("exits while it runs an item", die_running, &yes);
    test_run("the last one dies", die_alone, NULL);
    test_run("collected by somebody else", die_uncollected, NULL);
    test_run("lost ring", lose_ring, NULL);
    test_run("poison, 1 retry", retry_poison, &retries[0]);
    test_run("poison, 4 retries", retry_poison, &retries[1]);
    test_run("retry that succeeds", retry_once, NULL);
    test_run("stillborn", give_up, NULL);
    test_run("successor not watched", lose_sight, NULL);
    test_run("nursery killed", lose_nursery, NULL);
    test_run("stubborn", stop_stubborn, &no);
    test_run("stubborn, with a nursery", stop_stubborn, &yes);
    test_run("willing", stop_willing, &no);
    test_run("willing, with a nursery", stop_willing, &yes);
    test_run("not waited for", stop_unawaited, NULL);
    test_run("no thread", fail_to_start, &no);
    test_run("no thread, with a nursery", fail_to_start, &yes);
    run_plagues("random deaths", false);
    run_plagues("random deaths, retried", true);
    return 0;
}
