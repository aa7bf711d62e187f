#include "job.h"

#include "cpus.h"
#include "feeder.h"
#include "worker.h"

#include <limits.h>
#include <unistd.h>

/* Enough for tens of thousands of tasks that block, while the slots cost 2 MiB at the most. */
#define BUFFERSIZE_DEFAULT ((uint64_t)1 << 15)

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

/* What a worker needs to know that does not inherit the job; fm_job_serve reads it. */
static PyObject *
make_recipe(const struct fm_job *job, const struct fm_board_options *board)
{
    return Py_BuildValue("(nKdIKKi)", job->source.count, (unsigned long long)job->threads_limit,
                         job->task_timeout, board->workers, (unsigned long long)board->buffersize,
                         (unsigned long long)board->arena_limit, (int)job->engine->may_rerun);
}

static int
start_remote(struct fm_job *job, const struct fm_board_options *board)
{
    PyObject *recipe = make_recipe(job, board);
    if (recipe == NULL) {
        return -1;
    }
    int result = fm_engine_start_remote(job->engine, job->function, recipe);
    Py_DECREF(recipe);
    return result;
}

static int
start_workers(struct fm_job *job, const struct fm_board_options *board, bool remote)
{
    return remote ? start_remote(job, board)
                  : fm_engine_start(job->engine, job->state, fm_worker_run, job);
}

static int
start(struct fm_job *job, const struct fm_job_options *options)
{
    struct fm_board_options board = {
        .workers = choose_workers(job, options),
        .buffersize = choose_buffersize(job, options),
        .inherited = job->source.inherited,
        .total = job->source.total,
        .arena_limit = options->buffer_bytes > 0 ? options->buffer_bytes : FM_ARENA_DEFAULT_LIMIT,
    };
    struct fm_monitor_options monitoring = {
        .workers = board.workers,
        .replaces = options->retries > 0 || options->return_exceptions || options->task_timeout > 0,
        .forks_nothing = options->remote,
        .retries = options->retries,
    };
    job->engine = fm_engine_new(&board, &monitoring);
    if (job->engine == NULL || start_workers(job, &board, options->remote) < 0) {
        return -1;
    }
    return job->source.inherited ? 0 : fm_feeder_start(job);
}

static struct fm_job *
allocate(PyObject *module, PyObject *function)
{
    struct fm_job *job = PyMem_Calloc(1, sizeof *job);
    if (job == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    job->references = 1;
    job->module = Py_NewRef(module);
    job->state = fm_state_of_module(module);
    job->function = Py_NewRef(function);
    return job;
}

struct fm_job *
fm_job_new(PyObject *module, PyObject *function, PyObject *iterables,
           const struct fm_job_options *options)
{
    struct fm_job *job = allocate(module, function);
    if (job == NULL) {
        return NULL;
    }
    job->threads_limit = options->threads_limit;
    job->task_timeout = options->task_timeout;
    job->return_exceptions = options->return_exceptions;
    if (fm_source_init(&job->source, iterables, !options->remote) < 0
        || (job->source.total > 0 && start(job, options) < 0)) {
        fm_job_unref(job);
        return NULL;
    }
    return job;
}

void
fm_job_serve(PyObject *module, PyObject *function, PyObject *recipe,
             const struct fm_engine_fds *fds, int ready_fd)
{
    struct fm_board_options board = {.total = FM_UNKNOWN_TOTAL};
    Py_ssize_t count;
    unsigned long long threads_limit;
    unsigned long long buffersize;
    unsigned long long arena_limit;
    double task_timeout;
    int may_rerun;
    struct fm_job *job = allocate(module, function);
    if (job == NULL
        || !PyArg_ParseTuple(recipe, "nKdIKKp", &count, &threads_limit, &task_timeout,
                             &board.workers, &buffersize, &arena_limit, &may_rerun)) {
        return;
    }
    board.buffersize = buffersize;
    board.arena_limit = arena_limit;
    fm_source_attach(&job->source, count);
    job->threads_limit = threads_limit;
    job->task_timeout = task_timeout;
    job->engine = fm_engine_attach(&board, may_rerun, fds);
    if (job->engine == NULL) {
        return;
    }
    (void)!write(ready_fd, "", 1);
    (void)close(ready_fd);
    fm_engine_be_nursery(job->engine, job->state, fm_worker_run, job);
}

void
fm_job_unref(struct fm_job *job)
{
    if (--job->references > 0) {
        return;
    }
    if (job->engine != NULL) {
        fm_engine_unref(job->engine);
    }
    fm_source_fini(&job->source);
    Py_CLEAR(job->function);
    Py_CLEAR(job->input_error);
    Py_CLEAR(job->module);
    PyMem_Free(job);
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
    job->feeder_stop = true;
    fm_engine_stop(job->engine);
    if (job->feeder_started) {
        fm_feeder_wait(job);
    }
}

unsigned
fm_job_threads_of(const struct fm_job *job, unsigned worker)
{
    uint64_t workers = job->engine->workers;
    uint64_t share = job->threads_limit / workers + (worker < job->threads_limit % workers);
    return job->threads_limit == 0 || share > INT_MAX ? INT_MAX : (unsigned)share;
}
