#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static PyObject *
set_system_error(int error, const char *what, const char *remedy)
{
    PyObject *text = PyUnicode_FromFormat("fast_map could not %s: %s (%s)", what, strerror(error),
                                          remedy);
    PyObject *arguments = text != NULL ? Py_BuildValue("(iN)", error, text) : NULL;
    if (arguments != NULL) {
        PyErr_SetObject(PyExc_OSError, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

struct fm_engine *
fm_engine_new(const struct fm_board_options *options)
{
    struct fm_engine *engine = PyMem_Calloc(1, sizeof *engine);
    if (engine == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    int result = fm_board_map(&engine->board, options);
    if (result < 0) {
        PyMem_Free(engine);
        set_system_error(-result, "reserve shared memory",
                         "see the limit on address space, RLIMIT_AS");
        return NULL;
    }
    result = fm_monitor_init(&engine->monitor, &engine->board, options->workers);
    if (result < 0) {
        fm_board_unmap(&engine->board);
        PyMem_Free(engine);
        set_system_error(-result, "watch its workers",
                         "see the limit on open files, RLIMIT_NOFILE");
        return NULL;
    }
    engine->references = 1;
    engine->workers = options->workers;
    engine->generation = fm_process_generation();
    fm_heap_init(&engine->heap, &engine->board.arena, 0);
    return engine;
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
    fm_monitor_fini(&engine->monitor);
    fm_heap_fini(&engine->heap);
    fm_board_unmap(&engine->board);
    PyMem_Free(engine);
}

/* What is buffered now would be written by each process. */
static int
flush_output(struct fm_state *state)
{
    PyObject *done = PyObject_CallNoArgs(state->flush_output);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    (void)fflush(stdout);
    (void)fflush(stderr);
    return 0;
}

/* Forks them all between one pair of fork hooks; the number of pids. */
static unsigned
fork_workers(struct fm_engine *engine, pid_t *pids, fm_worker_main worker_main, void *context,
             int *error)
{
    unsigned count = 0;
    PyOS_BeforeFork();
    while (count < engine->workers) {
        pid_t pid = fork();
        if (pid == 0) {
            PyOS_AfterFork_Child();
            engine->generation = fm_process_generation();
            worker_main(engine, count, context);
            _exit(1);
        }
        if (pid < 0) {
            *error = errno;
            break;
        }
        pids[count++] = pid;
    }
    PyOS_AfterFork_Parent();
    return count;
}

/* A worker that can't be watched could be lost without a word: then there shall be none. */
static int
watch_workers(struct fm_engine *engine, const pid_t *pids, unsigned count)
{
    int result = 0;
    for (unsigned i = 0; i < count && result == 0; i++) {
        result = fm_monitor_add(&engine->monitor, pids[i]);
    }
    if (result < 0) {
        for (unsigned i = 0; i < count; i++) {
            (void)kill(pids[i], SIGKILL);
            (void)fm_process_reap(pids[i]);
        }
        return result;
    }
    for (unsigned i = count; i < engine->workers; i++) {
        fm_store_relaxed(&engine->board.roster.entries[i].alive, 0);
    }
    return fm_monitor_start(&engine->monitor);
}

/* Signals stay blocked around the fork: a worker must not run the parent's handlers before it has
 * its own. The worker unblocks them. */
static int
start_workers(struct fm_engine *engine, pid_t *pids, fm_worker_main worker_main, void *context)
{
    sigset_t all;
    int error = 0;
    engine->parent_pidfd = fm_process_open(getpid());
    if (engine->parent_pidfd < 0) {
        return engine->parent_pidfd;
    }
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &engine->signals);
    unsigned count = fork_workers(engine, pids, worker_main, context, &error);
    (void)pthread_sigmask(SIG_SETMASK, &engine->signals, NULL);
    (void)close(engine->parent_pidfd);
    if (count == 0) {
        return -error;
    }
    return watch_workers(engine, pids, count);
}

int
fm_engine_start(struct fm_engine *engine, struct fm_state *state, fm_worker_main worker_main,
                void *context)
{
    if (flush_output(state) < 0) {
        return -1;
    }
    pid_t *pids = PyMem_Calloc(engine->workers, sizeof *pids);
    if (pids == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    int result = start_workers(engine, pids, worker_main, context);
    PyMem_Free(pids);
    if (result < 0) {
        set_system_error(-result, "start a worker process",
                         "see the limits on processes and open files, RLIMIT_NPROC and "
                         "RLIMIT_NOFILE; fast_map needs Linux 5.3 or later");
        return -1;
    }
    engine->running = true;
    return 0;
}

void
fm_engine_stop(struct fm_engine *engine)
{
    if (!engine->running) {
        return;
    }
    engine->running = false;
    fm_board_end(&engine->board);
    Py_BEGIN_ALLOW_THREADS
    fm_monitor_stop(&engine->monitor);
    Py_END_ALLOW_THREADS
}
