#include "consumer.h"

#include "codec.h"
#include "errors.h"
#include "feeder.h"

/* ---- waiting for a result ---- */

static bool
is_past_the_end(const struct fm_slots *slots, uint64_t item)
{
    /* Pairs with the release in fm_slots_finish. */
    return item >= fm_load_acquire(&slots->shared->total);
}

/* Something that ends the wait, other than the item itself. */
static bool
is_futile(struct fm_engine *engine, uint64_t item)
{
    return is_past_the_end(&engine->board.slots, item)
           || fm_load_acquire(&engine->board.slots.shared->ended)
           || fm_monitor_is_deserted(&engine->monitor);
}

/* Without the GIL: sleeps until the item may be done; -EINTR if a signal came. */
static int
sleep_for_item(struct fm_consumer *self, struct fm_engine *engine, int64_t left)
{
    struct fm_slots *slots = &engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->consumer;
    uint64_t item = self->next_item;
    uint64_t awaited = fm_slots_item_to_await(slots, item, self->moderation.gap);
    uint32_t ticket = fm_doorbell_arm(bell, awaited);
    if (fm_slots_is_done(slots, item) || fm_slots_is_done(slots, awaited)
        || is_futile(engine, item)) {
        fm_doorbell_disarm(bell);
        return 0;
    }
    int64_t timeout = awaited > item ? FM_MODERATION_DELAY : FM_DOORBELL_SLICE;
    int result = fm_doorbell_wait(bell, ticket, timeout < left ? timeout : left);
    if (result == -ETIMEDOUT && awaited > item && !fm_slots_is_done(slots, item)) {
        fm_moderation_reset(&self->moderation);
    }
    return result;
}

/* Looks once more for the item, after whatever made waiting futile. */
static enum fm_taken
give_up(struct fm_consumer *self, struct fm_engine *engine)
{
    uint64_t item = self->next_item;
    struct fm_slots *slots = &engine->board.slots;
    if (fm_slots_is_done(slots, item)) {
        return FM_TAKEN_RESULT;
    }
    if (is_past_the_end(slots, item) || fm_load_acquire(&slots->shared->ended)) {
        return FM_TAKEN_END;
    }
    fm_errors_raise(fm_errors_open(self->job->state, engine, item, &engine->monitor.last_crash, 0));
    return FM_TAKEN_ERROR;
}

static enum fm_taken
wait_for_item(struct fm_consumer *self, int64_t deadline)
{
    struct fm_job *job = self->job;
    struct fm_engine *engine = job->engine;
    struct fm_slots *slots = &engine->board.slots;
    fm_board_consumed(&engine->board, self->next_item);
    while (!fm_slots_is_done(slots, self->next_item)) {
        int64_t left = deadline == FM_NO_DEADLINE ? deadline : deadline - fm_clock_now();
        if (is_futile(engine, self->next_item)) {
            return give_up(self, engine);
        }
        if (left <= 0) {
            return FM_TAKEN_TIMEOUT;
        }
        PyThreadState *thread = PyEval_SaveThread();
        int result = sleep_for_item(self, engine, left);
        fm_feeder_take_gil(job, thread);
        if (result == -EINTR && PyErr_CheckSignals() < 0) {
            return FM_TAKEN_ERROR;
        }
    }
    fm_moderation_update(&self->moderation, self->next_item, slots->mask / 4 + 1);
    return FM_TAKEN_RESULT;
}

/* ---- taking a result ---- */

/* An item's error: raised, or its result if the caller wants errors so. Steals the reference. */
static PyObject *
deliver_error(struct fm_consumer *self, PyObject *exception)
{
    if (self->job->return_exceptions) {
        return exception;
    }
    fm_errors_raise(exception);
    return NULL;
}

/* What is no Exception is not the item's: Ctrl-C in the middle of unpickling, say. */
static PyObject *
deliver_decoding_error(struct fm_consumer *self)
{
    bool is_items = PyErr_ExceptionMatches(PyExc_Exception);
    PyObject *exception = fm_errors_explain_decoding(self->job->state, self->next_item);
    if (is_items) {
        return deliver_error(self, exception);
    }
    fm_errors_raise(exception);
    return NULL;
}

static PyObject *
decode_result(struct fm_consumer *self, struct fm_engine *engine, const struct fm_value *value)
{
    PyObject *root;
    PyObject *result = fm_codec_decode(self->job->state, engine, value, true, &root);
    if (root != NULL) {
        Py_DECREF(root);
    } else {
        fm_board_drop(&engine->board, value);
    }
    return result != NULL ? result : deliver_decoding_error(self);
}

static PyObject *
open_outcome(struct fm_consumer *self, struct fm_engine *engine)
{
    const struct fm_value *value = &fm_slots_at(&engine->board.slots, self->next_item)->value;
    if (value->outcome == FM_OUTCOME_RESULT) {
        return decode_result(self, engine, value);
    }
    return deliver_error(self, fm_errors_open(self->job->state, engine, self->next_item, value,
                                              self->job->task_timeout));
}

/* The item at `next_item` is done. */
static PyObject *
take_item(struct fm_consumer *self)
{
    struct fm_engine *engine = self->job->engine;
    PyObject *result = open_outcome(self, engine);
    if (self->job->has_argument_blocks) {
        const struct fm_argument *argument =
            fm_slots_argument(&engine->board.slots, self->next_item);
        fm_board_drop(&engine->board, &argument->value);
    }
    self->next_item++;
    fm_board_consumed_one(&engine->board, self->next_item);
    return result;
}

static enum fm_taken
take_slowly(struct fm_consumer *self, int64_t deadline, PyObject **result)
{
    if (fm_engine_is_foreign(self->job->engine)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this FastMap belongs to the process that made it, not to its fork");
        return FM_TAKEN_ERROR;
    }
    enum fm_taken waited = wait_for_item(self, deadline);
    if (waited == FM_TAKEN_RESULT) {
        *result = take_item(self);
        return *result != NULL ? FM_TAKEN_RESULT : FM_TAKEN_ERROR;
    }
    return waited;
}

bool
fm_consumer_arm(struct fm_consumer *self)
{
    struct fm_engine *engine = self->job->engine;
    if (engine == NULL || fm_engine_is_foreign(engine)) {
        return false;
    }
    fm_board_consumed(&engine->board, self->next_item);
    fm_slots_arm_consumer_fd(&engine->board.slots, self->next_item);
    if (!fm_slots_is_done(&engine->board.slots, self->next_item)
        && !is_futile(engine, self->next_item)) {
        return true;
    }
    fm_doorbell_disarm(&engine->board.slots.shared->consumer);
    return false;
}

enum fm_taken
fm_consumer_take(struct fm_consumer *self, int64_t deadline, PyObject **result)
{
    const struct fm_engine *engine = self->job->engine;
    if (engine == NULL) {
        return FM_TAKEN_END;
    }
    if (fm_engine_is_foreign(engine) || !fm_slots_is_done(&engine->board.slots, self->next_item)) {
        return take_slowly(self, deadline, result);
    }
    *result = take_item(self);
    return *result != NULL ? FM_TAKEN_RESULT : FM_TAKEN_ERROR;
}
