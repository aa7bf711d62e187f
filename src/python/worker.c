#include "worker.h"

#include "compat.h"
#include "context.h"
#include "coroutines.h"
#include "supervisor.h"
#include "task.h"
#include "thread.h"
#include "thread_state.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Every thread that waits for the GIL wakes once per switch interval, so that a herd of them would
 * eat the machine: the interval grows with their number. 5 ms is CPython's own. */
#define SWITCH_INTERVAL 0.005
#define SWITCH_INTERVAL_MOST 0.2
#define THREADS_PER_SWITCH_INTERVAL 32

#define EXIT_NO_RESOURCES 71

/* How long an event loop may take to end: twice _GRACE of _coroutines.py, and a little. */
#define LOOP_MOST (900 * FM_MILLISECOND)

/* A little more than a supervisor that has a thread for the farewell would wait. */
#define FAREWELL_MOST_S ((FM_LEAVE_GRACE_MS + FM_FINISH_GRACE_MS) / 1000 + 1)

/* Who has not got the GIL by then waits for a thread that does not let go of it. */
#define GIL_MOST (300 * FM_MILLISECOND)

/* Waits for what fn has begun in this process, and not for what it is at. */
static void
finish(struct fm_worker *worker)
{
    PyObject *busy = fm_pool_is_at_work(&worker->pool) ? Py_True : Py_False;
    PyObject *unfinished = PyObject_CallOneArg(worker->job->state->find_unfinished, busy);
    if (unfinished != NULL && unfinished != Py_None) {
        fm_store_relaxed(&worker->pool.self->finishing, 1);
        PyObject *done = PyObject_CallNoArgs(unfinished);
        Py_XDECREF(done);
    }
    Py_XDECREF(unfinished);
    PyErr_Clear();
}

/* Workers never run the parent's exit handlers: what they have written goes out, and that is it. With
 * the GIL; a thread that comes second lets the first one do it. */
static _Noreturn void
leave(struct fm_worker *worker, int status)
{
    while (worker->is_leaving) {
        PyThreadState *state = PyEval_SaveThread();
        (void)pause();
        PyEval_RestoreThread(state);
    }
    worker->is_leaving = true;
    (void)fm_pool_note_cpu(&worker->pool);
    finish(worker);
    (void)fflush(stdout);
    (void)fflush(stderr);
    PyObject *done = PyObject_CallFunction(worker->job->state->leave, "i", status);
    Py_XDECREF(done); /* os._exit may be anything that was put in its place */
    _exit(status);
}

/* A loop that runs no item is about to end by itself, and with it what coroutines have left behind. */
static void
let_loop_end(struct fm_worker *worker)
{
    if (worker->coroutines == NULL || fm_pool_is_at_work(&worker->pool)) {
        return;
    }
    PyThreadState *state = PyEval_SaveThread();
    (void)nanosleep(&(struct timespec){.tv_nsec = LOOP_MOST}, NULL);
    PyEval_RestoreThread(state);
}

static void *
run_farewell(void *argument)
{
    struct fm_worker *worker = argument;
    PyThreadState *thread = fm_thread_state_new(worker->interpreter);
    if (thread == NULL) {
        return NULL; /* the supervisor won't wait for long */
    }
    PyEval_AcquireThread(thread);
    let_loop_end(worker);
    leave(worker, worker->farewell_status);
}

/* On the supervisor's thread, which watches the time of others: now the kernel has to. */
static void
say_farewell_timed(struct fm_worker *worker)
{
    sigset_t alarm;
    (void)sigemptyset(&alarm);
    (void)sigaddset(&alarm, SIGALRM);
    (void)signal(SIGALRM, SIG_DFL);
    (void)setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_sec = FAREWELL_MOST_S}, NULL);
    (void)pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    (void)run_farewell(worker);
}

/* On the supervisor's thread, which waits for the GIL only if there is no other one to do so. */
static void
start_farewell(void *context, int status)
{
    pthread_t handle;
    struct fm_worker *worker = context;
    worker->farewell_status = status;
    if (fm_thread_create(&handle, 0, run_farewell, worker) < 0) {
        say_farewell_timed(worker);
    }
}

static void *
run_gil_probe(void *argument)
{
    struct fm_worker *worker = argument;
    PyThreadState *thread = fm_thread_state_new(worker->interpreter);
    if (thread != NULL) {
        PyEval_AcquireThread(thread);
    }
    (void)fm_add_seq_cst(&worker->gil_probes, 1);
    (void)fm_futex_wake(&worker->gil_probes, 1);
    if (thread != NULL) {
        PyThreadState_Clear(thread);
        PyThreadState_DeleteCurrent();
    }
    return NULL;
}

static bool
start_gil_probe(struct fm_worker *worker)
{
    pthread_t handle;
    if (fm_thread_create(&handle, 0, run_gil_probe, worker) < 0) {
        return false;
    }
    (void)pthread_detach(handle);
    worker->gil_probes_begun++;
    return true;
}

