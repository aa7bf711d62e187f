/* A job: one callable over one input, on one engine.
 *
 * Counted by reference, since the feeder may be stuck in the caller's iterator when the generator
 * that started the job is gone. The workers have it by the fork.
 */
#ifndef FM_JOB_H
#define FM_JOB_H

#include "engine.h"
#include "source.h"
#include "state.h"

struct fm_job_options {
    uint64_t threads_limit; /* over all workers; 0: as many as the tasks can use */
    uint64_t procs_limit;   /* 0: one per usable CPU */
    uint64_t buffersize;    /* 0: the default */
    uint64_t buffer_bytes;  /* payload bytes in shared memory at once; 0: the default */
    uint64_t length;        /* of the input as far as known, else FM_UNKNOWN_TOTAL */
    uint64_t retries;       /* how often an item that was lost with its worker is run again */
    double task_timeout;    /* seconds that an item may run; 0: no limit */
    bool return_exceptions; /* an item's error takes its place among the results */
    bool remote;            /* workers come from a fork server, and inherit nothing */
};

struct fm_job {
    Py_ssize_t references; /* with the GIL */
    PyObject *module;      /* keeps `state` alive */
    struct fm_state *state;
    PyObject *function;
    struct fm_source source;
    struct fm_engine *engine; /* NULL if there is nothing to do */
    uint64_t threads_limit;
    double task_timeout;
    bool return_exceptions;

    /* Fed input only; all with the GIL. */
    PyObject *input_error;    /* what the iterator raised, to be raised after the last item */
    bool has_argument_blocks; /* some argument took a block, which the consumer gives back */
    bool feeder_started;
    bool feeder_stop;        /* the feeder shall end */
    int64_t feeder_deadline; /* until when the job's end waits for it; 0: not yet known */

    /* Handshakes between the feeder and threads that want the GIL or the feeder's end; they are
     * private to the parent. See feeder.h. */
    fm_atomic_u32 gil_wanted;
    fm_atomic_u32 feeder_done;
};

/* Takes the input and starts the workers and the feeder. NULL with an exception. */
struct fm_job *fm_job_new(PyObject *module, PyObject *function, PyObject *iterables,
                          const struct fm_job_options *options);

/* In the nursery of a fork server: serves the job that a parent's fm_job_new describes by `recipe`,
 * on the engine that it made. `ready_fd` is written to, and closed, when all is well. Returns only
 * with an exception. */
void fm_job_serve(PyObject *module, PyObject *function, PyObject *recipe,
                  const struct fm_engine_fds *fds, int ready_fd);

static inline struct fm_job *
fm_job_ref(struct fm_job *job)
{
    job->references++;
    return job;
}

void fm_job_unref(struct fm_job *job);

/* Ends workers and feeder; waits for the workers, and for the feeder as long as it does not stand
 * in the caller's iterator. */
void fm_job_stop(struct fm_job *job);

/* Asks for the same and doesn't wait. */
void fm_job_begin_stop(struct fm_job *job);

/* Worker: threads that worker `worker` may have. */
unsigned fm_job_threads_of(const struct fm_job *job, unsigned worker);

#endif
