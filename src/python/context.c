#include "context.h"

#include "clock.h"

#include <time.h>

/* What threads may take to come out of threading, though hundreds of them want the GIL for that. */
#define THREADING_MOST (5 * FM_SECOND)
#define THREADING_LOOK FM_MILLISECOND

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
    if (state->exits) {
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

void
fm_context_await_threading(struct fm_state *state)
{
    int64_t begun = fm_clock_now();
    state->exits = true;
    while (state->threads_in_threading > 0 && fm_clock_now() - begun < THREADING_MOST) {
        Py_BEGIN_ALLOW_THREADS(void)
        nanosleep(&(struct timespec){.tv_nsec = THREADING_LOOK}, NULL);
        Py_END_ALLOW_THREADS
    }
}
