/* What becomes of the items that a dead worker was running.
 *
 * Called by the monitor's thread alone, for workers that have ended, whose slots nobody else writes.
 * It keeps count of how often each item in flight has been lost.
 */
#ifndef FM_RECOVERY_H
#define FM_RECOVERY_H

#include "board.h"

struct fm_loss {
    uint64_t item;
    uint64_t count;
};

struct fm_recovery {
    struct fm_board *board;
    struct fm_heap *heap;   /* this process's */
    uint64_t retries;       /* how often an item may be run again */
    struct fm_loss *losses; /* of the item in each slot; NULL without retries */
};

/* 0 or -ENOMEM. */
int fm_recovery_init(struct fm_recovery *recovery, struct fm_board *board, struct fm_heap *heap,
                     uint64_t retries);
void fm_recovery_fini(struct fm_recovery *recovery);

/* Leaves the worker's items to its successor, or completes them with `crash` where they have been
 * lost too often. */
void fm_recovery_settle(struct fm_recovery *recovery, unsigned worker,
                        const struct fm_value *crash);

/* The same for a worker that ended itself because of one item, whose stack it left: that one is
 * overdue, unless it was done just then, and the others, which did nothing wrong, may be claimed by
 * anybody. */
void fm_recovery_settle_overdue(struct fm_recovery *recovery, unsigned worker);

/* There will be no successor: completes what was left to it. */
void fm_recovery_abandon(struct fm_recovery *recovery, unsigned worker,
                         const struct fm_value *crash);

/* Whether a successor would have anything to do. */
bool fm_recovery_has_work(const struct fm_recovery *recovery, unsigned worker);

#endif
