/* Threads of this process in place of worker processes.
 *
 * They are a pool like a worker's (pool.h), by the same supervisor, and differ in how they end: one by
 * one, and a thread that is inside the callable can't be made to. It leaves when the callable returns;
 * until then it keeps the job. All of them together hold one reference to that, which the last one to
 * leave gives back.
 */
#ifndef FM_LOCAL_H
#define FM_LOCAL_H

#include "job.h"

/* Starts the threads; -1 with an exception. Either way the job is to be stopped. */
int fm_local_start(struct fm_job *job);

/* After fm_engine_stop, once: waits for all threads, but not for long for those inside the callable. */
void fm_local_stop(struct fm_job *job);

/* Nanoseconds after which to look again whether fm_local_stop would not wait; 0 if it would not. */
int64_t fm_local_grace_left(struct fm_job *job);

/* With the job, when all have left. NULL is allowed. */
void fm_local_free(struct fm_worker *local);

#endif
