/* An engine whose workers are not forked from this process, but from a clean one: a fork server's
 * child becomes the nursery, and forks them all. */
#include "engine.h"

#include "refusal.h"

#include <unistd.h>

/* The nursery's pid, or -1 with an exception. The call returns when it has loaded the payload; it
 * can be interrupted by signals. */
static pid_t
launch_nursery(struct fm_engine *engine, PyObject *payload, PyObject *recipe, int parent_pidfd)
{
    const struct fm_monitor *monitor = &engine->monitor;
    /* Not imported before it is needed, since it imports multiprocessing. */
    PyObject *module = PyImport_ImportModule("fast_map._forkserver");
    if (module == NULL) {
        return -1;
    }
    PyObject *pid = PyObject_CallMethod(module, "launch_nursery", "OO(iiiiii)", payload, recipe,
                                        engine->board_fds.board, engine->board_fds.arena,
                                        engine->board_fds.consumer, parent_pidfd, monitor->close_fd,
                                        monitor->nursery.nursery_fd);
    Py_DECREF(module);
    if (pid == NULL) {
        return -1;
    }
    long number = PyLong_AsLong(pid);
    Py_DECREF(pid);
    return (pid_t)number;
}

/* Goes on with fewer workers where the system grants fewer; 0 or -errno. */
static int
add_workers(struct fm_engine *engine, pid_t nursery)
{
    int result = fm_monitor_add_nursery(&engine->monitor, nursery);
    while (result == 0 && engine->monitor.count < engine->workers) {
        result = fm_monitor_add_from_nursery(&engine->monitor);
    }
    if (engine->monitor.count == 0) {
        return result;
    }
    for (unsigned i = engine->monitor.count; i < engine->workers; i++) {
        fm_store_relaxed(&engine->board.roster.entries[i].alive, 0);
    }
    return fm_monitor_start(&engine->monitor);
}

int
fm_engine_start_remote(struct fm_engine *engine, PyObject *payload, PyObject *recipe)
{
    int result;
    int parent_pidfd = fm_process_open(getpid());
    if (parent_pidfd < 0) {
        fm_refusal_raise(-parent_pidfd, "open a descriptor of its process");
        return -1;
    }
    pid_t nursery = launch_nursery(engine, payload, recipe, parent_pidfd);
    (void)close(parent_pidfd);
    fm_engine_close_board_fds(engine);
    fm_nursery_enter_parent(&engine->monitor.nursery);
    if (nursery < 0) {
        return -1;
    }
    Py_BEGIN_ALLOW_THREADS
    result = add_workers(engine, nursery);
    if (result < 0) {
        fm_monitor_begin_stop(&engine->monitor);
    }
    Py_END_ALLOW_THREADS
    if (result < 0) {
        fm_refusal_raise(-result, "start a worker process");
        return -1;
    }
    engine->running = true;
    return 0;
}
