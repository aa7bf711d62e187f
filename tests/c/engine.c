#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define SECRET UINT64_C(0x5DEECE66D)

static int64_t
argument_of(uint64_t item)
{
    return (int64_t)(item * 3 + 1);
}

static int64_t
result_of(uint64_t item)
{
    return (int64_t)((item * 3 + 1) ^ SECRET);
}

/* ---- workers ---- */

struct worker_context {
    struct engine *engine;
    unsigned worker;
    bool is_successor;
};

static struct worker_context contexts[ENGINE_MOST_WORKERS];

static void
raise_to(fm_atomic_u32 *field, uint32_t value)
{
    uint32_t before = fm_load_relaxed(field);
    while (before < value && !fm_cas_relaxed(field, &before, value)) {
    }
}

static void
run_item(struct engine *engine, unsigned worker, unsigned thread, uint64_t item)
{
    struct engine_shared *shared = engine->shared;
    struct fm_slots *slots = &engine->board.slots;
    int64_t argument = argument_of(item);
    watch_touch();
    uint32_t runs = fm_add_relaxed(&shared->runs[item], 1);
    CHECK(runs <= engine->options.retries || engine->options.repeats);
    (void)fm_add_relaxed(&shared->ran_by[worker], 1);
    raise_to(&shared->peak, fm_add_relaxed(&shared->running, 1) + 1);
    raise_to(&shared->most_thread, thread);
    if (slots->arguments != NULL) {
        argument = fm_slots_argument(slots, item)->value.as.integer;
        CHECK_EQUAL(argument, argument_of(item));
    }
    if (engine->options.run != NULL) {
        engine->options.run(engine, worker, item);
    }
    struct fm_value value = {.form = FM_FORM_INLINE, .outcome = FM_OUTCOME_RESULT};
    value.as.integer = argument ^ (int64_t)SECRET;
    fm_slots_at(slots, item)->value = value;
    (void)fm_add_relaxed(&shared->running, UINT32_MAX);
    watch_touch();
}

void
engine_await_workers(struct engine *engine)
{
    for (unsigned i = 0; i < engine->options.workers; i++) {
        while (!fm_load_relaxed(&engine->board.roster.entries[i].started)) {
            test_sleep(FM_MILLISECOND);
        }
    }
}

void
engine_run_item(struct engine *engine, unsigned worker, uint64_t item)
{
    struct fm_doorbell *consumer = &engine->board.slots.shared->consumer;
    run_item(engine, worker, 0, item);
    fm_slots_complete(&engine->board.slots, item);
    fm_fence_seq_cst();
    if (fm_doorbell_wanted(consumer) == item) {
        (void)fm_doorbell_answer(consumer, item);
    }
}

static void
run_thread(void *context, struct fm_pool_thread *thread)
{
    struct worker_context *at = context;
    struct engine *engine = at->engine;
    uint64_t item;
    uint64_t seed = (thread->number + 1) * 977 + at->worker;
    if (engine->options.batch > 0) {
        thread->batch = engine->options.batch;
    }
    while (fm_pool_wait(thread, &item)) {
        do {
            fm_pool_note_begin(thread, item);
            run_item(engine, at->worker, thread->number, item);
            fm_pool_note_end(thread);
            fm_pool_complete(thread, item);
            if (engine->options.dawdles) {
                test_dawdle(&seed);
            }
        } while (!engine->options.wait_only && fm_pool_next(thread, &item));
    }
    (void)fm_add_relaxed(&engine->shared->returned, 1);
}

static void
leave_at_once(void *context, int status)
{
    (void)context;
    _exit(status != 0 ? status : ENGINE_EXIT_LEFT);
}

static bool
is_never_hogged(void *context)
{
    (void)context;
    return false;
}

/* ---- what a thread has to say when it is asked for its stack ---- */

static int stack_fd = -1;

static void
write_stack(int number)
{
    (void)number;
    CHECK_EQUAL(pwrite(stack_fd, "stack", 5, 0), 5);
}

