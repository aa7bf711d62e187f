#include "feeder.h"

#include "codec.h"
#include "compat.h"
#include "context.h"
#include "errors.h"
#include "refusal.h"
#include "thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>

/* How long the feeder makes way for a thread that wants the GIL. */
#define YIELD_MOST FM_MILLISECOND

/* How long a thread may keep the GIL where no byte code makes it let go: CPython's own interval. */
#define GIL_MOST (5 * FM_MILLISECOND)

/* Items between two looks at the clock. */
#define CLOCK_STEP 64

enum gil_wish { GIL_FREE, GIL_WANTED, GIL_YIELDED };

struct feeder {
    struct fm_job *job;
    struct fm_engine *engine;
    uint64_t published; /* items */
    uint64_t position;  /* of the next one in the ring */
    int64_t gil_taken;
    struct fm_moderation moderation;
    struct fm_sampler sampler;
};

/* ---- the GIL's hand-over ---- */

void
fm_feeder_take_gil(struct fm_job *job, PyThreadState *thread)
{
    if (!job->feeder_started && job->local == NULL) {
        PyEval_RestoreThread(thread);
        return;
    }
    fm_store_seq_cst(&job->gil_wanted, GIL_WANTED);
    PyEval_RestoreThread(thread);
    if (fm_exchange_acquire(&job->gil_wanted, GIL_FREE) == GIL_YIELDED) {
        (void)fm_futex_wake(&job->gil_wanted, INT_MAX);
    }
}

void
fm_feeder_make_way(struct fm_job *job)
{
    uint32_t wish = fm_load_relaxed(&job->gil_wanted);
    if (wish == GIL_WANTED && fm_cas_seq_cst(&job->gil_wanted, &wish, GIL_YIELDED)) {
        wish = GIL_YIELDED;
    }
    /* Another thread of the map may have got the GIL that one yielded. */
    if (wish != GIL_YIELDED) {
        return;
    }
    Py_BEGIN_ALLOW_THREADS(void)
    fm_futex_wait(&job->gil_wanted, GIL_YIELDED, YIELD_MOST);
    Py_END_ALLOW_THREADS
}

void
fm_feeder_share_gil(int64_t now, int64_t *taken)
{
    if (now - *taken > GIL_MOST) {
        Py_BEGIN_ALLOW_THREADS
        Py_END_ALLOW_THREADS
        *taken = fm_clock_now();
    }
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
        fm_moderation_fail(&feeder->moderation);
    }
}

static void
get_room(struct feeder *feeder)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    while (fm_slots_room(slots, feeder->published) == 0 && !feeder->job->feeder_stop) {
        int64_t begun = fm_clock_now();
        Py_BEGIN_ALLOW_THREADS
        wait_for_room(feeder);
        Py_END_ALLOW_THREADS
        fm_stats_spend(&feeder->job->feeder_stats, FM_SPENT_ROOM, fm_clock_now() - begun);
        fm_sampler_restart(&feeder->sampler);
        uint64_t most = slots->shared->buffersize / 4;
        fm_moderation_update(&feeder->moderation, feeder->published, most > 0 ? most : 1);
    }
}

/* ---- items ---- */

/* Gives the next item its place in the ring. */
static void
place(struct feeder *feeder)
{
    struct fm_job *job = feeder->job;
    if (job->unordered) {
        feeder->position = fm_placement_place(&job->placement);
    }
    fm_slots_prefetch_to_publish(&feeder->engine->board.slots, feeder->position);
    fm_slots_argument(&feeder->engine->board.slots, feeder->position)->number = feeder->published;
}

static void
announce(struct feeder *feeder)
{
    feeder->published++;
    feeder->position++;
    fm_slots_announce(&feeder->engine->board.slots, feeder->position);
    fm_board_call_workers(&feeder->engine->board, 1);
}

static void
publish(struct feeder *feeder)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    const struct fm_argument *argument = fm_slots_argument(slots, feeder->position);
    if (argument->value.form == FM_FORM_BLOCK) {
        feeder->job->has_argument_blocks = true;
    }
    fm_stats_add(&feeder->job->feeder_stats.items, 1);
    fm_slots_publish(slots, feeder->position);
    announce(feeder);
}

/* The item's error takes the place of its result. */
static void
publish_error(struct feeder *feeder, PyObject *object)
{
    struct fm_slots *slots = &feeder->engine->board.slots;
    uint64_t item = feeder->position;
    fm_slots_argument(slots, item)->value.form = FM_FORM_INLINE;
    if (!fm_errors_store(feeder->job->state, feeder->engine, item, FM_STAGE_SEND_ARGUMENT, object,
                         &fm_slots_at(slots, item)->value)) {
        return;
    }
    fm_slots_publish_done(slots, item);
    announce(feeder);
    fm_slots_call_consumer(slots, fm_slots_awaited(slots, item));
}

static void
feed(struct feeder *feeder, PyObject *object)
{
    struct fm_argument *argument =
        fm_slots_argument(&feeder->engine->board.slots, feeder->position);
    enum fm_encode_result result = fm_codec_encode(feeder->job->state, feeder->engine,
                                                   feeder->position, object, &argument->value);
    if (result == FM_ENCODE_DONE) {
        fm_stats_add(&feeder->job->feeder_stats.bytes, fm_codec_size(&argument->value));
        publish(feeder);
    } else if (result == FM_ENCODE_FAILED) {
        publish_error(feeder, object);
    }
}

