/* How an item becomes a call: which of its parts are arguments, and what goes with each of them. */
#ifndef FM_CALL_H
#define FM_CALL_H

#include "state.h"

#include <stdbool.h>

enum fm_star {
    FM_STAR_NO,  /* the item is an argument */
    FM_STAR_YES, /* the item's elements are arguments */
    FM_STAR_NONE /* the item is none */
};

struct fm_call {
    PyObject *function;
    PyObject *args;   /* tuple: follow the item's own; NULL for none */
    PyObject *kwargs; /* dict: what an item's own keywords override; NULL for none */
    enum fm_star star;
    bool kwstar;   /* the item is, or with its arguments is a pair with, a mapping of keywords */
    bool is_plain; /* an item's values are the arguments, and nothing goes with them */
};

void fm_call_init(struct fm_call *call, PyObject *function, PyObject *args, PyObject *kwargs,
                  int star, bool kwstar);
void fm_call_fini(struct fm_call *call);

/* Out of line: a call that is not plain. */
PyObject *fm_call_with_more(const struct fm_call *call, PyObject *const *values, size_t number);

/* Calls with an item of one value for each input. Their number is as vectorcall takes it, with
 * PY_VECTORCALL_ARGUMENTS_OFFSET where the place in front of them may be used. NULL with an
 * exception. */
static inline PyObject *
fm_call_item(const struct fm_call *call, PyObject *const *values, size_t number)
{
    if (call->is_plain) {
        return PyObject_Vectorcall(call->function, values, number, NULL);
    }
    return fm_call_with_more(call, values, number);
}

#endif
