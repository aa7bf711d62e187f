#include "engine.h"

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
run_item(struct engine *engine, unsigned worker, unsigned thread, uint64_t item)
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
        argument = fm_slots_argument(slots, item)->value.as.integer;
        CHECK_EQUAL(argument, engine_argument(item));
    }
    if (engine->options.run != NULL) {
        engine->options.run(engine, worker, item);
    }
    struct fm_value value = {.form = FM_FORM_INLINE, .outcome = FM_OUTCOME_RESULT};
    value.as.integer = argument ^ (int64_t)ENGINE_SECRET;
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
    run_item(engine, worker, 0, item);
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
run_pool(struct fm_pool *pool, struct engine_worker *at)
{
    const struct engine_options *options = &at->engine->options;
    set_up_pool(pool, at);
    CHECK_EQUAL(fm_pool_init(pool), 0);
    if (options->threads > 1) {
        unsigned more = options->threads - 1;
        CHECK_EQUAL(fm_pool_add_threads(pool, more), more);
    }
    if (options->supervised) {
        CHECK_EQUAL(fm_supervisor_start(pool), 0);
    }
    run_thread(at, &pool->main_thread);
}

void
engine_run_worker(void *argument)
{
    struct engine_worker *at = argument;
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
    } else {
        run_pool(pool, at);
    }
    (void)fm_add_relaxed(&engine->shared->ended, 1);
}
