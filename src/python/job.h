/* A job: one callable over one input, on one engine.
 *
 * Counted by reference, since the feeder may be stuck in the caller's iterator, and threads of this
 * process in the callable, when the generator that started the job is gone. Workers have it by the
 * fork.
 */
#ifndef FM_JOB_H
#define FM_JOB_H

#include "call.h"
#include "engine.h"
#include "placement.h"
#include "source.h"
#include "state.h"

struct fm_job_options {
    PyObject *function; /* borrowed, as are all here */
    PyObject *args;     /* tuple */
    PyObject *kwargs;   /* dict */
    int star;           /* enum fm_star */
    bool kwstar;
    PyObject *initializer;        /* or None */
    PyObject *initargs;           /* tuple */
    uint64_t threads_limit;       /* over all workers; 0: as many as the tasks can use */
    uint64_t procs_limit;         /* 0: one per usable CPU */
    uint64_t buffersize;          /* 0: the default */
    uint64_t buffer_bytes;        /* payload bytes in shared memory at once; 0: the default */
    uint64_t length;              /* of the input as far as known, else FM_UNKNOWN_TOTAL */
    uint64_t chunksize;           /* items that a thread takes at a time; 0: adaptive */
    uint64_t max_tasks_per_child; /* items after which a process is replaced; 0: never */
    uint64_t retries;             /* how often an item that was lost with its worker is run again */
    double task_timeout;          /* seconds that an item may run; 0: no limit */
    bool return_exceptions;       /* an item's error takes its place among the results */
    bool unordered;               /* results come as they are done */
    bool coroutines;              /* what the function returns is to be awaited */
    bool local;                   /* no workers, but threads of this process */
    bool remote;                  /* workers come from a fork server, and inherit nothing */
};

struct fm_worker;

struct fm_job {
    Py_ssize_t references; /* with the GIL */
    PyObject *module;      /* keeps `state` alive */
    struct fm_state *state;
    struct fm_call call;
    PyObject *initializer; /* called in each worker process before anything else; NULL for none */
    PyObject *initargs;    /* tuple */
    PyObject *context;     /* that threads of ours begin with; NULL: an empty one. context.h */
    struct fm_source source;
    struct fm_engine *engine; /* NULL if there is nothing to do */
    struct fm_worker *local;  /* local.h; NULL where processes work */
    uint64_t threads_limit;
    uint64_t chunksize;
    uint64_t max_tasks_per_child;
    double task_timeout;
    bool return_exceptions;
    bool unordered;
    bool runs_coroutines;          /* the callable is a coroutine function: coroutines.h */
    struct fm_placement placement; /* parent, if unordered */
    bool ended_at_exit;            /* of the interpreter; with the GIL */
    int64_t begun;                 /* when it was started */
    int64_t grace_end;             /* until when its end waits; 0: it has not begun. With the GIL */

    /* Fed input only; all with the GIL. */
    PyObject *input_error;    /* what the iterator raised, to be raised after the last item */
    bool has_argument_blocks; /* some argument took a block, which the consumer gives back */
    bool feeder_started;
    bool feeder_stop; /* the feeder shall end */
    struct fm_stats_record feeder_stats;

    /* Handshakes between the feeder and threads that want the GIL or the feeder's end; they are
     * private to the parent. See feeder.h. */
    fm_atomic_u32 gil_wanted;
    fm_atomic_u32 feeder_done;
    fm_atomic_u32 feeder_failed; /* it had no memory to begin with; set before the input's end */
};

/* Takes the input and starts the workers and the feeder. NULL with an exception. */
struct fm_job *fm_job_new(PyObject *module, PyObject *iterables,
                          const struct fm_job_options *options);

/* In the nursery of a fork server: serves the job that a parent's fm_job_new describes by `recipe`,
 * on the engine that it made. `ready_fd` is written to, and closed, when all is well. Returns only
 * with an exception. */
void fm_job_serve(PyObject *module, PyObject *payload, PyObject *recipe,
                  const struct fm_engine_fds *fds, int ready_fd);

static inline struct fm_job *
fm_job_ref(struct fm_job *job)
{
    job->references++;
    return job;
}

void fm_job_unref(struct fm_job *job);

/* Ends workers and feeder; waits for the workers, and for the feeder as long as it does not stand
 * in the caller's iterator, nor local threads in the callable. */
void fm_job_stop(struct fm_job *job);

/* Asks for the same and doesn't wait. */
void fm_job_begin_stop(struct fm_job *job);

/* Nanoseconds that the end of the job still waits for threads that may be in code of the caller's,
 * from the first call on. */
int64_t fm_job_grace_left(struct fm_job *job);

/* For the files of the job. */
struct fm_job *fm_job_allocate(PyObject *module);
void fm_job_set_initializer(struct fm_job *job, PyObject *initializer, PyObject *initargs);
int fm_job_start_remote(struct fm_job *job, const struct fm_board_options *board,
                        const struct fm_job_options *options);

/* The input has ended: raises what its iterator did, if that was the reason. */
void fm_job_raise_input_error(struct fm_job *job);

/* Worker: threads that worker `worker` may have. */
unsigned fm_job_threads_of(const struct fm_job *job, unsigned worker);

#endif
