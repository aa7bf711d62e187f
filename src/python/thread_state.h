/* What CPython keeps of a thread, for those that the extension starts, and forks.
 *
 * CPython lists them under a lock that needs no GIL. A process that is forked while another thread has
 * that lock hangs up to CPython 3.11.9 (python/cpython#112275), and up to 3.12 may find the list half
 * written. So no thread of ours gets its state while the process forks.
 */
#ifndef FM_THREAD_STATE_H
#define FM_THREAD_STATE_H

#include "state.h"

/* Before the first one is made. 0 or -errno. */
int fm_thread_state_guard_forks(void);

/* For the calling thread, which must not have the GIL. NULL without an exception if there is no memory. */
PyThreadState *fm_thread_state_new(PyInterpreterState *interpreter);

#endif
