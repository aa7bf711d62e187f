/* A job whose workers inherit nothing of it: what they are told, and what they make of it. */
#include "job.h"

#include "worker.h"

#include <unistd.h>

/* Numbers, which fm_job_serve reads. */
static PyObject *
make_recipe(const struct fm_job *job, const struct fm_board_options *board)
{
    return Py_BuildValue(
        "(niiKKKdIKKiii)", job->source.count, (int)job->call.star, (int)job->call.kwstar,
        (unsigned long long)job->threads_limit, (unsigned long long)job->chunksize,
        (unsigned long long)job->max_tasks_per_child, job->task_timeout, board->workers,
        (unsigned long long)board->buffersize, (unsigned long long)board->arena_limit,
        (int)job->engine->may_rerun, (int)board->unordered, (int)job->runs_coroutines);
}

/* Objects, which are pickled; take_payload reads them. */
static PyObject *
make_payload(const struct fm_job_options *options)
{
    return PyTuple_Pack(5, options->function, options->args, options->kwargs, options->initializer,
                        options->initargs);
}

int
fm_job_start_remote(struct fm_job *job, const struct fm_board_options *board,
                    const struct fm_job_options *options)
{
    int result = -1;
    PyObject *recipe = make_recipe(job, board);
    PyObject *payload = make_payload(options);
    if (recipe != NULL && payload != NULL) {
        result = fm_engine_start_remote(job->engine, payload, recipe);
    }
    Py_XDECREF(payload);
    Py_XDECREF(recipe);
    return result;
}

static int
take_payload(struct fm_job *job, PyObject *payload, int star, bool kwstar)
{
    PyObject *function;
    PyObject *args;
    PyObject *kwargs;
    PyObject *initializer;
    PyObject *initargs;
    if (!PyArg_ParseTuple(payload, "OO!O!OO", &function, &PyTuple_Type, &args, &PyDict_Type,
                          &kwargs, &initializer, &initargs)) {
        return -1;
    }
    fm_call_init(&job->call, function, args, kwargs, star, kwstar);
    fm_job_set_initializer(job, initializer, initargs);
    return 0;
}

void
fm_job_serve(PyObject *module, PyObject *payload, PyObject *recipe, const struct fm_engine_fds *fds,
             int ready_fd)
{
    struct fm_board_options board = {.total = FM_UNKNOWN_TOTAL};
    Py_ssize_t count;
    int star;
    int kwstar;
    unsigned long long threads_limit;
    unsigned long long chunksize;
    unsigned long long max_tasks;
    unsigned long long buffersize;
    unsigned long long arena_limit;
    double task_timeout;
    int may_rerun;
    int unordered;
    int coroutines;
    struct fm_job *job = fm_job_allocate(module);
    if (job == NULL
        || !PyArg_ParseTuple(recipe, "nipKKKdIKKppp", &count, &star, &kwstar, &threads_limit,
                             &chunksize, &max_tasks, &task_timeout, &board.workers, &buffersize,
                             &arena_limit, &may_rerun, &unordered, &coroutines)
        || take_payload(job, payload, star, kwstar) < 0) {
        return;
    }
    board.buffersize = buffersize;
    board.arena_limit = arena_limit;
    board.unordered = unordered;
    fm_source_attach(&job->source, count);
    job->threads_limit = threads_limit;
    job->chunksize = chunksize;
    job->max_tasks_per_child = max_tasks;
    job->task_timeout = task_timeout;
    job->runs_coroutines = coroutines;
    job->engine = fm_engine_attach(job->state, &board, may_rerun, fds);
    if (job->engine == NULL) {
        return;
    }
    (void)!write(ready_fd, "", 1);
    (void)close(ready_fd);
    fm_engine_be_nursery(job->engine, job->state, fm_worker_run, job);
}
