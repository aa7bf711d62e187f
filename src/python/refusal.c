#include "refusal.h"

#include <errno.h>
#include <string.h>

/* Which limit it may have been. */
static const char *
remedy_for(int error)
{
    switch (error) {
    case EAGAIN: /* also of a thread that finds no place for its stack */
        return "see the limits on processes and threads, RLIMIT_NPROC, and on address space, "
               "RLIMIT_AS";
    case ENOMEM:
        return "see the limit on address space, RLIMIT_AS";
    case EMFILE:
        return "see the limit on open files, RLIMIT_NOFILE";
    case ENFILE:
        return "see the system's limit on open files, fs.file-max";
    case EIO: /* an event loop's affair */
        return "see what the worker has written to stderr";
    default:
        return "fast_map needs Linux 5.3 or later";
    }
}

PyObject *
fm_refusal_new(int error, const char *what)
{
    PyObject *text = PyUnicode_FromFormat("fast_map could not %s: %s (%s)", what, strerror(error),
                                          remedy_for(error));
    PyObject *refusal = text != NULL ? PyObject_CallFunction(PyExc_OSError, "iO", error, text)
                                     : NULL;
    Py_XDECREF(text);
    return refusal;
}

PyObject *
fm_refusal_raise(int error, const char *what)
{
    PyObject *refusal = fm_refusal_new(error, what);
    if (refusal != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(refusal), refusal);
        Py_DECREF(refusal);
    }
    return NULL;
}
