/* FastMap in an event loop: `async for`, `async with`, aclose().
 *
 * The consumer's doorbell is answered through an eventfd that the loop watches (slots.h), and the end
 * of the workers likewise, so that nothing here blocks and no thread helps. What there is to do in
 * steps is a coroutine in fast_map/_async.py; it calls the methods that begin with "_".
 *
 * All runs with the GIL. The methods return *awaitables*, which begin their work when they are first
 * awaited and keep others out of the map (`executing`) for as long as it takes. A result that is
 * there is taken without any coroutine.
 */
#ifndef FM_ASYNC_H
#define FM_ASYNC_H

#include "state.h"

PyObject *fm_async_next(PyObject *generator);
PyObject *fm_async_close(PyObject *generator, PyObject *ignored);
PyObject *fm_async_enter(PyObject *generator, PyObject *ignored);
PyObject *fm_async_leave(PyObject *generator, PyObject *ignored);

/* Both give what to wait for before they are called again: the descriptor that becomes readable and
 * the most seconds (0: any number), or None if there is nothing to wait for. The first waits for the
 * next result, the second begins the map's end and waits for that. */
PyObject *fm_async_arm(PyObject *generator, PyObject *ignored);
PyObject *fm_async_end(PyObject *generator, PyObject *ignored);

/* The next result, which is there; StopAsyncIteration, or an item's exception, after which the caller
 * has to end the map. */
PyObject *fm_async_take(PyObject *generator, PyObject *ignored);

/* close() for the task that is in the map. */
PyObject *fm_async_finish(PyObject *generator, PyObject *ignored);

extern PyType_Spec fm_awaitable_spec;

#endif
