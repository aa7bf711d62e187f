/* Exceptions on their way from a worker to the caller. The work is Python's (fast_map/_errors.py);
 * this is the way there and back. */
#ifndef FM_ERRORS_H
#define FM_ERRORS_H

#include "engine.h"
#include "state.h"

/* Where in an item's life an exception arose; fast_map/_errors.py has the same. */
enum fm_stage {
    FM_STAGE_SEND_ARGUMENT,
    FM_STAGE_READ_ARGUMENT,
    FM_STAGE_CALL,
    FM_STAGE_SEND_RESULT,
    FM_STAGE_INITIALIZE
};

/* Writes the exception that is set (and clears it) as item `item`'s outcome into `value`. `subject`
 * is the item's argument, or the object that could not be encoded, for the message; may be NULL.
 * False if the board has ended and nobody wants it, or there is no room and this process must not
 * wait for any. */
bool fm_errors_store(struct fm_state *state, struct fm_engine *engine, uint64_t item,
                     enum fm_stage stage, PyObject *subject, struct fm_value *value);

/* The last resort, for when not even that works: no memory, most likely. Clears the exception. */
void fm_errors_store_nothing(struct fm_value *value);

/* What the outcome in `value` is to the caller, as an exception instance: an error that was stored
 * (its block is given back, or its reference taken), TaskTimeout with `task_timeout` seconds, or
 * WorkerCrashed, naming all items that the consumer hasn't come to yet and that were lost with the same
 * worker, or OSError if the worker had not even begun. NULL, with an
 * exception, if that can't be made. */
PyObject *fm_errors_open(struct fm_state *state, struct fm_engine *engine, uint64_t item,
                         struct fm_value *value, double task_timeout);

/* No worker is left to run `item`; `crash` is how the last one ended. */
PyObject *fm_errors_open_desertion(struct fm_state *state, uint64_t item,
                                   const struct fm_value *crash);

/* A result could not be decoded: the exception that is set, explained; it is no longer set. */
PyObject *fm_errors_explain_decoding(struct fm_state *state, uint64_t item);

/* Sets an exception instance, and steals the reference; keeps what is set where it is NULL. */
void fm_errors_raise(PyObject *exception);

#endif
