/* An engine whose workers, and the nursery, are forked from this process. */
#include "engine.h"

#include "imports.h"
#include "refusal.h"
#include "view.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A thread that imports all the time must not hold up the fork for good. */
#define IMPORTS_MOST 100

/* What is buffered now would be written by each process. */
static int
prepare(struct fm_state *state)
{
    PyObject *done = PyObject_CallNoArgs(state->prepare_workers);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    (void)fflush(stdout);
    (void)fflush(stderr);
    return 0;
}

/* What happens in the processes that are forked. */
struct birth {
    struct fm_engine *engine;
    struct fm_state *state;
    fm_worker_main worker_main;
    void *context;
    bool had_threads;  /* the parent, when it was forked, that may hold locks */
    bool amid_imports; /* fork in any case */
};

static _Noreturn void
be_worker(const struct birth *birth, unsigned worker)
{
    birth->engine->generation = fm_process_generation();
    fm_monitor_enter_worker(&birth->engine->monitor);
    birth->worker_main(birth->engine, worker, birth->context);
    _exit(1);
}

/* In the nursery; see nursery.h. */
static pid_t
fork_successor(void *context, unsigned worker)
{
    const struct birth *birth = context;
    PyOS_BeforeFork();
    pid_t pid = fork();
    int error = errno;
    if (pid == 0) {
        PyOS_AfterFork_Child();
        birth->engine->is_successor = true;
        be_worker(birth, worker);
    }
    PyOS_AfterFork_Parent();
    return pid > 0 ? pid : -error;
}

static _Noreturn void
be_nursery(struct birth *birth)
{
    struct fm_engine *engine = birth->engine;
    PyObject *done = PyObject_CallFunction(birth->state->set_up_process, "s", "nursery");
    Py_XDECREF(done);
    PyErr_Clear();
    fm_process_name_thread("fm-nursery");
    fm_monitor_enter_nursery(&engine->monitor);
    (void)pthread_sigmask(SIG_SETMASK, &engine->signals, NULL);
    fm_nursery_serve(&engine->monitor.nursery, engine->parent_pidfd, engine->monitor.close_fd,
                     fork_successor, birth);
    _exit(0);
}

_Noreturn void
fm_engine_be_nursery(struct fm_engine *engine, struct fm_state *state, fm_worker_main worker_main,
                     void *context)
{
    struct birth birth = {
        .engine = engine, .state = state, .worker_main = worker_main, .context = context};
    be_nursery(&birth);
}

/* The nursery's pid; 0 if there is to be none, or none could be had: then dead workers are not
 * replaced. */
static pid_t
fork_nursery(struct birth *birth)
{
    struct fm_nursery *nursery = &birth->engine->monitor.nursery;
    if (!nursery->usable) {
        return 0;
    }
    pid_t pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        be_nursery(birth);
    }
    fm_nursery_enter_parent(nursery);
    nursery->usable = pid > 0;
    return pid > 0 ? pid : 0;
}

/* The number of pids. */
static unsigned
fork_between_hooks(struct birth *birth, pid_t *pids, pid_t *nursery, int *error)
{
    unsigned count = 0;
    birth->engine->inherited_views = fm_view_list(birth->state);
    if (birth->engine->inherited_views == NULL) {
        PyErr_Clear();
        *error = ENOMEM;
        return 0;
    }
    *nursery = fork_nursery(birth);
    while (count < birth->engine->workers) {
        pid_t pid = fork();
        if (pid == 0) {
            PyOS_AfterFork_Child();
            be_worker(birth, count);
        }
        if (pid < 0) {
            *error = errno;
            break;
        }
        pids[count++] = pid;
    }
    return count;
}

/* Between one pair of fork hooks. They may be Python code, and what a signal's handler raises in them is
 * lost, so that none may be waiting to be handled. *error is EBUSY if an import is to be awaited. */
static unsigned
fork_workers(struct birth *birth, pid_t *pids, pid_t *nursery, int *error)
{
    unsigned count = 0;
    *error = EBUSY;
    PyOS_BeforeFork();
    if (birth->amid_imports || !fm_imports_are_under_way(birth->state)) {
        count = fork_between_hooks(birth, pids, nursery, error);
        /* Where a library ends its threads before a fork, as OpenBLAS does, they are not here now. */
        birth->had_threads |= fm_process_has_other_threads();
    }
    PyOS_AfterFork_Parent();
    return count;
}