static void
prepare_stack(struct fm_pool *pool)
{
    struct sigaction action = {.sa_handler = write_stack, .sa_flags = SA_RESTART};
    stack_fd = memfd_create("stack", MFD_CLOEXEC);
    CHECK(stack_fd >= 0);
    CHECK_EQUAL(sigaction(SIGUSR2, &action, NULL), 0);
    pool->stack_signal = SIGUSR2;
    pool->stack_fd = stack_fd;
}

/* A timer of the kernel's, so that no other process can be hit. */
static void
limit_life(const struct worker_context *at)
{
    struct engine *engine = at->engine;
    if (engine->options.life == NULL) {
        return;
    }
    int64_t life = engine->options.life(engine, at->worker, at->is_successor);
    if (life > 0) {
        timer_t timer;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
        struct itimerspec when = {.it_value = fm_clock_timespec(life)};
        CHECK_EQUAL(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
        CHECK_EQUAL(timer_settime(timer, 0, &when, NULL), 0);
    }
}

static void
run_worker(void *argument)
{
    struct worker_context *at = argument;
    struct engine *engine = at->engine;
    struct fm_pool *pool = &engine->pools[at->worker];
    pool->self = &engine->board.roster.entries[at->worker];
    while (at->is_successor && !fm_load_relaxed(&pool->self->alive)) {
        test_sleep(FM_MILLISECOND / 10); /* what is not watched must not touch anything */
    }
    (void)fm_add_relaxed(&engine->shared->births[at->worker], 1);
    limit_life(at);
    if (engine->options.survives_parent) {
        (void)prctl(PR_SET_PDEATHSIG, 0);
    }
    if (engine->options.work != NULL) {
        engine->options.work(engine, at->worker);
        (void)fm_add_relaxed(&engine->shared->ended, 1);
        return;
    }
    pool->slots = &engine->board.slots;
    pool->roster = &engine->board.roster;
    pool->worker = at->worker;
    pool->threads_limit = engine->options.threads_limit;
    pool->stack_size = (size_t)1 << 20;
    pool->hooks = (struct fm_pool_hooks){
        .run_thread = run_thread,
        .leave = engine->options.leave != NULL ? engine->options.leave : leave_at_once,
        .is_hogged = engine->options.is_hogged != NULL ? engine->options.is_hogged
                                                       : is_never_hogged,
        .context = at,
    };
    pool->parent_pidfd = engine->parent_pidfd;
    pool->close_fd = engine->monitor.close_fd;
    fm_store_relaxed(&pool->solo, at->is_successor);
    pool->task_timeout = engine->options.task_timeout;
    if (pool->task_timeout > 0) {
        prepare_stack(pool);
    }
    CHECK_EQUAL(fm_pool_init(pool), 0);
    if (engine->options.threads > 1) {
        unsigned more = engine->options.threads - 1;
        CHECK_EQUAL(fm_pool_add_threads(pool, more), more);
    }
    if (engine->options.supervised) {
        CHECK_EQUAL(fm_supervisor_start(pool), 0);
    }
    run_thread(at, &pool->main_thread);
    (void)fm_add_relaxed(&engine->shared->ended, 1);
}

static void *
run_worker_thread(void *argument)
{
    run_worker(argument);
    return NULL;
}

/* ---- feeder ---- */

static void
feeder_wait(struct engine *engine, uint64_t published)
{
    struct fm_slots *slots = &engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->feeder;
    uint64_t gap = 1 + test_random(&engine->seed) % slots->shared->buffersize;
    fm_slots_await_room(slots);
    uint32_t ticket = fm_doorbell_arm(bell, published - slots->shared->buffersize + gap);
    if (fm_slots_room(slots, published) >= gap) {
        fm_doorbell_disarm(bell);
    } else {
        (void)fm_doorbell_wait(bell, ticket, FM_FOREVER);
    }
    fm_slots_end_await_room(slots);
}

static void
publish_burst(struct engine *engine, uint64_t first, uint64_t count)
{
    struct fm_slots *slots = &engine->board.slots;
    for (uint64_t item = first; item < first + count; item++) {
        struct fm_value value = {.form = FM_FORM_INLINE};
        value.as.integer = argument_of(item);
        fm_slots_argument(slots, item)->value = value;
        fm_slots_publish(slots, item);
    }
    fm_slots_announce(slots, first + count);
    fm_board_call_workers(&engine->board, count);
    watch_touch();
}

static uint64_t
unfinished_item(const struct fm_slots *slots)
{
    return fm_slots_next_unfinished(slots, fm_load_relaxed(&slots->shared->consumed));
}

/* Before the item `pause_at` all threads get idle; from there on everything comes at once. */
static uint64_t
choose_burst(struct engine *engine, uint64_t published)
{
    struct engine_options *options = &engine->options;
    struct fm_slots *slots = &engine->board.slots;
    uint64_t most = options->burst > 0 ? options->burst : 16;
    uint64_t end = options->items;
    uint64_t count = 1 + test_random(&engine->seed) % most;
    if (options->pause_at > published) {
        end = options->pause_at;
    } else if (options->pause_at > 0) {
        while (options->pause > 0 && unfinished_item(slots) < published) {
            test_sleep(FM_MILLISECOND);
        }
        test_sleep(options->pause);
        count = end - published;
    }
    return count < end - published ? count : end - published;
}

void
engine_finish(struct engine *engine)
{
    struct fm_slots *slots = &engine->board.slots;
    fm_slots_finish(slots, engine->options.items);
    fm_roster_call_all(&engine->board.roster);
    fm_doorbell_ring(&slots->shared->consumer);
}

static void *
feed(void *argument)
{
    struct engine *engine = argument;
    uint64_t published = 0;
    while (published < engine->options.items) {
        uint64_t room = fm_slots_room(&engine->board.slots, published);
        if (room == 0) {
            feeder_wait(engine, published);
            continue;
        }
        uint64_t count = choose_burst(engine, published);
        count = count < room ? count : room;
        publish_burst(engine, published, count);
        published += count;
        if (engine->options.dawdles) {
            test_dawdle(&engine->seed);
        }
        if (engine->options.burst_pause > 0) {
            test_sleep(engine->options.burst_pause);
        }
    }
    if (!engine->options.stays_open) {
        engine_finish(engine);
    }
    return NULL;
}

/* ---- consumer ---- */

static void
await_result(struct engine *engine, uint64_t item)
{
    struct fm_slots *slots = &engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->consumer;
    uint64_t gap = engine->moderation.gap;
    uint64_t last = fm_slots_item_to_await(slots, item, gap);
    uint32_t ticket = fm_doorbell_arm(bell, last);
    if (fm_slots_is_done(slots, item) || fm_slots_is_done(slots, last)
        || fm_load_acquire(&slots->shared->total) <= item) {
        fm_doorbell_disarm(bell);
        return;
    }
    int result = fm_doorbell_wait(bell, ticket, last > item ? FM_MODERATION_DELAY : FM_FOREVER);
    if (result != 0 && last > item) {
        fm_moderation_reset(&engine->moderation);
    }
    fm_moderation_update(&engine->moderation, item, 64);
}

static void
check_value(struct engine *engine, uint64_t item, const struct fm_value *value)
{
    uint32_t runs = fm_load_relaxed(&engine->shared->runs[item]);
    CHECK(runs <= 1 + engine->options.retries || engine->options.repeats);
    if (value->outcome == FM_OUTCOME_OVERDUE) {
        return;
    }
    if (value->outcome == FM_OUTCOME_CRASHED) {
        CHECK(value->as.crash.exit_code != CHECK_FAILED);
        engine->crashed++;
        return;
    }
    CHECK(runs >= 1);
    CHECK_EQUAL(value->outcome, FM_OUTCOME_RESULT);
    CHECK_EQUAL(value->as.integer, result_of(item));
}

bool
engine_next(struct engine *engine, struct fm_value *value)
{
    struct fm_slots *slots = &engine->board.slots;
    uint64_t item = engine->next;
    while (!fm_slots_is_done(slots, item)) {
        if (fm_load_acquire(&slots->shared->total) <= item) {
            return false;
        }
        fm_board_consumed(&engine->board, item);
        await_result(engine, item);
    }
    *value = fm_slots_at(slots, item)->value;
    check_value(engine, item, value);
    engine->next++;
    fm_board_consumed_one(&engine->board, engine->next);
    watch_touch();
    return true;
}

void
engine_drain(struct engine *engine)
{
    struct fm_value value;
    uint64_t seed = 12345;
    while (engine_next(engine, &value)) {
        if (engine->options.dawdles) {
            test_dawdle(&seed);
        }
    }
    CHECK_EQUAL(engine->next, engine->options.items);
}

/* ---- the watch ---- */

/* All have been told of what there is to do, or nobody has: one worker that is not at its doorbell
 * may be on its way. */
static bool
is_anybody_on_the_way(struct engine *engine, const struct fm_roster_entry *but)
{
    for (unsigned i = 0; i < engine->options.workers; i++) {
        struct fm_roster_entry *entry = &engine->board.roster.entries[i];
        if (entry != but && fm_load_relaxed(&entry->alive)
            && fm_doorbell_wanted(&entry->work) == FM_NOBODY) {
            return true;
        }
    }
    return false;
}

static bool
is_worker_due(struct engine *engine, const struct fm_roster_entry *entry)
{
    struct fm_slots *slots = &engine->board.slots;
    if (fm_load_acquire(&slots->shared->ended)) {
        return true;
    }
    if (fm_slots_waiting(slots) > 0) {
        return !is_anybody_on_the_way(engine, entry);
    }
    return fm_slots_limit(slots) >= fm_load_acquire(&slots->shared->total)
           && fm_load_relaxed(&entry->active) == 0;
}

static bool
is_due(void *context, const fm_atomic_u32 *word)
{
    struct engine *engine = context;
    struct fm_slots *slots = &engine->board.slots;
    uint64_t consumed = fm_load_relaxed(&slots->shared->consumed);
    if (word == &slots->shared->consumer.rings) {
        /* After the last item it waits for the workers to end, which may take them a while. */
        return fm_monitor_is_deserted(&engine->monitor)
               || (consumed < engine->options.items && fm_slots_is_done(slots, consumed));
    }
    if (word == &slots->shared->feeder.rings) {
        uint64_t wanted = fm_doorbell_wanted(&slots->shared->feeder);
        return wanted == FM_NOBODY || wanted <= consumed;
    }
    for (unsigned i = 0; i < engine->options.workers; i++) {
        if (word == &engine->board.roster.entries[i].work.rings) {
            return is_worker_due(engine, &engine->board.roster.entries[i]);
        }
    }
    return false;
}

void
engine_check_watch(struct engine *engine)
{
    CHECK(engine->options.watched);
    watch_end();
}

/* ---- the whole ---- */

static pid_t
fork_successor(void *context, unsigned worker)
{
    contexts[worker].is_successor = true;
    (void)context;
    return test_fork(run_worker, &contexts[worker]);
}

static void
run_nursery(void *argument)
{
    struct engine *engine = argument;
    fm_nursery_enter_nursery(&engine->monitor.nursery);
    fm_nursery_serve(&engine->monitor.nursery, engine->parent_pidfd, engine->monitor.close_fd,
                     fork_successor, NULL);
}

static void
start_nursery(struct engine *engine)
{
    if (engine->options.replaces) {
        engine->nursery = test_fork(run_nursery, engine);
        fm_nursery_enter_parent(&engine->monitor.nursery);
        CHECK_EQUAL(fm_monitor_add_nursery(&engine->monitor, engine->nursery), 0);
    }
}

static void
start_workers(struct engine *engine)
{
    for (unsigned i = 0; i < engine->options.workers; i++) {
        contexts[i] = (struct worker_context){.engine = engine, .worker = i};
    }
    start_nursery(engine);
    for (unsigned i = 0; i < engine->options.workers; i++) {
        if (engine->options.forked) {
            engine->pids[i] = test_fork(run_worker, &contexts[i]);
            CHECK_EQUAL(fm_monitor_add(&engine->monitor, engine->pids[i]), 0);
        }
    }
    if (engine->options.forked) {
        CHECK_EQUAL(fm_monitor_start(&engine->monitor), 0);
        return;
    }
    for (unsigned i = 0; i < engine->options.workers; i++) {
        engine->mains[i] = test_thread(run_worker_thread, &contexts[i]);
    }
}

void
engine_start(struct engine *engine, const struct engine_options *options)
{
    uint64_t capacity = fm_slots_capacity(options->buffersize);
    memset(engine, 0, sizeof *engine);
    engine->options = *options;
    engine->seed = 88172645463325252u + options->buffersize;
    engine->shared = test_map(sizeof *engine->shared + options->items * sizeof(uint32_t));
    engine->parent_pidfd = fm_process_open(getpid());
    CHECK(engine->parent_pidfd >= 0);
    fm_moderation_init(&engine->moderation);
    struct fm_board_options board = {
        .workers = options->workers,
        .buffersize = options->buffersize,
        .inherited = options->inherited,
        .total = options->inherited ? options->items : FM_UNKNOWN_TOTAL,
        .arena_limit = FM_ARENA_DEFAULT_LIMIT,
    };
    CHECK_EQUAL(fm_board_map(&engine->board, &board), 0);
    CHECK_EQUAL(engine->board.slots.mask, capacity - 1);
    if (options->watched) {
        watch_begin(options->jitter, is_due, engine);
    }
    fm_heap_init(&engine->heap, &engine->board.arena, 0);
    struct fm_monitor_options monitoring = {.heap = &engine->heap,
                                            .workers = options->workers,
                                            .replaces = options->replaces,
                                            .retries = options->retries};
    CHECK_EQUAL(fm_monitor_init(&engine->monitor, &engine->board, &monitoring), 0);
    start_workers(engine);
    if (!options->inherited) {
        engine->feeder = test_thread(feed, engine);
    }
}

void
engine_await_end(struct engine *engine)
{
    struct fm_doorbell *bell = &engine->board.slots.shared->consumer;
    if (!engine->options.inherited) {
        test_join_thread(engine->feeder);
    }
    if (!engine->options.forked) {
        for (unsigned i = 0; i < engine->options.workers; i++) {
            test_join_thread(engine->mains[i]);
        }
        return;
    }
    while (!fm_monitor_is_deserted(&engine->monitor)) {
        uint32_t ticket = fm_doorbell_arm(bell, engine->options.items);
        if (fm_monitor_is_deserted(&engine->monitor)) {
            break;
        }
        (void)fm_doorbell_wait(bell, ticket, FM_FOREVER);
    }
    engine_stop(engine);
}

void
engine_stop(struct engine *engine)
{
    fm_board_end(&engine->board);
    fm_monitor_stop(&engine->monitor);
    fm_monitor_fini(&engine->monitor);
    fm_board_unmap(&engine->board);
}

void
engine_check_no_children(void)
{
    CHECK_EQUAL(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQUAL(errno, ECHILD);
}

void
engine_run(const struct engine_options *options)
{
    static struct engine engine;
    engine_start(&engine, options);
    engine_drain(&engine);
    if (options->work != NULL) {
        fm_board_end(&engine.board);
    }
    engine_await_end(&engine);
    CHECK_EQUAL(engine.crashed, 0);
    CHECK_EQUAL(fm_load_relaxed(&engine.shared->ended), options->workers);
    if (options->watched) {
        engine_check_watch(&engine);
    }
}
