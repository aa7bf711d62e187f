/* A progress bar's view of a map: tells a Python callable how many items are finished, also those that
 * nobody has taken yet, while the consumer works and while it waits.
 *
 * Everything here runs in the consumer's thread with the GIL.
 */
#ifndef FM_PROGRESS_H
#define FM_PROGRESS_H

#include "consumer.h"

struct fm_progress {
    PyObject *show; /* called with the count, and whether that was the last one; NULL for no bar */
    int64_t due;    /* when to call it next */
};

/* Shows the count if it is time for that; -1 with an exception of the callable. */
int fm_progress_update(struct fm_progress *progress, struct fm_consumer *consumer);

/* Shows the last count, and lets go of the callable. Called while the job is still there. */
void fm_progress_end(struct fm_progress *progress, struct fm_consumer *consumer);

/* fm_consumer_take for a map that has a bar, which moves on meanwhile. */
enum fm_taken fm_progress_take(struct fm_progress *progress, struct fm_consumer *consumer,
                               int64_t deadline, PyObject **result);

#endif
