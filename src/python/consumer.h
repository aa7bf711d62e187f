/* The reading end of a job: waits for results and takes them, in order or as they come.
 *
 * One thread at a time, with the GIL, which is released for as long as it sleeps.
 */
#ifndef FM_CONSUMER_H
#define FM_CONSUMER_H

#include "job.h"

#define FM_NO_DEADLINE INT64_MAX

struct fm_consumer {
    struct fm_job *job; /* NULL once it is finished; the reference is the owner's */
    uint64_t taken;     /* results so far */
    uint64_t position;  /* of the next one in the ring, as soon as it is known */
    struct fm_moderation moderation;
    struct fm_sampler sampler;
    struct fm_stats_record stats; /* of the consumer's thread */
};

/* What asking for the next result came to. */
enum fm_taken {
    FM_TAKEN_RESULT,
    FM_TAKEN_END,    /* of the input, or the job was ended */
    FM_TAKEN_ERROR,  /* with an exception, after which there are no more results */
    FM_TAKEN_TIMEOUT /* and nothing is lost */
};

/* For one that waits in an event loop: asks for slots.consumer_fd to become readable when it is worth
 * looking again. False if it already is: then fm_consumer_take does not wait. */
bool fm_consumer_arm(struct fm_consumer *consumer);

/* Whether a result can be taken without waiting; of a job that has an engine, in its process. */
bool fm_consumer_is_ready(struct fm_consumer *consumer);

/* Items that are finished, taken or not. */
uint64_t fm_consumer_count_finished(struct fm_consumer *consumer);

/* Waits until `deadline` (fm_clock_now) for the next item, and takes its result. */
enum fm_taken fm_consumer_take(struct fm_consumer *consumer, int64_t deadline, PyObject **result);

#endif
