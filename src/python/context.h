/* The context of the call (contextvars), which holds in threads of the extension's own as well: the
 * precision of decimal, say, or numpy's errstate.
 */
#ifndef FM_CONTEXT_H
#define FM_CONTEXT_H

#include "state.h"

/* A copy of the current thread's. NULL with an exception. */
PyObject *fm_context_capture(const struct fm_state *state);

/* A thread begins: it gets a copy of the context (NULL: none), and is traced if new threads are. What
 * fails there goes unsaid, since nobody would hear it. */
void fm_context_enter(const struct fm_state *state, PyObject *context);

#endif
