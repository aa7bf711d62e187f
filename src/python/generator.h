/* The type FastMap: what fast_map() returns. */
#ifndef FM_GENERATOR_H
#define FM_GENERATOR_H

#include "account.h"
#include "progress.h"

struct fm_generator {
    PyObject_HEAD
    PyObject *weak_references;
    struct fm_consumer consumer;
    Py_ssize_t length;
    bool executing; /* some thread or task is in here; guarded by the GIL */
    bool started;   /* has been asked for a result */
    struct fm_progress progress;
    struct fm_account account; /* once it has ended */

    /* For `async for` only. */
    bool ending;       /* the end has begun, and is waited for in an event loop */
    int64_t turn_over; /* when the loop should have a turn, even if results are there */
};

/* Starts a job and returns its FastMap; `length` is its number of items, or -1. */
PyObject *fm_generator_new(PyObject *module, PyObject *iterables,
                           const struct fm_job_options *options, Py_ssize_t length);

/* Ends the workers and the feeder without waiting for them, and those of maps that are its input. */
void fm_generator_begin_end(struct fm_generator *self);

/* Ends them, and lets go of the job. */
void fm_generator_finish(struct fm_generator *self);

extern PyType_Spec fm_generator_spec;

#endif
