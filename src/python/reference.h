/* Values that are objects of this process themselves, where no other process is to have them.
 *
 * A value with FM_TAG_REFERENCE owns one reference; who takes the object takes that. All of this needs
 * the GIL, and no value is seen half written, since nothing here lets go of it in between.
 */
#ifndef FM_REFERENCE_H
#define FM_REFERENCE_H

#include "engine.h"

void fm_reference_store(struct fm_value *value, PyObject *object);

/* Moves the reference out of the value. */
PyObject *fm_reference_take(struct fm_value *value);

/* Releases what the ring holds: nobody will ask for it. */
void fm_reference_drop_all(struct fm_engine *engine);

/* tp_traverse for what the ring holds. */
int fm_reference_visit_all(const struct fm_engine *engine, visitproc visit, void *arg);

#endif
