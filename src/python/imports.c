#include "imports.h"

#include "compat.h"

/* The thread that has a lock of importlib's; 0 if none has. */
static unsigned long
owner_of(PyObject *lock)
{
    PyObject *owner = PyObject_GetAttrString(lock, "owner");
    unsigned long ident = owner != NULL && PyLong_Check(owner) ? PyLong_AsUnsignedLong(owner) : 0;
    Py_XDECREF(owner);
    PyErr_Clear();
    return ident;
}

static bool
is_held_by_another(PyObject *reference)
{
    PyObject *lock = fm_compat_get_referent(reference);
    unsigned long owner = lock != NULL ? owner_of(lock) : 0;
    Py_XDECREF(lock);
    return owner != 0 && owner != PyThread_get_thread_ident();
}

bool
fm_imports_are_under_way(const struct fm_state *state)
{
    PyObject *name;
    PyObject *reference;
    Py_ssize_t position = 0;
    while (PyDict_Next(state->import_locks, &position, &name, &reference)) {
        if (is_held_by_another(reference)
            && PySet_Contains(state->imports_given_up, reference) == 0) {
            return true;
        }
    }
    return false;
}

int
fm_imports_await(const struct fm_state *state)
{
    PyObject *ended = PyObject_CallNoArgs(state->await_imports);
    int result = ended == NULL ? -1 : ended == Py_True;
    Py_XDECREF(ended);
    return result;
}
