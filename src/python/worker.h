/* A worker process: from the fork to _exit. */
#ifndef FM_WORKER_H
#define FM_WORKER_H

#include "job.h"
#include "pool.h"

struct fm_worker {
    struct fm_job *job;
    struct fm_engine *engine;
    unsigned number;
    PyInterpreterState *interpreter;
    PyThreadState *main_thread;
    PyObject
        *initializer_error;    /* what the initializer raised, every item's outcome then, or NULL */
    bool is_leaving;           /* no item ends any more, for what it uses may; with the GIL */
    int farewell_status;       /* written by the supervisor before it starts the farewell */
    uint32_t gil_probes_begun; /* is_hogged's threads so far; the supervisor's */
    fm_atomic_u32 gil_probes;  /* those of them that have had the GIL, counted by themselves */
    struct fm_pool pool;
    struct fm_coroutines *coroutines; /* NULL if the function is an ordinary one */
};

/* With the GIL, before any item of the process or, where threads of the caller's process work, of the
 * thread. */
void fm_worker_call_initializer(struct fm_worker *worker);

/* An fm_worker_main; the context is the job. */
_Noreturn void fm_worker_run(struct fm_engine *engine, unsigned number, void *context);

#endif
