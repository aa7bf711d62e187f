#include "reference.h"

#include "codec.h"

void
fm_reference_store(struct fm_value *value, PyObject *object)
{
    value->form = FM_FORM_INLINE;
    value->tag = FM_TAG_REFERENCE;
    value->as.integer = (int64_t)(intptr_t)Py_NewRef(object);
}

static PyObject *
look_at(const struct fm_value *value)
{
    return value->tag == FM_TAG_REFERENCE ? (PyObject *)(intptr_t)value->as.integer : NULL;
}

PyObject *
fm_reference_take(struct fm_value *value)
{
    PyObject *object = look_at(value);
    value->tag = FM_TAG_NONE;
    return object;
}

static void
drop(struct fm_value *value)
{
    /* In this order: the object's end may run anything, also another look at the ring. */
    PyObject *object = fm_reference_take(value);
    Py_XDECREF(object);
}

void
fm_reference_drop_all(struct fm_engine *engine)
{
    const struct fm_slots *slots = &engine->board.slots;
    uint64_t item = fm_load_acquire(&slots->shared->consumed);
    for (; item < fm_slots_limit(slots); item++) {
        drop(&fm_slots_at(slots, item)->value);
        if (slots->arguments != NULL) {
            drop(&fm_slots_argument(slots, item)->value);
        }
    }
}

int
fm_reference_visit_all(const struct fm_engine *engine, visitproc visit, void *arg)
{
    const struct fm_slots *slots = &engine->board.slots;
    uint64_t limit = fm_slots_limit(slots);
    for (uint64_t item = fm_load_acquire(&slots->shared->consumed); item < limit; item++) {
        Py_VISIT(look_at(&fm_slots_at(slots, item)->value));
        if (slots->arguments != NULL) {
            Py_VISIT(look_at(&fm_slots_argument(slots, item)->value));
        }
    }
    return 0;
}