/* On the supervisor's thread: whether the GIL is so hard to get that some C code must hold it. A probe
 * that still waits for it since the last time will do. */
static bool
is_hogged(void *context)
{
    struct fm_worker *worker = context;
    uint32_t before = fm_load_seq_cst(&worker->gil_probes);
    if (worker->gil_probes_begun == before && !start_gil_probe(worker)) {
        return false;
    }
    (void)fm_futex_wait(&worker->gil_probes, before, GIL_MOST);
    return fm_load_seq_cst(&worker->gil_probes) == before;
}

/* Those that wait for the GIL look runnable now and then as well, for they do not wait long at a time. */
static bool
is_hog(const struct fm_pool_thread *thread)
{
    PyThreadState *state = fm_load_acquire(&thread->state); /* pairs with run_items */
    return state != NULL && fm_compat_has_gil(state);
}

static void
adapt_switch_interval(unsigned threads)
{
    if (threads < THREADS_PER_SWITCH_INTERVAL || (threads & (threads - 1)) != 0) {
        return;
    }
    double interval = SWITCH_INTERVAL * threads / THREADS_PER_SWITCH_INTERVAL;
    PyObject *set = PySys_GetObject("setswitchinterval");
    PyObject *done =
        set != NULL
            ? PyObject_CallFunction(
                  set, "d", interval < SWITCH_INTERVAL_MOST ? interval : SWITCH_INTERVAL_MOST)
            : NULL;
    Py_XDECREF(done);
    PyErr_Clear();
}

