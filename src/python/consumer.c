#include "consumer.h"

#include "codec.h"
#include "errors.h"
#include "feeder.h"

/* ---- waiting for a result ---- */

static bool
is_past_the_end(const struct fm_consumer *self)
{
    const struct fm_job *job = self->job;
    /* Pairs with the release in fm_placement_finish, or in fm_slots_finish. */
    return self->taken >= (job->unordered
                               ? fm_load_acquire(&job->placement.total)
                               : fm_load_acquire(&job->engine->board.slots.shared->total));
}

/* Whether there is a result to be taken; then `position` is where. Needs no GIL. */
static inline bool
is_ready(struct fm_consumer *self)
{
    struct fm_job *job = self->job;
    const struct fm_slots *slots = &job->engine->board.slots;
    if (job->unordered) {
        return fm_placement_find_done(&job->placement, slots, &self->position);
    }
    self->position = self->taken;
    return fm_slots_is_done(slots, self->position);
}

/* Something that ends the wait, other than a result. */
static bool
is_futile(const struct fm_consumer *self)
{
    struct fm_engine *engine = self->job->engine;
    return is_past_the_end(self) || fm_load_acquire(&engine->board.slots.shared->ended)
           || fm_monitor_is_deserted(&engine->monitor);
}

/* Sleeps until the next item in the order may be done, or one behind it that was quick before. */
static void
sleep_in_order(struct fm_consumer *self, int64_t left)
{
    struct fm_slots *slots = &self->job->engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->consumer;
    uint64_t item = self->taken;
    uint64_t awaited = fm_slots_item_to_await(slots, item, self->moderation.gap);
    uint32_t ticket = fm_doorbell_arm(bell, awaited);
    if (fm_slots_is_done(slots, item) || fm_slots_is_done(slots, awaited) || is_futile(self)) {
        fm_doorbell_disarm(bell);
        return;
    }
    int64_t timeout = awaited > item ? FM_MODERATION_DELAY : FM_DOORBELL_SLICE;
    int result = fm_doorbell_wait(bell, ticket, timeout < left ? timeout : left);
    bool two = fm_slots_is_done(slots, item) && fm_slots_is_done(slots, item + 1);
    if (result == -ETIMEDOUT && awaited > item && !two) {
        fm_moderation_fail(&self->moderation);
    }
}

/* Sleeps until some item may be done; where they came quickly before, without asking to be woken. */
static void
sleep_for_any(struct fm_consumer *self, int64_t left)
{
    struct fm_doorbell *bell = &self->job->engine->board.slots.shared->consumer;
    bool moderate = self->moderation.gap > 1;
    uint32_t ticket = fm_doorbell_arm(bell, moderate ? FM_MAX_ITEM : FM_ANY_ITEM);
    if (is_ready(self) || is_futile(self)) {
        fm_doorbell_disarm(bell);
        return;
    }
    int64_t timeout = moderate ? FM_MODERATION_DELAY : FM_DOORBELL_SLICE;
    (void)fm_doorbell_wait(bell, ticket, timeout < left ? timeout : left);
    if (moderate && !is_ready(self)) {
        fm_moderation_fail(&self->moderation);
    }
}

/* Without the GIL: sleeps until a result may be there, a signal comes, or for a while. */
static void
sleep_for_result(struct fm_consumer *self, int64_t left)
{
    if (self->job->unordered) {
        sleep_for_any(self, left);
    } else {
        sleep_in_order(self, left);
    }
}

/* Looks once more for a result, after whatever made waiting futile. */
static enum fm_taken
give_up(struct fm_consumer *self)
{
    struct fm_engine *engine = self->job->engine;
    if (is_ready(self)) {
        return FM_TAKEN_RESULT;
    }
    if (is_past_the_end(self)) {
        return FM_TAKEN_END;
    }
    if (self->job->ended_at_exit) {
        fm_errors_raise(PyObject_CallNoArgs(self->job->state->make_exit_error));
        return FM_TAKEN_ERROR;
    }
    if (fm_load_acquire(&engine->board.slots.shared->ended)) {
        return FM_TAKEN_END;
    }
    fm_errors_raise(
        fm_errors_open_desertion(self->job->state, self->taken, &engine->monitor.last_crash));
    return FM_TAKEN_ERROR;
}

