#include "errors.h"

#include "codec.h"
#include "compat.h"

#include <string.h>

void
fm_errors_store_nothing(struct fm_value *value)
{
    PyErr_Clear();
    value->form = FM_FORM_INLINE;
    value->inline_size = 0;
    value->outcome = FM_OUTCOME_ERROR;
}

static PyObject *
pack_exception(struct fm_state *state, uint64_t item, enum fm_stage stage, PyObject *subject)
{
    PyObject *exception = fm_compat_take_exception();
    PyObject *packed = PyObject_CallFunction(state->pack_exception, "OKiO", exception,
                                             (unsigned long long)item, (int)stage,
                                             subject != NULL ? subject : Py_None);
    Py_XDECREF(exception);
    return packed;
}

bool
fm_errors_store(struct fm_state *state, struct fm_engine *engine, uint64_t item,
                enum fm_stage stage, PyObject *subject, struct fm_value *value)
{
    void *bytes;
    PyObject *packed = pack_exception(state, item, stage, subject);
    if (packed == NULL || !PyBytes_Check(packed)) {
        Py_XDECREF(packed);
        fm_errors_store_nothing(value);
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
    Py_DECREF(packed);
    return result != FM_ENCODE_ENDED && result != FM_ENCODE_REFUSED;
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
open_error(struct fm_state *state, struct fm_engine *engine, uint64_t item,
           const struct fm_value *value)
{
    PyObject *packed = take_bytes(engine, value);
    if (packed == NULL) {
        return NULL;
    }
    return PyObject_CallFunction(state->unpack_exception, "NK", packed, (unsigned long long)item);
}

static int
append_item(PyObject *list, uint64_t item)
{
    PyObject *number = PyLong_FromUnsignedLongLong(item);
    int result = number != NULL ? PyList_Append(list, number) : -1;
    Py_XDECREF(number);
    return result;
}

/* Of the items from `first` on, those that went down with process `pid`. */
static PyObject *
list_lost_items(struct fm_engine *engine, uint64_t first, int32_t pid)
{
    const struct fm_slots *slots = &engine->board.slots;
    uint64_t limit = fm_slots_limit(slots);
    PyObject *list = PyList_New(0);
    if (list != NULL && append_item(list, first) < 0) {
        Py_CLEAR(list);
    }
    for (uint64_t item = first + 1; list != NULL && item < limit; item++) {
        const struct fm_value *value = &fm_slots_at(slots, item)->value;
        if (!fm_slots_is_done(slots, item) || value->outcome != FM_OUTCOME_CRASHED
            || value->as.crash.pid != pid) {
            continue;
        }
        if (append_item(list, item) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
open_crash(struct fm_state *state, struct fm_engine *engine, uint64_t item,
           const struct fm_value *value)
{
    PyObject *known = value->as.crash.exit_known ? Py_True : Py_False;
    PyObject *items = list_lost_items(engine, item, value->as.crash.pid);
    if (items == NULL) {
        return NULL;
    }
    return PyObject_CallFunction(state->make_crash_error, "NiOii", items, (int)value->as.crash.pid,
                                 known, (int)value->as.crash.exit_code,
                                 (int)value->as.crash.exit_signal);
}

static PyObject *
open_timeout(struct fm_state *state, struct fm_engine *engine, uint64_t item,
             const struct fm_value *value, double task_timeout)
{
    PyObject *stack = take_bytes(engine, value);
    if (stack == NULL) {
        return NULL;
    }
    return PyObject_CallFunction(state->make_timeout_error, "KdN", (unsigned long long)item,
                                 task_timeout, stack);
}

PyObject *
fm_errors_open(struct fm_state *state, struct fm_engine *engine, uint64_t item,
               const struct fm_value *value, double task_timeout)
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
