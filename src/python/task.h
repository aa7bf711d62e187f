/* One item: from its argument to its result in the slot. */
#ifndef FM_TASK_H
#define FM_TASK_H

#include "worker.h"

/* Runs the item that the calling thread has claimed, with the GIL, and leaves its outcome in its
 * slot. False if the job has ended meanwhile, and the slot is as it was. */
bool fm_task_run(struct fm_worker *worker, uint64_t item);

#endif
