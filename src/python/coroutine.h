/* What an event loop runs for an item: the caller's coroutine, with an eye on each of its steps.
 *
 * To asyncio it is a coroutine that never fails and returns None, whatever the caller's one does:
 * its result or exception goes to the item's slot right there, so that not even SystemExit or
 * CancelledError can be taken for something that concerns the loop. All with the GIL.
 */
#ifndef FM_COROUTINE_H
#define FM_COROUTINE_H

#include "task.h"

struct fm_coroutine {
    PyObject_HEAD
    struct fm_coroutines *owner;
    uint64_t item;
    int64_t since; /* when it was started */
    struct fm_task task;
    PyObject *inner;        /* the caller's coroutine, from its first step to its end */
    PyObject *asyncio_task; /* until its end */
    PyObject *outcome;      /* after its end, until there is room for it: the result, */
    bool failed;            /* or the exception */
    bool ended;
    struct fm_coroutine *previous; /* in the owner's lists */
    struct fm_coroutine *next;
};

/* NULL with an exception. */
struct fm_coroutine *fm_coroutine_new(struct fm_coroutines *owner, uint64_t item);

extern PyType_Spec fm_coroutine_spec;

#endif