/* The workers have the input, and need no more than the item's number. */
static void
feed_number(struct feeder *feeder)
{
    place(feeder);
    fm_slots_argument(&feeder->engine->board.slots, feeder->position)->value.form = FM_FORM_INLINE;
    publish(feeder);
}

/* Reading and sending one item has taken from `begun` on; it was there at `got`. */
static void
note_times(struct feeder *feeder, int64_t begun, int64_t got, uint64_t room_before)
{
    struct fm_stats_record *record = &feeder->job->feeder_stats;
    int64_t now = fm_clock_now();
    uint64_t room = fm_load_relaxed(&record->spent[FM_SPENT_ROOM]) - room_before;
    const int64_t spent[FM_SPENT_KINDS] = {
        [FM_SPENT_CALL] = got - begun,
        [FM_SPENT_ENCODE] = now - got - (int64_t)room,
    };
    fm_sampler_spend(&feeder->sampler, record, now, spent);
}

/* False at the end of the input. */
static bool
feed_object(struct feeder *feeder)
{
    struct fm_job *job = feeder->job;
    bool timed = fm_sampler_is_due(&feeder->sampler);
    uint64_t room = fm_load_relaxed(&job->feeder_stats.spent[FM_SPENT_ROOM]);
    int64_t begun = timed ? fm_clock_now() : 0;
    PyObject *object = fm_source_next(&job->source);
    if (object == NULL) {
        job->input_error = fm_compat_take_exception();
        return false;
    }
    int64_t got = timed ? fm_clock_now() : 0;
    if (!job->feeder_stop) {
        place(feeder);
        feed(feeder, object);
    }
    Py_DECREF(object);
    if (timed) {
        note_times(feeder, begun, got, room);
    }
    return true;
}

static bool
feed_next(struct feeder *feeder)
{
    struct fm_job *job = feeder->job;
    if (!job->source.inherited) {
        return feed_object(feeder);
    }
    if (feeder->published == job->source.total) {
        return false;
    }
    feed_number(feeder);
    return true;
}

static void
end_input(struct fm_engine *engine, uint64_t positions)
{
    fm_slots_finish(&engine->board.slots, positions);
    fm_roster_call_all(&engine->board.roster);
    fm_slots_ring_consumer(&engine->board.slots);
}

/* Reads the input to its end, or until the job ends. */
static void
feed_all(struct feeder *feeder)
{
    struct fm_job *job = feeder->job;
    bool goes_on = true;
    while (goes_on && feeder->published < FM_MAX_ITEM) {
        get_room(feeder);
        fm_feeder_make_way(job);
        if (job->local != NULL && feeder->published % CLOCK_STEP == 0) {
            fm_feeder_share_gil(fm_clock_now(), &feeder->gil_taken);
        }
        if (job->feeder_stop) {
            return;
        }
        goes_on = feed_next(feeder);
    }
    if (!job->feeder_stop) {
        if (job->unordered) {
            fm_placement_finish(&job->placement, feeder->published);
        }
        end_input(feeder->engine, feeder->position);
    }
}

/* ---- the thread ---- */

static void
say_done(struct fm_job *job)
{
    fm_store_release(&job->feeder_done, 1);
    (void)fm_futex_wake(&job->feeder_done, INT_MAX);
}

/* Without memory for a thread state: the input ends at once, for a reason that the consumer has to
 * tell. The reference to the job goes in fm_feeder_wait, for that takes the GIL. */
static void
fail(struct fm_job *job)
{
    fm_store_relaxed(&job->feeder_failed, 1);
    end_input(job->engine, 0);
    say_done(job);
}

/* From here on signals are for others: one that came while the caller's thread blocks them to fork
 * would have its handler run in a fork hook, where what it raises is lost. */
static void
block_signals(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void *
run_feeder(void *argument)
{
    struct fm_job *job = argument;
    struct feeder feeder = {.job = job, .engine = job->engine};
    PyThreadState *thread = fm_context_new_thread_state(job->engine->board.slots.shared);
    if (thread == NULL) {
        fail(job);
        return NULL;
    }
    PyEval_AcquireThread(thread);
    fm_context_enter(job->state, job->context);
    fm_moderation_init(&feeder.moderation);
    job->engine->waiter_stats = &job->feeder_stats;
    feed_all(&feeder);
    /* The iterators go here: closing a generator may need the thread that ran it. What is inherited is
     * still read by local threads. */
    if (!job->source.inherited) {
        fm_source_fini(&job->source);
    }
    block_signals();
    say_done(job);
    fm_slots_ring_consumer(&job->engine->board.slots);
    struct fm_state *state = job->state;
    fm_job_unref(job);
    fm_context_delete_thread_state(state, thread);
    return NULL;
}

int
fm_feeder_start(struct fm_job *job)
{
    pthread_t handle;
    int result = fm_thread_create(&handle, PyThread_get_stacksize(), run_feeder, fm_job_ref(job));
    if (result < 0) {
        fm_job_unref(job);
        fm_refusal_raise(-result, "start a thread");
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
    /* Pairs with the release in say_done. */
    if (!job->feeder_started || fm_load_acquire(&job->feeder_done)) {
        return 0;
    }
    return fm_job_grace_left(job);
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
    if (fm_load_acquire(&job->feeder_done) != 0 && fm_load_relaxed(&job->feeder_failed) == 1) {
        fm_store_relaxed(&job->feeder_failed, 0);
        fm_job_unref(job);
    }
}
