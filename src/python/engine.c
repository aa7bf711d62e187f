#include "engine.h"

#include "reference.h"
#include "refusal.h"

#include <unistd.h>

static bool
await_space(struct fm_engine *engine, uint64_t item, uint64_t size)
{
    int64_t begun = fm_clock_now();
    bool goes_on = fm_board_await_space(&engine->board, &engine->heap, item, size);
    if (engine->waiter_stats != NULL) {
        fm_stats_spend(engine->waiter_stats, FM_SPENT_ROOM, fm_clock_now() - begun);
    }
    return goes_on;
}

static struct fm_engine *
allocate(const struct fm_board_options *options, bool may_rerun)
{
    struct fm_engine *engine = PyMem_Calloc(1, sizeof *engine);
    if (engine == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    engine->references = 1;
    engine->workers = options->workers;
    engine->may_rerun = may_rerun;
    engine->await_space = await_space;
    engine->generation = fm_process_generation();
    engine->board_fds = (struct fm_board_fds){-1, -1, -1};
    return engine;
}

struct fm_engine *
fm_engine_new(struct fm_state *state, const struct fm_board_options *options,
              const struct fm_monitor_options *monitoring)
{
    struct fm_engine *engine = allocate(options, monitoring->replaces);
    if (engine == NULL) {
        return NULL;
    }
    int result = fm_board_map(&engine->board, options,
                              monitoring->forks_nothing ? &engine->board_fds : NULL);
    if (result < 0) {
        PyMem_Free(engine);
        fm_refusal_raise(-result, "reserve shared memory");
        return NULL;
    }
    struct fm_monitor_options ours = *monitoring;
    ours.heap = &engine->heap;
    result = fm_monitor_init(&engine->monitor, &engine->board, &ours);
    if (result < 0) {
        fm_engine_close_board_fds(engine);
        fm_board_unmap(&engine->board);
        PyMem_Free(engine);
        fm_refusal_raise(-result, "watch its workers");
        return NULL;
    }
    fm_heap_init(&engine->heap, &engine->board.arena, 0);
    fm_link_insert(&state->engines, &engine->link);
    return engine;
}

struct fm_engine *
fm_engine_attach(struct fm_state *state, const struct fm_board_options *options, bool may_rerun,
                 const struct fm_engine_fds *fds)
{
    struct fm_engine *engine = allocate(options, may_rerun);
    if (engine == NULL) {
        return NULL;
    }
    int result = fm_board_attach(&engine->board, options, &fds->board);
    if (result < 0) {
        PyMem_Free(engine);
        fm_refusal_raise(-result, "attach to shared memory");
        return NULL;
    }
    engine->parent_pidfd = fds->parent_pidfd;
    engine->monitor.close_fd = fds->close_fd;
    engine->monitor.close_write_fd = -1;
    engine->monitor.nursery = (struct fm_nursery){.parent_fd = -1, .nursery_fd = fds->nursery_fd};
    (void)pthread_sigmask(SIG_SETMASK, NULL, &engine->signals);
    fm_link_insert(&state->engines, &engine->link);
    return engine;
}

void
fm_engine_close_board_fds(struct fm_engine *engine)
{
    if (engine->board_fds.board >= 0) {
        (void)close(engine->board_fds.board);
        engine->board_fds = (struct fm_board_fds){-1, -1, -1};
    }
}

void
fm_engine_unref(struct fm_engine *engine)
{
    /* In a forked child the last reference may go at any time; what it stands for belongs to the
     * parent, and the child's copy of the memory ends with the child. */
    if (--engine->references > 0 || fm_engine_is_foreign(engine)) {
        return;
    }
    fm_engine_stop(engine);
    fm_link_remove(&engine->link);
    if (engine->is_local) {
        fm_reference_drop_all(engine);
    }
    Py_CLEAR(engine->inherited_views);
    fm_engine_close_board_fds(engine);
    fm_monitor_fini(&engine->monitor);
    fm_heap_fini(&engine->heap);
    fm_board_unmap(&engine->board);
    PyMem_Free(engine);
}

void
fm_engine_begin_stop(struct fm_engine *engine)
{
    fm_board_end(&engine->board);
    fm_monitor_begin_stop(&engine->monitor);
}

void
fm_engine_stop(struct fm_engine *engine)
{
    if (!engine->running) {
        return;
    }
    engine->running = false;
    fm_board_end(&engine->board);
    if (engine->is_local) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    fm_monitor_stop(&engine->monitor);
    Py_END_ALLOW_THREADS
    Py_CLEAR(engine->inherited_views);
}
