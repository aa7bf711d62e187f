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

/* ---- threading's records ----
 *
 * They are kept under a lock. A thread that has it when the interpreter exits never lets go of it, and
 * the exit waits for it in vain (from CPython 3.13 on, where a record is taken out as its thread's state
 * is cleared). So threads of ours leave threading alone once the interpreter exits, and the exit waits
 * until they do. All with the GIL. */

/* Before and after code of threading's. False if it is not to be called. */
bool fm_context_begin_threading(struct fm_state *state);
void fm_context_end_threading(struct fm_state *state);

/* The calling thread's state goes, and the GIL. If the interpreter exits, it is left to that. */
void fm_context_delete_thread_state(struct fm_state *state, PyThreadState *thread);

/* The interpreter exits. */
void fm_context_await_threading(struct fm_state *state);

#endif
