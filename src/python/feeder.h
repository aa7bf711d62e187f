/* The thread of the parent that reads the caller's iterators and feeds the ring.
 *
 * It holds the GIL while it reads and encodes, and gives it up while it waits for room. A thread
 * that waits for the GIL while the feeder is busy would get it only at the end of a switch interval;
 * fm_feeder_take_gil lets the feeder know, and it makes way.
 *
 * Only in the caller's iterator can the feeder be stuck. It then outlives the job's end, touches
 * nothing of the ring any more, and lets go of the job when the iterator returns.
 */
#ifndef FM_FEEDER_H
#define FM_FEEDER_H

#include "job.h"

/* -1 with an exception. */
int fm_feeder_start(struct fm_job *job);

/* Nanoseconds that the end of the job still waits for the feeder, from the first call on; 0 once it
 * has ended. The consumer is rung when it ends. */
int64_t fm_feeder_grace_left(struct fm_job *job);

/* Waits, without the GIL, until the feeder has ended, but not for ever. */
void fm_feeder_wait(struct fm_job *job);

/* In place of PyEval_RestoreThread, for the consumer. */
void fm_feeder_take_gil(struct fm_job *job, PyThreadState *thread);

/* Makes way for the consumer, if it wants the GIL. For local threads too. */
void fm_feeder_make_way(struct fm_job *job);

/* Makes way for whoever has asked for the GIL, if it was taken long ago. For threads that may run no
 * byte code, which would do that, where other threads of the map need the GIL. */
void fm_feeder_share_gil(int64_t now, int64_t *taken);

#endif
