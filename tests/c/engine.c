#include "engine_stream.h"

#include "shm.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

static struct engine_worker contexts[ENGINE_MOST_WORKERS];

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
    return test_try_fork(engine_run_worker, &contexts[worker]);
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
    fm_monitor_enter_nursery(&engine->monitor);
    fm_nursery_serve(&engine->monitor.nursery, engine->parent_pidfd, engine->monitor.close_fd,
                     fork_successor, NULL);
}

static pid_t
fork_nursery(struct engine *engine)
{
    if (!engine->options.replaces) {
        return 0;
    }
    pid_t pid = test_try_fork(run_nursery, engine);
    fm_nursery_enter_parent(&engine->monitor.nursery);
    engine->monitor.nursery.usable = pid > 0;
    engine->nursery = pid;
    return pid;
}

static void
end_processes(pid_t nursery, const pid_t *workers, unsigned count)
{
    for (unsigned i = 0; i <= count; i++) {
        pid_t pid = i < count ? workers[i] : nursery;
        if (pid > 0) {
            (void)kill(pid, SIGKILL);
            (void)fm_process_reap(pid);
        }
    }
}

/* Forked processes, as few as the system grants, all of them watched; 0 or -errno. */
static int
start_processes(struct engine *engine)
{
    struct fm_monitor *monitor = &engine->monitor;
    unsigned count = 0;
    pid_t nursery = fork_nursery(engine);
    int result = 0;
    while (count < engine->options.workers && result >= 0) {
        result = engine->pids[count] = test_try_fork(engine_run_worker, &contexts[count]);
        count += result > 0;
    }
    result = count > 0 ? 0 : result;
    if (result == 0 && nursery > 0) {
        result = fm_monitor_add_nursery(monitor, nursery);
    }
    for (unsigned i = 0; i < count && result == 0; i++) {
        result = fm_monitor_add(monitor, engine->pids[i]);
    }
    if (result < 0) {
        end_processes(nursery, engine->pids, count);
        return result;
    }
    for (unsigned i = count; i < engine->options.workers; i++) {
        fm_store_relaxed(&engine->board.roster.entries[i].alive, 0);
    }
    return fm_monitor_start(monitor);
}

static int
start_workers(struct engine *engine)
{
    for (unsigned i = 0; i < engine->options.workers; i++) {
        contexts[i] = (struct engine_worker){.engine = engine, .worker = i};
    }
    if (engine->options.forked) {
        return start_processes(engine);
    }
    for (unsigned i = 0; i < engine->options.workers; i++) {
        engine->mains[i] = test_thread(run_worker_thread, &contexts[i]);
    }
    /* The test's process itself would notice their end. */
    fm_store_relaxed(&engine->board.slots.shared->watched, 1);
    return 0;
}

static int
start_feeder(struct engine *engine)
{
    if (engine->options.inherited) {
        return 0;
    }
    int result = pthread_create(&engine->feeder, NULL, engine_feed, engine);
    engine->feeding = result == 0;
    return -result;
}

static void
join_feeder(struct engine *engine)
{
    if (engine->feeding) {
        test_join_thread(engine->feeder);
        engine->feeding = false;
    }
}

/* What is `shared` stays for the test to look at. */
static int
map_memory(struct engine *engine)
{
    const struct engine_options *options = &engine->options;
    struct fm_board_options board = {
        .workers = options->workers,
        .buffersize = options->buffersize,
        .inherited = options->inherited,
        .total = options->inherited ? options->items : FM_UNKNOWN_TOTAL,
        .arena_limit = options->arena_limit > 0 ? options->arena_limit : FM_ARENA_DEFAULT_LIMIT,
    };
    size_t size = sizeof *engine->shared + options->items * sizeof(uint32_t);
    int result = fm_shm_map(size, (void **)&engine->shared, NULL);
    if (result == 0) {
        result = fm_board_map(&engine->board, &board, NULL);
    }
    if (result == 0) {
        CHECK_EQUAL(engine->board.slots.mask, fm_slots_capacity(options->buffersize) - 1);
        fm_heap_init(&engine->heap, &engine->board.arena, 0);
    }
    return result;
}

static void
end_workers(struct engine *engine)
{
    fm_board_end(&engine->board);
    fm_monitor_stop(&engine->monitor);
    fm_monitor_fini(&engine->monitor);
}

/* With the board mapped: all the rest. */
static int
start_on_board(struct engine *engine)
{
    const struct engine_options *options = &engine->options;
    struct fm_monitor_options monitoring = {.heap = &engine->heap,
                                            .workers = options->workers,
                                            .replaces = options->replaces,
                                            .retries = options->retries};
    int result = fm_monitor_init(&engine->monitor, &engine->board, &monitoring);
    if (result < 0) {
        return result;
    }
    engine->parent_pidfd = fm_process_open(getpid());
    result = engine->parent_pidfd < 0 ? engine->parent_pidfd : start_workers(engine);
    if (options->forked && engine->parent_pidfd >= 0) {
        (void)close(engine->parent_pidfd);
    }
    if (result < 0) {
        fm_monitor_fini(&engine->monitor);
        return result;
    }
    result = start_feeder(engine);
    if (result < 0) {
        end_workers(engine);
    }
    return result;
}

int
engine_try_start(struct engine *engine, const struct engine_options *options)
{
    memset(engine, 0, sizeof *engine);
    engine->options = *options;
    engine->seed = 88172645463325252u + options->buffersize;
    fm_moderation_init(&engine->moderation);
    int result = map_memory(engine);
    if (result < 0) {
        return result;
    }
    if (options->watched) {
        watch_begin(options->jitter, is_due, engine);
    }
    result = start_on_board(engine);
    if (result < 0) {
        fm_board_unmap(&engine->board);
    }
    return result;
}

void
engine_start(struct engine *engine, const struct engine_options *options)
{
    CHECK_EQUAL(engine_try_start(engine, options), 0);
}

void
engine_await_end(struct engine *engine)
{
    struct fm_doorbell *bell = &engine->board.slots.shared->consumer;
    if (engine->options.may_fail && fm_monitor_is_deserted(&engine->monitor)) {
        fm_board_end(&engine->board);
    }
    join_feeder(engine);
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
    join_feeder(engine);
    end_workers(engine);
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
