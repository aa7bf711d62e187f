/* What FastMap.stats() tells: the counters of a map (stats.h) as Python numbers.
 *
 * While the map runs they are read where its workers write them; when it ends they are copied, since
 * the shared memory goes. All with the GIL.
 */
#ifndef FM_ACCOUNT_H
#define FM_ACCOUNT_H

#include "consumer.h"

/* Of a map that has ended. Zeroed: of one that never ran. */
struct fm_account {
    bool is_local;
    unsigned workers;
    uint64_t threads_limit;
    int64_t elapsed; /* ns */
    struct fm_stats_record consumer;
    struct fm_stats_record feeder;
    bool was_fed;
    struct fm_stats *of_workers; /* NULL if there is no memory for it */
};

/* Copies the counters of a job that has just been stopped. */
void fm_account_close(struct fm_account *account, const struct fm_consumer *consumer);
void fm_account_fini(struct fm_account *account);

/* The arguments of fast_map._stats.make_stats: of the running job or, where there is none, of the copy. */
PyObject *fm_account_read(const struct fm_account *account, const struct fm_consumer *consumer);

#endif