/* Signals stay blocked around the fork: a worker must not run the parent's handlers before it has
 * its own. The worker unblocks them. Fails with an exception if a handler in the parent raises one. */
static unsigned
fork_without_signals(struct birth *birth, pid_t *pids, pid_t *nursery, int *error)
{
    sigset_t all;
    unsigned count = 0;
    *error = EINTR;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &birth->engine->signals);
    if (PyErr_CheckSignals() == 0) {
        count = fork_workers(birth, pids, nursery, error);
    }
    (void)pthread_sigmask(SIG_SETMASK, &birth->engine->signals, NULL);
    return count;
}

/* With an exception if a signal's handler raises one meanwhile. */
static int
await_imports(struct birth *birth)
{
    int awaited = fm_imports_await(birth->state);
    birth->had_threads |= awaited == 0;
    return awaited < 0 ? -1 : 0;
}

static unsigned
fork_between_imports(struct birth *birth, pid_t *pids, pid_t *nursery, int *error)
{
    unsigned count = fork_without_signals(birth, pids, nursery, error);
    for (unsigned i = 1; count == 0 && *error == EBUSY && await_imports(birth) == 0; i++) {
        birth->amid_imports = i == IMPORTS_MOST;
        count = fork_without_signals(birth, pids, nursery, error);
    }
    return count;
}

static void
end_process(pid_t pid)
{
    if (pid > 0) {
        (void)kill(pid, SIGKILL);
        (void)fm_process_reap(pid);
    }
}

/* A worker that can't be watched could be lost without a word: then there shall be none. */
static int
watch_workers(struct fm_engine *engine, const pid_t *pids, unsigned count, pid_t nursery)
{
    int result = nursery > 0 ? fm_monitor_add_nursery(&engine->monitor, nursery) : 0;
    for (unsigned i = 0; i < count && result == 0; i++) {
        result = fm_monitor_add(&engine->monitor, pids[i]);
    }
    if (result < 0) {
        for (unsigned i = 0; i < count; i++) {
            end_process(pids[i]);
        }
        end_process(nursery);
        return result;
    }
    for (unsigned i = count; i < engine->workers; i++) {
        fm_store_relaxed(&engine->board.roster.entries[i].alive, 0);
    }
    return fm_monitor_start(&engine->monitor);
}

/* May fail with an exception. */
static int
start_workers(struct birth *birth, pid_t *pids)
{
    pid_t nursery = 0;
    int error = 0;
    struct fm_engine *engine = birth->engine;
    engine->parent_pidfd = fm_process_open(getpid());
    if (engine->parent_pidfd < 0) {
        return engine->parent_pidfd;
    }
    unsigned count = fork_between_imports(birth, pids, &nursery, &error);
    (void)close(engine->parent_pidfd);
    if (count == 0) {
        end_process(nursery);
        return -error;
    }
    return watch_workers(engine, pids, count, nursery);
}

/* As os.fork does from CPython 3.12 on. */
static int
warn_of_threads(void)
{
    return PyErr_WarnFormat(PyExc_DeprecationWarning, 2,
                            "this process (pid=%d) is multi-threaded, and forking it may lead to "
                            "deadlocks in the workers, if another thread holds a lock just now; "
                            "fast_map(..., start_method='forkserver') forks a clean process "
                            "instead",
                            (int)getpid());
}

int
fm_engine_start(struct fm_engine *engine, struct fm_state *state, fm_worker_main worker_main,
                void *context)
{
    if (prepare(state) < 0) {
        return -1;
    }
    pid_t *pids = PyMem_Calloc(engine->workers, sizeof *pids);
    if (pids == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    struct birth birth = {
        .engine = engine, .state = state, .worker_main = worker_main, .context = context};
    int result = start_workers(&birth, pids);
    PyMem_Free(pids);
    if (result < 0) {
        if (PyErr_Occurred() == NULL) {
            fm_refusal_raise(-result, "start a worker process");
        }
        return -1;
    }
    engine->running = true;
    if (birth.had_threads && warn_of_threads() < 0) {
        fm_engine_stop(engine);
        return -1;
    }
    return 0;
}
