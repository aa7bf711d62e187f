#include "engine_value.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

static void
raise_to(fm_atomic_u32 *field, uint32_t value)
{
    uint32_t before = fm_load_relaxed(field);
    while (before < value && !fm_cas_relaxed(field, &before, value)) {
    }
}

static void
run_item(struct engine *engine, unsigned worker, unsigned thread, uint64_t item, int64_t *result)
{
    struct engine_shared *shared = engine->shared;
    struct fm_slots *slots = &engine->board.slots;
    int64_t argument = engine_argument(item);
    watch_touch();
    uint32_t runs = fm_add_relaxed(&shared->runs[item], 1);
    CHECK(runs <= engine->options.retries || engine->options.repeats);
    (void)fm_add_relaxed(&shared->ran_by[worker], 1);
    raise_to(&shared->peak, fm_add_relaxed(&shared->running, 1) + 1);
    raise_to(&shared->most_thread, thread);
    if (slots->arguments != NULL) {
        argument = engine_load(engine, &fm_slots_argument(slots, item)->value);
        CHECK_EQUAL(argument, engine_argument(item));
    }
    if (engine->options.run != NULL) {
        engine->options.run(engine, worker, item);
    }
    *result = argument ^ (int64_t)ENGINE_SECRET;
    (void)fm_add_relaxed(&shared->running, UINT32_MAX);
    watch_touch();
}

/* False if the engine has ended before there was room for the result. */
static bool
store_result(struct engine *engine, uint64_t item, int64_t result)
{
    struct fm_value value;
    bool stored = engine_store(engine, item, result, &value);
    fm_slots_at(&engine->board.slots, item)->value = value;
    return stored;
}

static bool
run_item_of_thread(struct engine_worker *at, struct fm_pool_thread *thread, uint64_t item)
{
    int64_t result;
    fm_pool_note_begin(thread, item);
    run_item(at->engine, at->worker, thread->number, item, &result);
    int64_t used = fm_pool_note_pause(thread);
    bool stored = store_result(at->engine, item, result);
    fm_pool_note_resume(thread, item, used);
    if (!fm_pool_note_end(thread)) {
        fm_pool_await_end();
    }
    return stored;
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
    int64_t result;
    run_item(engine, worker, 0, item, &result);
    CHECK(store_result(engine, item, result));
    fm_slots_complete(&engine->board.slots, item);
    fm_fence_seq_cst();
    fm_slots_call_consumer(&engine->board.slots, item);
}

static void
run_thread(void *context, struct fm_pool_thread *thread)
{
    struct engine_worker *at = context;
    struct engine *engine = at->engine;
    uint64_t item;
    uint64_t seed = (thread->number + 1) * 977 + at->worker;
    if (engine->options.batch > 0) {
        thread->batch = engine->options.batch;
    }
    while (fm_pool_wait(thread, &item)) {
        do {
            if (!run_item_of_thread(at, thread, item)) {
                break;
            }
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
    CHECK_EQUAL(write(stack_fd, "sta", 3), 3);
    /* A busy machine gives its CPU to others in the midst of it. */
    test_sleep(10 * FM_MILLISECOND);
    CHECK_EQUAL(write(stack_fd, "ck", 2), 2);
}

static void
prepare_stack(struct fm_pool *pool)
{
    struct sigaction action = {.sa_handler = write_stack, .sa_flags = SA_RESTART};
    pool->stack_fd = stack_fd = memfd_create("stack", MFD_CLOEXEC);
    if (stack_fd < 0) {
        return;
    }
    CHECK_EQUAL(sigaction(SIGUSR2, &action, NULL), 0);
    pool->stack_signal = SIGUSR2;
}

/* A timer of the kernel's, so that no other process can be hit. */
static void
limit_life(const struct engine_worker *at)
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
set_up_pool(struct fm_pool *pool, struct engine_worker *at)
{
    struct engine *engine = at->engine;
    const struct engine_options *options = &engine->options;
    pool->slots = &engine->board.slots;
    pool->roster = &engine->board.roster;
    pool->worker = at->worker;
    pool->threads_limit = options->threads_limit;
    pool->stack_size = (size_t)1 << 20;
    pool->hooks = (struct fm_pool_hooks){
        .run_thread = run_thread,
        .leave = options->leave != NULL ? options->leave : leave_at_once,
        .is_hogged = options->is_hogged != NULL ? options->is_hogged : is_never_hogged,
        .is_hog = options->is_hog,
        .context = at,
    };
    pool->parent_pidfd = engine->parent_pidfd;
    pool->close_fd = engine->monitor.close_fd;
    fm_store_relaxed(&pool->self->solo, at->is_successor);
    pool->task_timeout = options->task_timeout;
    if (pool->task_timeout > 0) {
        prepare_stack(pool);
    }
}

static void
set_up_heap(struct engine_worker *at)
{
    struct engine *engine = at->engine;
    if (engine->options.payload > 0) {
        fm_heap_init(&engine->heap, &engine->board.arena, at->worker + 1);
        if (at->is_successor) {
            fm_board_adopt_heap(&engine->board, &engine->heap);
        }
    }
}

static void
check_set_up(const struct engine *engine, bool done)
{
    if (!done && engine->options.may_fail) {
        _exit(ENGINE_EXIT_UNFIT);
    }
    CHECK(done);
}

static void
run_pool(struct fm_pool *pool, struct engine_worker *at)
{
    struct engine *engine = at->engine;
    const struct engine_options *options = &engine->options;
    set_up_pool(pool, at);
    set_up_heap(at);
    check_set_up(engine, fm_pool_init(pool) == 0);
    if (options->threads > 1) {
        unsigned more = options->threads - 1;
        check_set_up(engine, fm_pool_add_threads(pool, more) == more);
    }
    if (options->supervised) {
        check_set_up(engine, fm_supervisor_start(pool) == 0);
    }
    run_thread(at, &pool->main_thread);
}

/* A successor that is not watched must not touch anything. */
static void
await_watch(const struct engine_worker *at)
{
    struct engine *engine = at->engine;
    struct pollfd close = {.fd = engine->monitor.close_fd, .events = POLLIN};
    while (at->is_successor && !fm_load_relaxed(&engine->board.roster.entries[at->worker].alive)) {
        if (poll(&close, 1, 1) > 0) {
            _exit(ENGINE_EXIT_LEFT);
        }
    }
}

void
engine_run_worker(void *argument)
{
    struct engine_worker *at = argument;
    struct engine *engine = at->engine;
    struct fm_pool *pool = &engine->pools[at->worker];
    pool->self = &engine->board.roster.entries[at->worker];
    if (engine->options.forked) {
        fm_monitor_enter_worker(&engine->monitor);
    }
    await_watch(at);
    (void)fm_add_relaxed(&engine->shared->births[at->worker], 1);
    limit_life(at);
    if (engine->options.survives_parent) {
        (void)prctl(PR_SET_PDEATHSIG, 0);
    }
    if (engine->options.work != NULL) {
        engine->options.work(engine, at->worker);
    } else {
        run_pool(pool, at);
    }
    (void)fm_add_relaxed(&engine->shared->ended, 1);
}
