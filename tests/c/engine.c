#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>

static struct engine_worker contexts[ENGINE_MOST_WORKERS];

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
        value.as.integer = engine_argument(item);
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
    fm_slots_ring_consumer(slots);
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

/* Without a slice: a wake-up that is lost fails. */
static void
await_readable(struct engine *engine, uint64_t item)
{
    struct fm_slots *slots = &engine->board.slots;
    struct pollfd watched = {.fd = slots->consumer_fd, .events = POLLIN};
    fm_slots_arm_consumer_fd(slots, item);
    if (!fm_slots_is_done(slots, item) && fm_load_acquire(&slots->shared->total) > item) {
        CHECK_EQUAL(poll(&watched, 1, 10000), 1);
    }
}

static void
await_result(struct engine *engine, uint64_t item)
{
    if (engine->options.polls) {
        await_readable(engine, item);
        return;
    }
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
    CHECK_EQUAL(value->as.integer, engine_result(item));
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
    return test_fork(engine_run_worker, &contexts[worker]);
}

static void *
run_worker_thread(void *argument)
{
    engine_run_worker(argument);
    return NULL;
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
        contexts[i] = (struct engine_worker){.engine = engine, .worker = i};
    }
    start_nursery(engine);
    for (unsigned i = 0; i < engine->options.workers; i++) {
        if (engine->options.forked) {
            engine->pids[i] = test_fork(engine_run_worker, &contexts[i]);
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
    CHECK_EQUAL(fm_board_map(&engine->board, &board, NULL), 0);
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
