#include "feeder.h"

#include "codec.h"
#include "compat.h"
#include "errors.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

/* How long the end of a job waits for a feeder that stands in the caller's iterator. */
#define END_GRACE (50 * FM_MILLISECOND)

/* How long the feeder makes way for a thread that wants the GIL. */
#define YIELD_MOST FM_MILLISECOND

enum gil_wish { GIL_FREE, GIL_WANTED, GIL_YIELDED };

struct feeder {
    struct fm_job *job;
    struct fm_engine *engine;
    uint64_t published;
    struct fm_moderation moderation;
};

/* ---- the GIL's hand-over ---- */

void
fm_feeder_take_gil(struct fm_job *job, PyThreadState *thread)
{
    if (!job->feeder_started) {
        PyEval_RestoreThread(thread);
        return;
    }
    fm_store_seq_cst(&job->gil_wanted, GIL_WANTED);
    PyEval_RestoreThread(thread);
    if (fm_exchange_acquire(&job->gil_wanted, GIL_FREE) == GIL_YIELDED) {
        (void)fm_futex_wake(&job->gil_wanted, 1);
    }
}

static void
make_way(struct fm_job *job)
{
    uint32_t wish = GIL_WANTED;
    if (fm_load_relaxed(&job->gil_wanted) != GIL_WANTED
        || !fm_cas_seq_cst(&job->gil_wanted, &wish, GIL_YIELDED)) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS(void)
    fm_futex_wait(&job->gil_wanted, GIL_YIELDED, YIELD_MOST);
    Py_END_ALLOW_THREADS
}

/* ---- room in the ring ---- */

/* Sleeps until there is room; where the consumer is quick, until there is room for many. */
static void
wait_for_room(struct feeder *feeder)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    struct fm_doorbell *bell = &slots->shared->feeder;
    uint64_t buffersize = slots->shared->buffersize;
    uint64_t wanted = feeder->published - buffersize + feeder->moderation.gap;
    fm_slots_await_room(slots);
    uint32_t ticket = fm_doorbell_arm(bell, wanted);
    if (fm_slots_room(slots, feeder->published) > 0 || fm_load_acquire(&slots->shared->ended)) {
        fm_doorbell_disarm(bell);
    } else {
        int64_t timeout = feeder->moderation.gap > 1 ? FM_MODERATION_DELAY : FM_FOREVER;
        (void)fm_doorbell_wait(bell, ticket, timeout);
    }
    fm_slots_end_await_room(slots);
    if (fm_slots_room(slots, feeder->published) == 0) {
        fm_moderation_reset(&feeder->moderation);
    }
}

static void
get_room(struct feeder *feeder)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    while (fm_slots_room(slots, feeder->published) == 0 && !feeder->job->feeder_stop) {
        Py_BEGIN_ALLOW_THREADS
        wait_for_room(feeder);
        Py_END_ALLOW_THREADS
        uint64_t most = slots->shared->buffersize / 4;
        fm_moderation_update(&feeder->moderation, feeder->published, most > 0 ? most : 1);
    }
}

/* ---- items ---- */

static void
announce(struct feeder *feeder)
{
    feeder->published++;
    fm_slots_announce(&feeder->engine->board.slots, feeder->published);
    fm_board_call_workers(&feeder->engine->board, 1);
}

static void
publish(struct feeder *feeder)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    const struct fm_argument *argument = fm_slots_argument(slots, feeder->published);
    if (argument->value.form == FM_FORM_BLOCK) {
        feeder->job->has_argument_blocks = true;
    }
    fm_slots_publish(slots, feeder->published);
    announce(feeder);
}

/* The item's error takes the place of its result. */
static void
publish_error(struct feeder *feeder, PyObject *object)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    uint64_t item = feeder->published;
    fm_slots_argument(slots, item)->value.form = FM_FORM_INLINE;
    if (!fm_errors_store(feeder->job->state, feeder->engine, item, FM_STAGE_SEND_ARGUMENT, object,
                         &fm_slots_at(slots, item)->value)) {
        return;
    }
    fm_slots_publish_done(slots, item);
    announce(feeder);
    fm_slots_call_consumer(slots, item);
}

static void
feed(struct feeder *feeder, PyObject *object)
{
    struct fm_argument *argument =
        fm_slots_argument(&feeder->engine->board.slots, feeder->published);
    enum fm_encode_result result = fm_codec_encode(feeder->job->state, feeder->engine,
                                                   feeder->published, object, &argument->value);
    if (result == FM_ENCODE_DONE) {
        publish(feeder);
    } else if (result == FM_ENCODE_FAILED) {
        publish_error(feeder, object);
    }
}

/* Reads the input to its end, or until the job ends. */
static void
feed_all(struct feeder *feeder)
{
    struct fm_job *job = feeder->job;
    while (!job->feeder_stop && feeder->published < FM_MAX_ITEM) {
        get_room(feeder);
        make_way(job);
        if (job->feeder_stop) {
            return;
        }
        PyObject *object = fm_source_next(&job->source);
        if (object == NULL) {
            job->input_error = fm_compat_take_exception();
            break;
        }
        if (!job->feeder_stop) {
            feed(feeder, object);
        }
        Py_DECREF(object);
    }
    if (!job->feeder_stop) {
        fm_slots_finish(&feeder->engine->board.slots, feeder->published);
        fm_roster_call_all(&feeder->engine->board.roster);
        fm_slots_ring_consumer(&feeder->engine->board.slots);
    }
}

/* ---- the thread ---- */

static void *
run_feeder(void *argument)
{
    struct fm_job *job = argument;
    struct feeder feeder = {.job = job, .engine = job->engine};
    PyThreadState *thread = PyThreadState_New(PyInterpreterState_Main());
    PyEval_AcquireThread(thread);
    fm_moderation_init(&feeder.moderation);
    feed_all(&feeder);
    /* The iterators go here: closing a generator may need the thread that ran it. */
    fm_source_fini(&job->source);
    fm_store_release(&job->feeder_done, 1);
    (void)fm_futex_wake(&job->feeder_done, INT_MAX);
    fm_slots_ring_consumer(&feeder.engine->board.slots);
    fm_job_unref(job);
    PyThreadState_Clear(thread);
    PyThreadState_DeleteCurrent();
    return NULL;
}

int
fm_feeder_start(struct fm_job *job)
{
    pthread_t handle;
    int result = pthread_create(&handle, NULL, run_feeder, fm_job_ref(job));
    if (result != 0) {
        fm_job_unref(job);
        PyErr_Format(PyExc_RuntimeError,
                     "fast_map could not start a thread: %s (see the limit on processes and "
                     "threads, RLIMIT_NPROC)",
                     strerror(result));
        return -1;
    }
    (void)pthread_setname_np(handle, FM_FEEDER_NAME);
    (void)pthread_detach(handle);
    job->feeder_started = true;
    return 0;
}

int64_t
fm_feeder_grace_left(struct fm_job *job)
{
    /* Pairs with the release in run_feeder. */
    if (!job->feeder_started || fm_load_acquire(&job->feeder_done)) {
        return 0;
    }
    int64_t now = fm_clock_now();
    if (job->feeder_deadline == 0) {
        job->feeder_deadline = now + END_GRACE;
    }
    return job->feeder_deadline > now ? job->feeder_deadline - now : 0;
}

void
fm_feeder_wait(struct fm_job *job)
{
    int64_t left;
    while ((left = fm_feeder_grace_left(job)) > 0) {
        Py_BEGIN_ALLOW_THREADS(void)
        fm_futex_wait(&job->feeder_done, 0, left);
        Py_END_ALLOW_THREADS
    }
}
