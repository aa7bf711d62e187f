#include "context.h"

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
