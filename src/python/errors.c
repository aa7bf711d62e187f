#include "errors.h"

#include "codec.h"
#include "compat.h"
#include "reference.h"
#include "refusal.h"

#include <string.h>

void
fm_errors_store_nothing(struct fm_value *value)
{
    PyErr_Clear();
    value->form = FM_FORM_INLINE;
    value->inline_size = 0;
    value->outcome = FM_OUTCOME_ERROR;
}

/* As bytes or, where it stays in this process, as a tuple with the exception itself. */
static PyObject *
pack_exception(struct fm_state *state, struct fm_engine *engine, uint64_t item, enum fm_stage stage,
               PyObject *subject)
{
    PyObject *pack = engine->is_local ? state->keep_exception : state->pack_exception;
    PyObject *exception = fm_compat_take_exception();
    uint64_t number = fm_slots_number(&engine->board.slots, item);
    PyObject *packed = PyObject_CallFunction(pack, "OKiO", exception, (unsigned long long)number,
                                             (int)stage, subject != NULL ? subject : Py_None);
    Py_XDECREF(exception);
    return packed;
}

/* False if the board has ended, or there is no room and this process must not wait for any. */
static bool
store_packed(struct fm_engine *engine, uint64_t item, PyObject *packed, struct fm_value *value)
{
    void *bytes;
    if (engine->is_local) {
        fm_reference_store(value, packed);
        value->outcome = FM_OUTCOME_ERROR;
        return true;
    }
    size_t size = (size_t)PyBytes_GET_SIZE(packed);
    enum fm_encode_result result = fm_codec_reserve(engine, item, size, value, &bytes);
    if (result == FM_ENCODE_DONE) {
        memcpy(bytes, PyBytes_AS_STRING(packed), size);
        value->outcome = FM_OUTCOME_ERROR;
    } else if (result == FM_ENCODE_FAILED) {
        fm_errors_store_nothing(value);
    }
    return result != FM_ENCODE_ENDED && result != FM_ENCODE_REFUSED;
}

bool
fm_errors_store(struct fm_state *state, struct fm_engine *engine, uint64_t item,
                enum fm_stage stage, PyObject *subject, struct fm_value *value)
{
    PyObject *packed = pack_exception(state, engine, item, stage, subject);
    if (packed == NULL) {
        fm_errors_store_nothing(value);
        return true;
    }
    bool goes_on = store_packed(engine, item, packed, value);
    Py_DECREF(packed);
    return goes_on;
}

void
fm_errors_raise(PyObject *exception)
{
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
}

/* The value's bytes as an object; gives its block back. */
static PyObject *
take_bytes(struct fm_engine *engine, const struct fm_value *value)
{
    uint64_t size;
    const char *bytes = fm_board_bytes(&engine->board, value, &size);
    PyObject *taken = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    fm_board_drop(&engine->board, value);
    return taken;
}

static PyObject *
open_error(struct fm_state *state, struct fm_engine *engine, uint64_t item, struct fm_value *value)
{
    uint64_t number = fm_slots_number(&engine->board.slots, item);
    if (value->tag == FM_TAG_REFERENCE && engine->is_local) {
        return PyObject_CallFunction(state->open_kept_exception, "NK", fm_reference_take(value),
                                     (unsigned long long)number);
    }
    PyObject *packed = take_bytes(engine, value);
    if (packed == NULL) {
        return NULL;
    }
    return PyObject_CallFunction(state->unpack_exception, "NK", packed, (unsigned long long)number);
}

static int
append_item(PyObject *list, uint64_t item)
{
    PyObject *number = PyLong_FromUnsignedLongLong(item);
    int result = number != NULL ? PyList_Append(list, number) : -1;
    Py_XDECREF(number);
    return result;
}

/* This item and those that went down with it and that the consumer, if it takes them in order, has
 * not come to yet. */
static PyObject *
list_lost_items(struct fm_engine *engine, uint64_t lost, int32_t pid)
{
    uint64_t item;
    const struct fm_slots *slots = &engine->board.slots;
    struct fm_slots_walk walk = fm_slots_walk(slots);
    PyObject *list = PyList_New(0);
    if (list != NULL && append_item(list, fm_slots_number(slots, lost)) < 0) {
        Py_CLEAR(list);
    }
    while (list != NULL && fm_slots_walk_to(slots, &walk, FM_SLOT_DONE, 0, &item)) {
        const struct fm_value *value = &fm_slots_at(slots, item)->value;
        if (value->outcome != FM_OUTCOME_CRASHED || value->as.crash.pid != pid || item == lost
            || (!slots->unordered && item < lost)) {
            continue;
        }
        if (append_item(list, fm_slots_number(slots, item)) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* Why a worker was not replaced that should have been, or None. */
static PyObject *
open_refusal(const struct fm_value *value)
{
    int error = value->as.crash.successor_error;
    return error != 0 ? fm_refusal_new(error, "start a process in its place") : Py_NewRef(Py_None);
}

/* Steals the reference to `items`, which may be NULL with an exception. */
static PyObject *
make_crash_error(struct fm_state *state, uint64_t number, PyObject *items,
                 const struct fm_value *value)
{
    PyObject *known = value->as.crash.exit_known ? Py_True : Py_False;
    PyObject *refusal = items != NULL ? open_refusal(value) : NULL;
    if (refusal == NULL) {
        Py_XDECREF(items);
        return NULL;
    }
    return PyObject_CallFunction(state->make_crash_error, "KNiOiiN", (unsigned long long)number,
                                 items, (int)value->as.crash.pid, known,
                                 (int)value->as.crash.exit_code, (int)value->as.crash.exit_signal,
                                 refusal);
}

static PyObject *
open_crash(struct fm_state *state, struct fm_engine *engine, uint64_t item,
           const struct fm_value *value)
{
    if (value->as.crash.setup_error != 0) {
        return fm_refusal_new(value->as.crash.setup_error, "set up a worker process");
    }
    PyObject *items = list_lost_items(engine, item, value->as.crash.pid);
    return make_crash_error(state, fm_slots_number(&engine->board.slots, item), items, value);
}

PyObject *
fm_errors_open_desertion(struct fm_state *state, uint64_t item, const struct fm_value *crash)
{
    if (crash->as.crash.setup_error != 0) {
        return fm_refusal_new(crash->as.crash.setup_error, "set up a worker process");
    }
    return make_crash_error(state, item, PyList_New(0), crash);
}

static PyObject *
open_timeout(struct fm_state *state, struct fm_engine *engine, uint64_t item,
             const struct fm_value *value, double task_timeout)
{
    uint64_t number = fm_slots_number(&engine->board.slots, item);
    PyObject *stack = take_bytes(engine, value);
    if (stack == NULL) {
        return NULL;
    }
    return PyObject_CallFunction(state->make_timeout_error, "KdN", (unsigned long long)number,
                                 task_timeout, stack);
}

PyObject *
fm_errors_open(struct fm_state *state, struct fm_engine *engine, uint64_t item,
               struct fm_value *value, double task_timeout)
{
    switch ((enum fm_outcome)value->outcome) {
    case FM_OUTCOME_ERROR:
        return open_error(state, engine, item, value);
    case FM_OUTCOME_OVERDUE:
        return open_timeout(state, engine, item, value, task_timeout);
    default:
        return open_crash(state, engine, item, value);
    }
}

PyObject *
fm_errors_explain_decoding(struct fm_state *state, uint64_t item)
{
    PyObject *exception = fm_compat_take_exception();
    return PyObject_CallFunction(state->explain_decoding_error, "NK", exception,
                                 (unsigned long long)item);
}