static void
set_up_thread(struct fm_worker *worker, unsigned number)
{
    PyObject *done =
        PyObject_CallFunction(worker->job->state->name_worker_thread, "II", worker->number, number);
    if (done == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(done);
    fm_context_enter(worker->job->state, worker->job->context);
    adapt_switch_interval(number);
}

/* The pool thread that this is, for await_space. */
static _Thread_local struct fm_pool_thread *this_thread;

/* Until the caller has taken results there may be no room for another: no item is late for that. */
static bool
await_space(struct fm_engine *engine, uint64_t item, uint64_t size)
{
    int64_t begun = fm_clock_now();
    int64_t used = fm_pool_note_pause(this_thread);
    bool goes_on = fm_board_await_space(&engine->board, &engine->heap, item, size);
    fm_pool_note_resume(this_thread, item, used);
    fm_stats_spend(this_thread->stats, FM_SPENT_ROOM, fm_clock_now() - begun);
    return goes_on;
}

/* With an item in hand. */
static void
take_gil(struct fm_pool_thread *thread, PyThreadState *state)
{
    int64_t begun = fm_clock_now();
    PyEval_RestoreThread(state);
    fm_stats_spend(thread->stats, FM_SPENT_GIL, fm_clock_now() - begun);
    fm_sampler_restart(&thread->sampler);
}

/* With the GIL. Whether an item that is done may be completed, where items can be overdue. */
static bool
may_complete(const struct fm_worker *worker, struct fm_pool_thread *thread)
{
    return fm_pool_note_end(thread) && !worker->is_leaving;
}

/* The life of a pool thread: claims without the GIL, runs with it, and keeps it from one item to
 * the next. */
static void
run_items(struct fm_worker *worker, struct fm_pool_thread *thread, PyThreadState *state)
{
    uint64_t item;
    bool timed = worker->pool.task_timeout > 0;
    this_thread = thread;
    fm_store_release(&thread->state, state);
    while (fm_pool_wait(thread, &item)) {
        take_gil(thread, state);
        do {
            if (timed) {
                fm_pool_note_begin(thread, item);
            }
            if (!fm_task_run(worker, thread, item)) {
                break;
            }
            if (timed && !may_complete(worker, thread)) {
                (void)PyEval_SaveThread();
                fm_pool_await_end();
            }
            fm_pool_complete(thread, item);
        } while (fm_pool_next(thread, &item));
        (void)PyEval_SaveThread();
    }
}

static void
run_thread(void *context, struct fm_pool_thread *thread)
{
    struct fm_worker *worker = context;
    PyThreadState *state = fm_thread_state_new(worker->interpreter);
    if (state == NULL) {
        fm_pool_withdraw(thread);
        return;
    }
    PyEval_AcquireThread(state);
    set_up_thread(worker, thread->number);
    (void)PyEval_SaveThread();
    run_items(worker, thread, state);
    /* There is nothing left to do in this process, which is about to end with all its threads. */
}

static void
set_up_pool(struct fm_worker *worker)
{
    struct fm_engine *engine = worker->engine;
    struct fm_pool *pool = &worker->pool;
    pool->slots = &engine->board.slots;
    pool->roster = &engine->board.roster;
    pool->self = &engine->board.roster.entries[worker->number];
    pool->worker = worker->number;
    pool->threads_limit = fm_job_threads_of(worker->job, worker->number);
    pool->stack_size = PyThread_get_stacksize();
    pool->chunksize = worker->job->chunksize;
    pool->budget = worker->job->max_tasks_per_child;
    pool->is_mortal = pool->budget > 0;
    pool->hooks = (struct fm_pool_hooks){
        .run_thread = run_thread,
        .leave = start_farewell,
        .is_hogged = is_hogged,
        .is_hog = is_hog,
        .context = worker,
    };
    pool->parent_pidfd = engine->parent_pidfd;
    pool->close_fd = engine->monitor.close_fd;
    fm_store_relaxed(&pool->self->solo, engine->is_successor);
    fm_store_relaxed(&pool->self->finishing, 0);
    engine->await_space = await_space;
}

/* A stuck thread is to tell where it is, whoever has the GIL: faulthandler's signal handler can. */
static void
set_up_timeout(struct fm_worker *worker)
{
    struct fm_pool *pool = &worker->pool;
    double seconds = worker->job->task_timeout;
    pool->stack_fd = -1;
    if (seconds <= 0) {
        return;
    }
    pool->task_timeout = seconds < 9e9 ? (int64_t)(seconds * (double)FM_SECOND) : INT64_MAX;
    PyObject *prepared = PyObject_CallNoArgs(worker->job->state->prepare_stack_dump);
    if (prepared == NULL
        || !PyArg_ParseTuple(prepared, "ii", &pool->stack_fd, &pool->stack_signal)) {
        PyErr_Clear();
    }
    Py_XDECREF(prepared);
}

/* The signals that the parent blocked around the fork are let in once their handlers are set. */
static int
set_up_process(struct fm_worker *worker)
{
    PyObject *done = PyObject_CallFunction(worker->job->state->set_up_worker, "N",
                                           PyUnicode_FromFormat("worker-%u", worker->number));
    if (done == NULL) {
        PyErr_Print();
        return -ENOMEM; /* what else could it be, in code of our own */
    }
    Py_DECREF(done);
    set_up_timeout(worker);
    (void)pthread_sigmask(SIG_SETMASK, &worker->engine->signals, NULL);
    return 0;
}

static void
name_main_thread(const struct fm_worker *worker)
{
    char name[16];
    (void)snprintf(name, sizeof name, "fm-w%u-t0", worker->number);
    fm_process_name_thread(name);
}

/* An item that meets a failed initializer fails with its error. */
void
fm_worker_call_initializer(struct fm_worker *worker)
{
    const struct fm_job *job = worker->job;
    if (job->initializer == NULL) {
        return;
    }
    PyObject *done = worker->coroutines != NULL
                         ? fm_coroutines_call(worker->coroutines, job->initializer, job->initargs)
                         : PyObject_Call(job->initializer, job->initargs, NULL);
    if (done == NULL) {
        Py_XSETREF(worker->initializer_error, fm_compat_take_exception());
    }
    Py_XDECREF(done);
}

/* What the main thread's context has of its initializer, or where nothing is inherited of an import,
 * holds in all threads. */
static void
share_context(struct fm_worker *worker)
{
    if (worker->job->initializer == NULL && worker->job->context != NULL) {
        return; /* It is the caller's still. */
    }
    PyObject *context = fm_context_capture(worker->job->state);
    if (context != NULL) {
        Py_XSETREF(worker->job->context, context);
    }
    PyErr_Clear();
}

static int
set_up(struct fm_worker *worker)
{
    set_up_pool(worker);
    int result = set_up_process(worker);
    if (result == 0 && worker->job->runs_coroutines) {
        result = fm_coroutines_open(worker);
    }
    result = result == 0 ? fm_pool_init(&worker->pool) : result;
    result = result == 0 ? fm_supervisor_start(&worker->pool) : result;
    name_main_thread(worker);
    return result;
}

/* Until no item will ever come, or the system does not grant what that takes. */
static int
run(struct fm_worker *worker)
{
    if (worker->coroutines != NULL) {
        return fm_coroutines_run(worker);
    }
    (void)PyEval_SaveThread();
    run_items(worker, &worker->pool.main_thread, worker->main_thread);
    PyEval_RestoreThread(worker->main_thread);
    return 0;
}

_Noreturn void
fm_worker_run(struct fm_engine *engine, unsigned number, void *context)
{
    static struct fm_worker worker; /* for all of the process's life, whatever its stacks do */
    worker = (struct fm_worker){.job = context, .engine = engine, .number = number};
    worker.main_thread = PyThreadState_Get();
    worker.interpreter = PyThreadState_GetInterpreter(worker.main_thread);
    fm_heap_init(&engine->heap, &engine->board.arena, number + 1);
    if (engine->is_successor) {
        fm_board_adopt_heap(&engine->board, &engine->heap);
    }
    int result = set_up(&worker);
    if (result == 0) {
        fm_worker_call_initializer(&worker);
        share_context(&worker);
        result = run(&worker);
    }
    if (result < 0) {
        fm_store_relaxed(&worker.pool.self->setup_error, (uint32_t)-result);
        leave(&worker, EXIT_NO_RESOURCES);
    }
    leave(&worker, fm_pool_is_spent(&worker.pool) ? FM_EXIT_SPENT : 0);
}
