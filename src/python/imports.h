/* Imports that other threads are in the middle of, when workers are to be forked: fast_map/_imports.py.
 */
#ifndef FM_IMPORTS_H
#define FM_IMPORTS_H

#include "state.h"

/* Whether there is one that is to be awaited. Between PyOS_BeforeFork and the fork none can begin, but
 * no Python code may run there, since that may let go of the GIL: from CPython 3.13 on another thread
 * would then wait, with the GIL, for a lock that the fork has taken. */
bool fm_imports_are_under_way(const struct fm_state *state);

/* Without that. 1: until they have ended; 0: they take too long; -1 with an exception. */
int fm_imports_await(const struct fm_state *state);

#endif