static enum fm_taken
wait_for_result(struct fm_consumer *self, int64_t deadline)
{
    struct fm_job *job = self->job;
    fm_board_consumed(&job->engine->board, self->taken);
    while (!is_ready(self)) {
        int64_t left = deadline == FM_NO_DEADLINE ? deadline : deadline - fm_clock_now();
        if (is_futile(self)) {
            return give_up(self);
        }
        if (left <= 0) {
            return FM_TAKEN_TIMEOUT;
        }
        int64_t begun = fm_clock_now();
        PyThreadState *thread = PyEval_SaveThread();
        sleep_for_result(self, left);
        fm_feeder_take_gil(job, thread);
        fm_stats_spend(&self->stats, FM_SPENT_INPUT, fm_clock_now() - begun);
        fm_sampler_restart(&self->sampler);
        /* Not only when it was interrupted: a signal may have come before it slept, or to another
         * thread. */
        if (PyErr_CheckSignals() < 0) {
            return FM_TAKEN_ERROR;
        }
    }
    fm_moderation_update(&self->moderation, self->taken, job->engine->board.slots.mask / 4 + 1);
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
    uint64_t number = fm_slots_number(&self->job->engine->board.slots, self->position);
    PyObject *exception = fm_errors_explain_decoding(self->job->state, number);
    if (is_items) {
        return deliver_error(self, exception);
    }
    fm_errors_raise(exception);
    return NULL;
}

static PyObject *
decode_result(struct fm_consumer *self, struct fm_engine *engine, struct fm_value *value)
{
    PyObject *root;
    fm_stats_add(&self->stats.bytes, fm_codec_size(value));
    PyObject *result = fm_codec_decode(self->job->state, engine, value, true, &root);
    if (root != NULL) {
        Py_DECREF(root);
    } else {
        fm_board_drop(&engine->board, value);
    }
    return result != NULL ? result : deliver_decoding_error(self);
}

/* What the caller does between two results is not counted. */
static PyObject *
decode_result_timed(struct fm_consumer *self, struct fm_engine *engine, struct fm_value *value)
{
    if (!fm_sampler_is_due(&self->sampler)) {
        return decode_result(self, engine, value);
    }
    int64_t begun = fm_clock_now();
    PyObject *result = decode_result(self, engine, value);
    fm_sampler_spend_alone(&self->sampler, &self->stats, FM_SPENT_DECODE, fm_clock_now() - begun);
    return result;
}

static PyObject *
open_outcome(struct fm_consumer *self, struct fm_engine *engine)
{
    struct fm_value *value = &fm_slots_at(&engine->board.slots, self->position)->value;
    if (value->outcome == FM_OUTCOME_RESULT) {
        if (!fm_codec_is_number(value)) {
            return decode_result_timed(self, engine, value);
        }
        fm_stats_add(&self->stats.bytes, FM_CODEC_NUMBER_SIZE);
        return fm_codec_decode_number(value);
    }
    return deliver_error(self, fm_errors_open(self->job->state, engine, self->position, value,
                                              self->job->task_timeout));
}

/* The item at `position` is done. */
static PyObject *
take_item(struct fm_consumer *self)
{
    struct fm_engine *engine = self->job->engine;
    fm_slots_prefetch_result(&engine->board.slots, self->position);
    PyObject *result = open_outcome(self, engine);
    if (self->job->has_argument_blocks) {
        const struct fm_argument *argument =
            fm_slots_argument(&engine->board.slots, self->position);
        fm_board_drop(&engine->board, &argument->value);
    }
    if (self->job->unordered) {
        fm_placement_release(&self->job->placement, self->position);
    }
    self->taken++;
    fm_stats_add(&self->stats.items, 1);
    fm_board_consumed_one(&engine->board, self->taken);
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
    enum fm_taken waited = wait_for_result(self, deadline);
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
    struct fm_slots *slots = &engine->board.slots;
    fm_board_consumed(&engine->board, self->taken);
    fm_slots_arm_consumer_fd(slots, fm_slots_awaited(slots, self->taken));
    if (!is_ready(self) && !is_futile(self)) {
        return true;
    }
    fm_doorbell_disarm(&engine->board.slots.shared->consumer);
    return false;
}

bool
fm_consumer_is_ready(struct fm_consumer *self)
{
    return is_ready(self);
}

uint64_t
fm_consumer_count_finished(struct fm_consumer *self)
{
    struct fm_job *job = self->job;
    if (job->engine == NULL || fm_engine_is_foreign(job->engine)) {
        return self->taken;
    }
    const struct fm_slots *slots = &job->engine->board.slots;
    return self->taken
           + (job->unordered ? fm_placement_count_done(&job->placement, slots)
                             : fm_slots_count_done(slots, self->taken));
}

enum fm_taken
fm_consumer_take(struct fm_consumer *self, int64_t deadline, PyObject **result)
{
    const struct fm_engine *engine = self->job->engine;
    if (engine == NULL) {
        return FM_TAKEN_END;
    }
    if (fm_engine_is_foreign(engine) || !is_ready(self)) {
        return take_slowly(self, deadline, result);
    }
    *result = take_item(self);
    return *result != NULL ? FM_TAKEN_RESULT : FM_TAKEN_ERROR;
}
