/* One item: from its argument to its result in the slot. */
#ifndef FM_TASK_H
#define FM_TASK_H

#include "worker.h"

/* What an item keeps from its call to its end. */
struct fm_task {
    PyObject *subject; /* what an error's note names; NULL if the argument could not be read */
    PyObject *root;    /* of an argument that uses the block in which it arrived; view.h */
    bool timed;        /* it is one of those whose time is taken: stats.h */
    int64_t decoded;   /* then: when its argument was there, if it was sent */
};

/* The parts of fm_task_run, for an item whose result comes later than the call returns. The call's
 * result, or NULL with an exception: */
PyObject *fm_task_call(struct fm_worker *worker, uint64_t item, struct fm_task *task);
/* The result (or, for NULL, the exception that is set) goes to the slot. False if the job has ended,
 * or there is no room and this process must not wait for any. */
bool fm_task_store(struct fm_worker *worker, uint64_t item, const struct fm_task *task,
                   PyObject *result);
/* After that, and before the item is completed. */
void fm_task_end(struct fm_worker *worker, uint64_t item, struct fm_task *task);

/* Runs the item that the calling thread has claimed, with the GIL, and leaves its outcome in its
 * slot. False if the job has ended meanwhile, and the slot is as it was. */
bool fm_task_run(struct fm_worker *worker, struct fm_pool_thread *thread, uint64_t item);

#endif
