#include "task.h"

#include "codec.h"
#include "errors.h"
#include "view.h"

/* More arguments than this take an allocation. */
#define FEW_ARGUMENTS 8

/* One place is left free in front, as vectorcall likes it. What it returns without an error may still
 * fail if it is a coroutine. */
static PyObject *
call_with_one(const struct fm_job *job, uint64_t number, PyObject **subject)
{
    PyObject *arguments[2] = {NULL, fm_source_get(&job->source, 0, number)};
    if (arguments[1] == NULL) {
        return NULL;
    }
    PyObject *result = fm_call_item(&job->call, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
    if (result == NULL || job->runs_coroutines) {
        *subject = arguments[1];
    } else {
        Py_DECREF(arguments[1]);
    }
    return result;
}

static PyObject *
call_with_all(const struct fm_job *job, uint64_t number, PyObject **arguments, PyObject **subject)
{
    PyObject *result = NULL;
    Py_ssize_t count = job->source.count;
    Py_ssize_t got = 0;
    while (got < count && (arguments[got] = fm_source_get(&job->source, got, number)) != NULL) {
        got++;
    }
    if (got == count) {
        size_t flagged = (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET;
        result = fm_call_item(&job->call, arguments, flagged);
        bool may_need = result == NULL || job->runs_coroutines;
        *subject = may_need ? Py_NewRef(arguments[0]) : NULL;
    }
    while (got > 0) {
        Py_DECREF(arguments[--got]);
    }
    return result;
}

static PyObject *
call_with_several(const struct fm_job *job, uint64_t number, PyObject **subject)
{
    PyObject *few[FEW_ARGUMENTS + 1];
    if (job->source.count <= FEW_ARGUMENTS) {
        return call_with_all(job, number, few + 1, subject);
    }
    PyObject **many = PyMem_Calloc((size_t)job->source.count + 1, sizeof *many);
    if (many == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *result = call_with_all(job, number, many + 1, subject);
    PyMem_Free(many);
    return result;
}

/* With the input inherited. */
static PyObject *
call_inherited(const struct fm_job *job, uint64_t item, PyObject **subject)
{
    uint64_t number = fm_slots_number(&job->engine->board.slots, item);
    return job->source.count == 1 ? call_with_one(job, number, subject)
                                  : call_with_several(job, number, subject);
}

/* A kept array goes on using the block that its bytes arrived in; then the consumer must not give
 * it back. */
static void
settle_root(struct fm_argument *argument, PyObject *root)
{
    if (Py_REFCNT(root) > 1) {
        fm_view_own(root);
        argument->value.form = FM_FORM_INLINE;
    }
    Py_DECREF(root);
}

static PyObject *
call_fed(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    struct fm_job *job = worker->job;
    struct fm_argument *argument = fm_slots_argument(&worker->engine->board.slots, item);
    PyObject *object =
        fm_codec_decode(job->state, worker->engine, &argument->value, false, &task->root);
    if (object == NULL) {
        return NULL;
    }
    task->subject = object;
    if (task->timed) {
        task->decoded = fm_clock_now();
    }
    if (job->source.count > 1) {
        return fm_call_item(&job->call, &PyTuple_GET_ITEM(object, 0), (size_t)job->source.count);
    }
    PyObject *arguments[] = {NULL, object};
    return fm_call_item(&job->call, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
}

static bool
store_error(struct fm_worker *worker, uint64_t item, enum fm_stage stage, PyObject *subject)
{
    struct fm_value *value = &fm_slots_at(&worker->engine->board.slots, item)->value;
    return fm_errors_store(worker->job->state, worker->engine, item, stage, subject, value);
}

/* Where an item that has no result got to. */
static enum fm_stage
failed_stage(const struct fm_worker *worker, const struct fm_task *task)
{
    if (worker->initializer_error != NULL) {
        return FM_STAGE_INITIALIZE;
    }
    return task->subject == NULL ? FM_STAGE_READ_ARGUMENT : FM_STAGE_CALL;
}

/* fm_task_run, which is called for each item, has its parts inline. */

static inline PyObject *
call(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    if (worker->initializer_error != NULL) {
        fm_errors_raise(Py_NewRef(worker->initializer_error));
        return NULL;
    }
    return worker->job->source.inherited ? call_inherited(worker->job, item, &task->subject)
                                         : call_fed(worker, item, task);
}

static inline bool
store(struct fm_worker *worker, uint64_t item, const struct fm_task *task, PyObject *result)
{
    struct fm_value *value = &fm_slots_at(&worker->engine->board.slots, item)->value;
    if (result == NULL) {
        return store_error(worker, item, failed_stage(worker, task), task->subject);
    }
    value->outcome = FM_OUTCOME_RESULT;
    enum fm_encode_result encoded =
        fm_codec_encode(worker->job->state, worker->engine, item, result, value);
    if (encoded == FM_ENCODE_FAILED) {
        return store_error(worker, item, FM_STAGE_SEND_RESULT, result);
    }
    return encoded == FM_ENCODE_DONE;
}

static inline void
end(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    Py_CLEAR(task->subject);
    if (task->root != NULL) {
        settle_root(fm_slots_argument(&worker->engine->board.slots, item), task->root);
    }
}

PyObject *
fm_task_call(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    *task = (struct fm_task){0};
    return call(worker, item, task);
}

bool
fm_task_store(struct fm_worker *worker, uint64_t item, const struct fm_task *task, PyObject *result)
{
    return store(worker, item, task, result);
}

void
fm_task_end(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    end(worker, item, task);
}

static void
note_times(struct fm_pool_thread *thread, const struct fm_task *task, int64_t begun, int64_t called,
           uint64_t room_before)
{
    int64_t now = fm_clock_now();
    int64_t decoded = task->decoded > 0 ? task->decoded : begun;
    uint64_t room = fm_load_relaxed(&thread->stats->spent[FM_SPENT_ROOM]) - room_before;
    const int64_t spent[FM_SPENT_KINDS] = {
        [FM_SPENT_DECODE] = decoded - begun,
        [FM_SPENT_CALL] = called - decoded,
        [FM_SPENT_ENCODE] = now - called - (int64_t)room,
    };
    fm_sampler_spend(&thread->sampler, thread->stats, now, spent);
}

/* Inline for `timed` and for its contrary. */
static inline bool
run(struct fm_worker *worker, struct fm_pool_thread *thread, uint64_t item, bool timed)
{
    struct fm_task task = {.timed = timed};
    uint64_t room = timed ? fm_load_relaxed(&thread->stats->spent[FM_SPENT_ROOM]) : 0;
    int64_t begun = timed ? fm_clock_now() : 0;
    PyObject *result = call(worker, item, &task);
    if (worker->engine->is_local && fm_engine_is_foreign(worker->engine)) {
        return false; /* The callable has forked, and this is the child, whose ring it isn't. */
    }
    int64_t called = timed ? fm_clock_now() : 0;
    bool stored = store(worker, item, &task, result);
    Py_XDECREF(result);
    end(worker, item, &task);
    if (timed) {
        note_times(thread, &task, begun, called, room);
    }
    return stored;
}

bool
fm_task_run(struct fm_worker *worker, struct fm_pool_thread *thread, uint64_t item)
{
    return fm_sampler_is_due(&thread->sampler) ? run(worker, thread, item, true)
                                               : run(worker, thread, item, false);
}
