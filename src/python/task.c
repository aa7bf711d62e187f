#include "task.h"

#include "codec.h"
#include "errors.h"
#include "view.h"

/* More arguments than this take an allocation. */
#define FEW_ARGUMENTS 8

/* With the input inherited; one place is left free in front, as vectorcall likes it. */
static PyObject *
call_inherited(struct fm_job *job, uint64_t item, PyObject **subject)
{
    PyObject *few[FEW_ARGUMENTS + 1];
    PyObject **arguments = few;
    Py_ssize_t count = job->source.count;
    PyObject *result = NULL;
    if (count > FEW_ARGUMENTS) {
        arguments = PyMem_Calloc((size_t)count + 1, sizeof *arguments);
        if (arguments == NULL) {
            return PyErr_NoMemory();
        }
    }
    uint64_t number = fm_slots_number(&job->engine->board.slots, item);
    if (fm_source_get(&job->source, number, arguments + 1) == 0) {
        size_t flagged = (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET;
        result = fm_call_item(&job->call, arguments + 1, flagged);
        /* A coroutine may still fail. */
        bool may_need = result == NULL || job->runs_coroutines;
        *subject = may_need ? Py_NewRef(arguments[1]) : NULL;
        for (Py_ssize_t i = 1; i <= count; i++) {
            Py_DECREF(arguments[i]);
        }
    }
    if (arguments != few) {
        PyMem_Free(arguments);
    }
    return result;
}

/* A kept array goes on using the block that its bytes arrived in; then the consumer must not give
 * it back. */
static void
settle_root(struct fm_argument *argument, PyObject *root)
{
    if (root == NULL) {
        return;
    }
    if (Py_REFCNT(root) > 1) {
        fm_view_own(root);
        argument->value.form = FM_FORM_INLINE;
    }
    Py_DECREF(root);
}

static PyObject *
call_fed(struct fm_worker *worker, uint64_t item, PyObject **subject, PyObject **root)
{
    struct fm_job *job = worker->job;
    struct fm_argument *argument = fm_slots_argument(&worker->engine->board.slots, item);
    PyObject *object = fm_codec_decode(job->state, worker->engine, &argument->value, false, root);
    if (object == NULL) {
        return NULL;
    }
    *subject = object;
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

PyObject *
fm_task_call(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    *task = (struct fm_task){0};
    if (worker->initializer_error != NULL) {
        fm_errors_raise(Py_NewRef(worker->initializer_error));
        return NULL;
    }
    return worker->job->source.inherited ? call_inherited(worker->job, item, &task->subject)
                                         : call_fed(worker, item, &task->subject, &task->root);
}

bool
fm_task_store(struct fm_worker *worker, uint64_t item, const struct fm_task *task, PyObject *result)
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

void
fm_task_end(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    Py_CLEAR(task->subject);
    if (!worker->job->source.inherited) {
        settle_root(fm_slots_argument(&worker->engine->board.slots, item), task->root);
    }
}

bool
fm_task_run(struct fm_worker *worker, uint64_t item)
{
    struct fm_task task;
    PyObject *result = fm_task_call(worker, item, &task);
    if (worker->engine->is_local && fm_engine_is_foreign(worker->engine)) {
        return false; /* The callable has forked, and this is the child, whose ring it isn't. */
    }
    bool stored = fm_task_store(worker, item, &task, result);
    Py_XDECREF(result);
    fm_task_end(worker, item, &task);
    return stored;
}
