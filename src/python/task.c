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
    if (fm_source_get(&job->source, item, arguments + 1) == 0) {
        size_t flags = (size_t)count | PY_VECTORCALL_ARGUMENTS_OFFSET;
        result = PyObject_Vectorcall(job->function, arguments + 1, flags, NULL);
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
    if (job->source.count == 1) {
        return PyObject_CallOneArg(job->function, object);
    }
    return PyObject_Call(job->function, object, NULL);
}

static bool
store_error(struct fm_worker *worker, uint64_t item, enum fm_stage stage, PyObject *subject)
{
    struct fm_value *value = &fm_slots_at(&worker->engine->board.slots, item)->value;
    return fm_errors_store(worker->job->state, worker->engine, item, stage, subject, value);
}

PyObject *
fm_task_call(struct fm_worker *worker, uint64_t item, struct fm_task *task)
{
    *task = (struct fm_task){0};
    return worker->job->source.inherited ? call_inherited(worker->job, item, &task->subject)
                                         : call_fed(worker, item, &task->subject, &task->root);
}

bool
fm_task_store(struct fm_worker *worker, uint64_t item, const struct fm_task *task, PyObject *result)
{
    struct fm_value *value = &fm_slots_at(&worker->engine->board.slots, item)->value;
    if (result == NULL) {
        /* Whether it got as far as the call. */
        enum fm_stage stage = task->subject == NULL ? FM_STAGE_READ_ARGUMENT : FM_STAGE_CALL;
        return store_error(worker, item, stage, task->subject);
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
    bool stored = fm_task_store(worker, item, &task, result);
    Py_XDECREF(result);
    fm_task_end(worker, item, &task);
    return stored;
}
