/* A buffer over a block of the arena: how large payloads reach Python without a copy.
 *
 * A *root* view stands for the block as a whole. It keeps the engine's memory mapped and, if it owns
 * the block, gives it back when the last object that uses it is gone. The other views are ranges of
 * a root, one for each buffer that pickle keeps out of band.
 */
#ifndef FM_VIEW_H
#define FM_VIEW_H

#include "engine.h"
#include "state.h"

/* A root for the block of `value`. With `owns` it gives the block back when it goes. */
PyObject *fm_view_new_root(struct fm_state *state, struct fm_engine *engine,
                           const struct fm_value *value, bool owns);

/* Makes a root that didn't own its block the owner. */
void fm_view_own(PyObject *root);

/* `size` bytes at `offset` of the root. */
PyObject *fm_view_new_range(struct fm_state *state, PyObject *root, Py_ssize_t offset,
                            Py_ssize_t size, bool readonly);

/* A list of the roots that there are. While a process that was forked from this one may use them, their
 * blocks must not be given back. */
PyObject *fm_view_list(const struct fm_state *state);

/* In a forked process: what it writes to them is not to reach its parent. */
void fm_view_make_all_private(struct fm_state *state);

extern PyType_Spec fm_view_spec;

#endif
