/* The context of the call (contextvars), which holds in threads of the extension's own as well: the
 * precision of decimal, say, or numpy's errstate.
 */
#ifndef FM_CONTEXT_H
#define FM_CONTEXT_H

#include "slots.h"
#include "state.h"

/* A copy of the current thread's. NULL with an exception. */
PyObject *fm_context_capture(const struct fm_state *state);

/* A thread begins: it gets a copy of the context (NULL: none), and is traced if new threads are. What
 * fails there goes unsaid, since nobody would hear it. */
void fm_context_enter(const struct fm_state *state, PyObject *context);

/* ---- threads and the interpreter's exit ----
 *
 * A thread that asks for its state when the interpreter has ended, or is just about to free those that
 * there are, crashes the process. So none gets one any more once the interpreter exits and its map has
 * ended, and the exit waits for those that are getting one.
 *
 * Threading's records are kept under a lock. A thread that has it when the interpreter exits never lets
 * go of it, and the exit waits for it in vain (from CPython 3.13 on, where a record is taken out as its
 * thread's state is cleared). So threads of ours leave threading alone once the interpreter exits, and
 * the exit waits until they do. All of that with the GIL, but for the getting of a state. */

/* For the calling thread, a new one of that map's. NULL without an exception if there is no memory, or
 * it comes too late. */
PyThreadState *fm_context_new_thread_state(const struct fm_slots_shared *map);

/* Before and after code of threading's. False if it is not to be called. */
bool fm_context_begin_threading(struct fm_state *state);
void fm_context_end_threading(struct fm_state *state);

/* The calling thread's state goes, and the GIL. If the interpreter exits, it is left to that. */
void fm_context_delete_thread_state(struct fm_state *state, PyThreadState *thread);

/* The interpreter exits, and all maps have ended. */
void fm_context_await_threads(struct fm_state *state);

/* In a forked process, which has only the thread that forked. */
void fm_context_forget_threads(struct fm_state *state);

#endif
