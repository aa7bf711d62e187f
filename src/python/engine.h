/* An engine: worker processes and the memory they share with their parent.
 *
 * It knows nothing of what the workers do; that is the job (job.h). It is counted by reference,
 * because arrays that were received without a copy, and a feeder that is stuck in the caller's
 * iterator, may need its memory longer than the generator that started it. Everything here runs in
 * the parent with the GIL, but for what a worker does after the fork.
 */
#ifndef FM_ENGINE_H
#define FM_ENGINE_H

#include "board.h"
#include "monitor.h"
#include "state.h"

#include <signal.h>

/* What a process that did not inherit the engine needs of it. */
struct fm_engine_fds {
    struct fm_board_fds board;
    int parent_pidfd;
    int close_fd;
    int nursery_fd; /* the nursery's end of its socket */
};

struct fm_engine {
    Py_ssize_t references; /* with the GIL */
    struct fm_board board;
    struct fm_monitor monitor;
    struct fm_heap heap; /* of this process: the parent's, or in a worker the worker's */
    unsigned generation; /* of the process that made it; see fm_process_generation */
    unsigned workers;
    int parent_pidfd;  /* in a worker */
    bool is_successor; /* in a worker: the nursery forked it, in the place of one that died */
    bool is_local;     /* no workers, but threads of this process: values are references */
    bool may_rerun;    /* an item may be run again, and must find its argument as it was */
    bool
        never_waits; /* in a worker: its one thread runs many items, and no result may hold it up */
    uint64_t refused_size; /* in such a worker: of the last result that there was no room for */
    sigset_t signals;      /* the mask of the thread that forked, for the workers */
    bool running;          /* workers were forked and not yet stopped */
    /* A list of those of other engines, which the workers have, too; or NULL. */
    PyObject *inherited_views;
    struct fm_link *views; /* kept by view.c: the roots */
    bool is_private;       /* in a forked process: what views cover is not shared any more */
    struct fm_link link;   /* in the state's list of engines */
    struct fm_board_fds board_fds; /* until the nursery of a fork server has them; else -1 */
    /* How a thread waits for room in the arena: fm_board_await_space, or something around it. Called
     * without the GIL. */
    bool (*await_space)(struct fm_engine *engine, uint64_t item, uint64_t size);
    struct fm_stats_record
        *waiter_stats; /* in the parent: where its time goes; the feeder's, or NULL */
};

/* What a worker does with its life, from right after the fork; does not return. */
typedef void (*fm_worker_main)(struct fm_engine *engine, unsigned worker, void *context);

/* Maps the memory. NULL with an exception. */
struct fm_engine *fm_engine_new(struct fm_state *state, const struct fm_board_options *options,
                                const struct fm_monitor_options *monitoring);

static inline struct fm_engine *
fm_engine_ref(struct fm_engine *engine)
{
    engine->references++;
    return engine;
}

void fm_engine_unref(struct fm_engine *engine);

/* Forks the workers, and the nursery if workers are to be replaced. Goes on with fewer where the
 * system grants fewer; -1 with an exception where it grants none. */
int fm_engine_start(struct fm_engine *engine, struct fm_state *state, fm_worker_main worker_main,
                    void *context);

/* The same where this process is not to be forked: has fast_map._forkserver start a nursery, which
 * gets `payload` pickled and `recipe` (a tuple of numbers) as they are. */
int fm_engine_start_remote(struct fm_engine *engine, PyObject *payload, PyObject *recipe);

/* In the process that is to be that nursery. Takes over the descriptors. NULL with an exception. */
struct fm_engine *fm_engine_attach(struct fm_state *state, const struct fm_board_options *options,
                                   bool may_rerun, const struct fm_engine_fds *fds);
_Noreturn void fm_engine_be_nursery(struct fm_engine *engine, struct fm_state *state,
                                    fm_worker_main worker_main, void *context);

/* Ends the workers and waits until they are gone; releases the GIL meanwhile. */
void fm_engine_stop(struct fm_engine *engine);

/* Asks for the same and doesn't wait. The consumer is rung when fm_engine_is_over, from when on
 * fm_engine_stop does not block. */
void fm_engine_begin_stop(struct fm_engine *engine);

static inline bool
fm_engine_is_over(struct fm_engine *engine)
{
    return !engine->running || engine->is_local || fm_monitor_is_over(&engine->monitor);
}

/* The caller is in a forked child of the process that made the engine, which may look at nothing
 * and stop nobody. */
static inline bool
fm_engine_is_foreign(const struct fm_engine *engine)
{
    return engine->generation != fm_process_generation();
}

/* For the files of the engine. */
void fm_engine_close_board_fds(struct fm_engine *engine);

#endif
