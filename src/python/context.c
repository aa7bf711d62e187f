#include "context.h"

#include "clock.h"
#include "thread_state.h"

#include <time.h>

/* What threads may take to come out of threading, though hundreds of them want the GIL for that. */
#define UNDER_WAY_MOST (5 * FM_SECOND)
#define UNDER_WAY_LOOK FM_MILLISECOND

/* Of the process: a thread may come so late that the module is gone. How many are getting their state;
 * and whether the interpreter exits. */
static fm_atomic_u32 threads_entering;
static fm_atomic_u32 exits;

PyThreadState *
fm_context_new_thread_state(const struct fm_slots_shared *map)
{
    PyThreadState *thread = NULL;
    /* With fm_context_await_threads, which has ended all maps before: either this is seen there, or
     * that is seen here. */
    (void)fm_add_seq_cst(&threads_entering, 1);
    if (!fm_load_seq_cst(&exits) || !fm_load_seq_cst(&map->ended)) {
        thread = fm_thread_state_new(PyInterpreterState_Main());
    }
    (void)fm_sub_seq_cst(&threads_entering, 1);
    return thread;
}

PyObject *
fm_context_capture(const struct fm_state *state)
{
    return PyObject_CallNoArgs(state->capture_context);
}

void
fm_context_enter(const struct fm_state *state, PyObject *context)
{
    /* It stays entered until the thread's state goes. */
    PyObject *own = context != NULL ? PyContext_Copy(context) : NULL;
    if (own != NULL) {
        (void)PyContext_Enter(own);
        Py_DECREF(own);
    }
    PyObject *done = PyObject_CallNoArgs(state->begin_thread);
    Py_XDECREF(done);
    PyErr_Clear();
}

bool
fm_context_begin_threading(struct fm_state *state)
{
    if (fm_load_relaxed(&exits)) {
        return false;
    }
    state->threads_in_threading++;
    return true;
}

void
fm_context_end_threading(struct fm_state *state)
{
    state->threads_in_threading--;
}

void
fm_context_delete_thread_state(struct fm_state *state, PyThreadState *thread)
{
    if (!fm_context_begin_threading(state)) {
        (void)PyEval_SaveThread();
        return;
    }
    PyThreadState_Clear(thread);
    fm_context_end_threading(state);
    PyThreadState_DeleteCurrent();
}

static bool
is_any_under_way(const struct fm_state *state)
{
    return state->threads_in_threading > 0 || fm_load_seq_cst(&threads_entering) > 0;
}

void
fm_context_await_threads(struct fm_state *state)
{
    int64_t begun = fm_clock_now();
    fm_store_seq_cst(&exits, 1);
    while (is_any_under_way(state) && fm_clock_now() - begun < UNDER_WAY_MOST) {
        Py_BEGIN_ALLOW_THREADS(void)
        nanosleep(&(struct timespec){.tv_nsec = UNDER_WAY_LOOK}, NULL);
        Py_END_ALLOW_THREADS
    }
}

void
fm_context_forget_threads(struct fm_state *state)
{
    state->threads_in_threading = 0;
    fm_store_relaxed(&threads_entering, 0);
}
