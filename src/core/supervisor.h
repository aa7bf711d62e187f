/* The thread of a worker process that watches over it and never runs items (see pool.h). */
#ifndef FM_SUPERVISOR_H
#define FM_SUPERVISOR_H

#include "pool.h"

/* How long a worker may take for its farewell before it is ended without. */
#define FM_LEAVE_GRACE_MS 100

/* Exit statuses of a worker that ends by itself. */
#define FM_EXIT_ORPHANED 70 /* its parent has died, or become another program */
#define FM_EXIT_OVERDUE 72  /* an item ran for too long; see fm_last_words */
#define FM_EXIT_SPENT 73    /* it has run as many items as it may */

/* Starts it, once, after fm_pool_init; 0 or -errno. It ends with the process or, if the pool is local,
 * when that is closing. Otherwise the caller's thread bears the supervisor's name afterwards: a thread
 * begins with its creator's, and one that names another does so by way of /proc, which makes the end of
 * the process cost more, for what was looked up of it there has to be forgotten. */
int fm_supervisor_start(struct fm_pool *pool);

/* Local: waits for its end, which is at once when the ring has ended. */
void fm_supervisor_join(struct fm_pool *pool);

#endif
