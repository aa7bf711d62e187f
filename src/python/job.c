#include "job.h"

#include "context.h"
#include "cpus.h"
#include "errors.h"
#include "feeder.h"
#include "local.h"
#include "worker.h"

#include <limits.h>

/* Enough for tens of thousands of tasks that block, while the slots cost 2 MiB at the most. */
#define BUFFERSIZE_DEFAULT ((uint64_t)1 << 15)

/* How long the end of a job waits for threads that are in the caller's iterator or callable. */
#define END_GRACE (50 * FM_MILLISECOND)

static uint64_t
smaller(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* A limit of 0 is none. */
static uint64_t
limited(uint64_t count, uint64_t limit)
{
    return limit > 0 ? smaller(count, limit) : count;
}

static unsigned
choose_workers(const struct fm_job *job, const struct fm_job_options *options)
{
    if (options->local) {
        return 1;
    }
    uint64_t workers = options->procs_limit > 0 ? options->procs_limit : fm_cpus_usable();
    workers = limited(workers, options->threads_limit);
    uint64_t tasks = smaller(job->source.total, options->length);
    return (unsigned)smaller(smaller(workers, tasks > 0 ? tasks : 1), FM_MAX_WORKERS);
}

static uint64_t
choose_buffersize(const struct fm_job *job, const struct fm_job_options *options)
{
    uint64_t buffersize = options->buffersize > 0 ? options->buffersize : BUFFERSIZE_DEFAULT;
    return smaller(smaller(buffersize, FM_MAX_CAPACITY), job->source.total);
}

static int
start_workers(struct fm_job *job, const struct fm_board_options *board,
              const struct fm_job_options *options)
{
    if (options->local) {
        return fm_local_start(job);
    }
    return options->remote ? fm_job_start_remote(job, board, options)
                           : fm_engine_start(job->engine, job->state, fm_worker_run, job);
}

static int
start(struct fm_job *job, const struct fm_job_options *options)
{
    struct fm_board_options board = {
        .workers = choose_workers(job, options),
        .buffersize = choose_buffersize(job, options),
        .inherited = job->source.inherited && !job->unordered,
        .unordered = job->unordered,
        .total = job->unordered ? FM_UNKNOWN_TOTAL : job->source.total,
        .arena_limit = options->buffer_bytes > 0 ? options->buffer_bytes : FM_ARENA_DEFAULT_LIMIT,
    };
    struct fm_monitor_options monitoring = {
        .workers = board.workers,
        .replaces = options->retries > 0 || options->return_exceptions || options->task_timeout > 0
                    || options->max_tasks_per_child > 0,
        .forks_nothing = options->remote,
        .retries = options->retries,
    };
    if (job->unordered
        && fm_placement_init(&job->placement, fm_slots_capacity(board.buffersize)) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    job->engine = fm_engine_new(job->state, &board, &monitoring);
    if (job->engine == NULL || start_workers(job, &board, options) < 0) {
        return -1;
    }
    return board.inherited ? 0 : fm_feeder_start(job);
}

struct fm_job *
fm_job_allocate(PyObject *module)
{
    struct fm_job *job = PyMem_Calloc(1, sizeof *job);
    if (job == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    job->references = 1;
    job->begun = fm_clock_now();
    job->module = Py_NewRef(module);
    job->state = fm_state_of_module(module);
    return job;
}

void
fm_job_set_initializer(struct fm_job *job, PyObject *initializer, PyObject *initargs)
{
    if (initializer != Py_None) {
        job->initializer = Py_NewRef(initializer);
        job->initargs = Py_NewRef(initargs);
    }
}

struct fm_job *
fm_job_new(PyObject *module, PyObject *iterables, const struct fm_job_options *options)
{
    struct fm_job *job = fm_job_allocate(module);
    if (job == NULL) {
        return NULL;
    }
    fm_call_init(&job->call, options->function, options->args, options->kwargs, options->star,
                 options->kwstar);
    fm_job_set_initializer(job, options->initializer, options->initargs);
    job->chunksize = options->chunksize;
    job->max_tasks_per_child = options->max_tasks_per_child;
    job->threads_limit = options->threads_limit;
    job->task_timeout = options->task_timeout;
    job->return_exceptions = options->return_exceptions;
    job->unordered = options->unordered;
    job->runs_coroutines = options->coroutines;
    job->context = fm_context_capture(job->state);
    if (job->context == NULL || fm_source_init(&job->source, iterables, !options->remote) < 0
        || (job->source.total > 0 && start(job, options) < 0)) {
        fm_job_stop(job);
        fm_job_unref(job);
        return NULL;
    }
    return job;
}

void
fm_job_unref(struct fm_job *job)
{
    if (--job->references > 0) {
        return;
    }
    fm_local_free(job->local);
    if (job->engine != NULL) {
        fm_engine_unref(job->engine);
    }
    fm_source_fini(&job->source);
    fm_placement_fini(&job->placement);
    fm_call_fini(&job->call);
    Py_CLEAR(job->initializer);
    Py_CLEAR(job->initargs);
    Py_CLEAR(job->context);
    Py_CLEAR(job->input_error);
    Py_CLEAR(job->module);
    PyMem_Free(job);
}

int64_t
fm_job_grace_left(struct fm_job *job)
{
    int64_t now = fm_clock_now();
    if (job->grace_end == 0) {
        job->grace_end = now + END_GRACE;
    }
    return job->grace_end > now ? job->grace_end - now : 0;
}

void
fm_job_begin_stop(struct fm_job *job)
{
    if (job->engine == NULL || fm_engine_is_foreign(job->engine)) {
        return;
    }
    job->feeder_stop = true;
    fm_engine_begin_stop(job->engine);
}

void
fm_job_stop(struct fm_job *job)
{
    if (job->engine == NULL || fm_engine_is_foreign(job->engine)) {
        return;
    }
    bool was_running = job->engine->running;
    job->feeder_stop = true;
    fm_engine_stop(job->engine);
    if (job->local != NULL && was_running) {
        fm_local_stop(job);
    }
    if (job->feeder_started) {
        fm_feeder_wait(job);
    }
}

void
fm_job_raise_input_error(struct fm_job *job)
{
    PyObject *error = job->input_error;
    job->input_error = NULL;
    if (fm_load_relaxed(&job->feeder_failed) != 0) {
        PyErr_NoMemory();
        return;
    }
    fm_errors_raise(error);
}

unsigned
fm_job_threads_of(const struct fm_job *job, unsigned worker)
{
    uint64_t workers = job->engine->workers;
    uint64_t share = job->threads_limit / workers + (worker < job->threads_limit % workers);
    return job->threads_limit == 0 || share > INT_MAX ? INT_MAX : (unsigned)share;
}
