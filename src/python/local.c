#include "local.h"

#include "compat.h"
#include "context.h"
#include "feeder.h"
#include "process.h"
#include "refusal.h"
#include "supervisor.h"
#include "task.h"

#include <errno.h>

/* How often to look whether all threads have left, where nobody may sleep until then. */
#define END_LOOK FM_MILLISECOND

static void
call_and_clear(PyObject *done)
{
    if (done == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
}

/* ---- a thread's life ---- */

static bool
has_ended(const struct fm_worker *worker)
{
    return fm_load_acquire(&worker->engine->board.slots.shared->ended);
}

/* The job may be dropped, and the garbage collector let go of the callable, while it runs. */
static bool
run_item(struct fm_worker *worker, struct fm_pool_thread *thread, uint64_t item)
{
    PyObject *function = Py_NewRef(worker->job->call.function);
    bool stored = fm_task_run(worker, thread, item);
    Py_DECREF(function);
    return stored;
}

/* With the GIL, which it keeps from one item to the next. */
static void
run_items(struct fm_worker *worker, struct fm_pool_thread *thread, uint64_t item)
{
    int64_t taken = fm_clock_now();
    while (!has_ended(worker) && run_item(worker, thread, item)) {
        fm_pool_complete(thread, item);
        if (!fm_pool_next(thread, &item)) {
            return;
        }
        fm_feeder_make_way(worker->job);
        fm_feeder_share_gil(thread->batch_start, &taken);
    }
}

/* Returns with the GIL. If the callable has forked this process and returned in the child as well, the
 * child's copy of this thread is alone there and has nothing to do. */
static void
run_all(struct fm_worker *worker, struct fm_pool_thread *thread, PyThreadState *state)
{
    uint64_t item;
    (void)PyEval_SaveThread();
    while (fm_pool_wait(thread, &item)) {
        int64_t begun = fm_clock_now();
        PyEval_RestoreThread(state);
        fm_stats_spend(thread->stats, FM_SPENT_GIL, fm_clock_now() - begun);
        fm_sampler_restart(&thread->sampler);
        run_items(worker, thread, item);
        if (fm_engine_is_foreign(worker->engine)) {
            return;
        }
        (void)PyEval_SaveThread();
    }
    PyEval_RestoreThread(state);
}

static void
run_thread(void *context, struct fm_pool_thread *thread)
{
    struct fm_worker *worker = context;
    struct fm_job *job = worker->job;
    struct fm_state *module_state = job->state;
    PyThreadState *state = fm_context_new_thread_state(worker->engine->board.slots.shared);
    if (state == NULL) {
        fm_pool_withdraw(thread); /* It stays present, and the job in memory. */
        return;
    }
    PyEval_AcquireThread(state);
    if (fm_context_begin_threading(module_state)) {
        call_and_clear(PyObject_CallFunction(module_state->name_local_thread, "I", thread->number));
        fm_context_end_threading(module_state);
    }
    fm_context_enter(module_state, job->context);
    fm_worker_call_initializer(worker);
    run_all(worker, thread, state);
    if (!fm_engine_is_foreign(worker->engine)) {
        if (fm_context_begin_threading(module_state)) {
            call_and_clear(PyObject_CallNoArgs(module_state->forget_local_thread));
            fm_context_end_threading(module_state);
        }
        /* Who finds the map ended may fork before this thread has quite gone. */
        fm_process_name_thread(FM_LEAVING_NAME);
        if (fm_pool_leave(&worker->pool)) {
            fm_job_unref(job);
        }
    }
    fm_context_delete_thread_state(module_state, state);
}

/* ---- the caller's side ---- */

static struct fm_worker *
allocate(struct fm_job *job)
{
    struct fm_worker *worker = PyMem_Calloc(1, sizeof *worker);
    if (worker == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    struct fm_board *board = &job->engine->board;
    worker->job = job;
    worker->engine = job->engine;
    worker->pool = (struct fm_pool){
        .slots = &board->slots,
        .roster = &board->roster,
        .self = &board->roster.entries[0],
        .threads_limit = fm_job_threads_of(job, 0),
        .chunksize = job->chunksize,
        .stack_fd = -1,
        .stack_size = PyThread_get_stacksize(),
        .hooks = {.run_thread = run_thread, .context = worker},
        .parent_pidfd = -1,
        .close_fd = -1,
        .local = true,
    };
    return worker;
}

static int
set_start_error(int error)
{
    fm_refusal_raise(error, "start a thread");
    return -1;
}

int
fm_local_start(struct fm_job *job)
{
    struct fm_worker *worker = allocate(job);
    if (worker == NULL) {
        return -1;
    }
    int result = fm_pool_init(&worker->pool);
    if (result < 0) {
        PyMem_Free(worker);
        return set_start_error(-result);
    }
    job->local = worker;
    result = fm_supervisor_start(&worker->pool);
    if (result < 0) {
        return set_start_error(-result);
    }
    job->engine->is_local = job->engine->running = true;
    fm_store_relaxed(&job->engine->monitor.alive, 1);
    fm_store_relaxed(&job->engine->board.slots.shared->watched, 1);
    (void)fm_job_ref(job); /* the threads' */
    return fm_pool_add_threads(&worker->pool, 1) == 1 ? 0 : set_start_error(EAGAIN);
}

int64_t
fm_local_grace_left(struct fm_job *job)
{
    /* One is the supervisor, which leaves at once. */
    if (job->local == NULL || fm_load_seq_cst(&job->local->pool.present) <= 1) {
        return 0;
    }
    int64_t left = fm_job_grace_left(job);
    return left < END_LOOK ? left : END_LOOK;
}

void
fm_local_stop(struct fm_job *job)
{
    bool last;
    struct fm_pool *pool = &job->local->pool;
    int64_t grace = fm_job_grace_left(job);
    Py_BEGIN_ALLOW_THREADS
    fm_supervisor_join(pool);
    last = fm_pool_leave(pool);
    fm_pool_await_empty(pool, grace);
    Py_END_ALLOW_THREADS
    if (last) {
        fm_job_unref(job);
    }
}

void
fm_local_free(struct fm_worker *local)
{
    if (local != NULL) {
        Py_XDECREF(local->initializer_error);
        fm_pool_fini(&local->pool);
        PyMem_Free(local);
    }
}
