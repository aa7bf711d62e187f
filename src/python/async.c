#include "async.h"

#include "compat.h"
#include "errors.h"
#include "feeder.h"
#include "generator.h"
#include "local.h"

#include <structmember.h>

/* For how long results may be taken before the loop has a turn, so that its other tasks run. */
#define TURN (5 * FM_MILLISECOND)

/* ---- the steps of the coroutines in _async.py ---- */

static PyObject *
make_wait(const struct fm_generator *self, int64_t most)
{
    int fd = self->consumer.job->engine->board.slots.consumer_fd;
    return Py_BuildValue("(id)", fd, (double)most / (double)FM_SECOND);
}

PyObject *
fm_async_arm(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_generator *self = (struct fm_generator *)object;
    self->started = true;
    if (self->consumer.job == NULL || !fm_consumer_arm(&self->consumer)) {
        Py_RETURN_NONE;
    }
    if (self->progress.show == NULL) {
        return make_wait(self, 0);
    }
    if (fm_progress_update(&self->progress, &self->consumer) < 0) {
        return NULL;
    }
    int64_t left = self->progress.due - fm_clock_now();
    return make_wait(self, left > 0 ? left : 1);
}

PyObject *
fm_async_end(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_generator *self = (struct fm_generator *)object;
    struct fm_job *job = self->consumer.job;
    if (job == NULL || job->engine == NULL || fm_engine_is_foreign(job->engine)) {
        Py_RETURN_NONE;
    }
    fm_slots_arm_consumer_fd(&job->engine->board.slots, FM_NOBODY);
    if (!self->ending) {
        self->ending = true;
        fm_generator_begin_end(self);
    }
    if (!fm_engine_is_over(job->engine)) {
        return make_wait(self, 0);
    }
    int64_t left = fm_feeder_grace_left(job);
    left = left > 0 ? left : fm_local_grace_left(job);
    if (left > 0) {
        return make_wait(self, left);
    }
    Py_RETURN_NONE;
}

/* What would end the caller's loop as if all were done, as PEP 525 has it. */
static void
convert_stop(const char *who)
{
    if (!PyErr_ExceptionMatches(PyExc_StopAsyncIteration)) {
        return;
    }
    PyObject *cause = fm_compat_take_exception();
    PyErr_Format(PyExc_RuntimeError, "%s raised StopAsyncIteration", who);
    PyObject *error = fm_compat_take_exception();
    PyException_SetCause(error, cause);
    fm_errors_raise(error);
}

static void
raise_end(struct fm_job *job)
{
    fm_job_raise_input_error(job);
    if (PyErr_Occurred()) {
        convert_stop("an iterable");
    } else {
        PyErr_SetNone(PyExc_StopAsyncIteration);
    }
}

PyObject *
fm_async_take(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_generator *self = (struct fm_generator *)object;
    PyObject *result = NULL;
    if (self->consumer.job == NULL) {
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return NULL;
    }
    self->started = true;
    switch (fm_consumer_take(&self->consumer, 0, &result)) {
    case FM_TAKEN_RESULT:
        break;
    case FM_TAKEN_END:
        raise_end(self->consumer.job);
        break;
    case FM_TAKEN_ERROR:
        convert_stop("fn");
        break;
    case FM_TAKEN_TIMEOUT:
        PyErr_SetString(PyExc_RuntimeError, "result was taken before it was there");
        break;
    }
    if (result != NULL && fm_progress_update(&self->progress, &self->consumer) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

PyObject *
fm_async_finish(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    fm_generator_finish((struct fm_generator *)object);
    Py_RETURN_NONE;
}

/* ---- awaitables ---- */

enum status { NEW, RUNNING, OVER };

struct awaitable {
    PyObject_HEAD
    struct fm_generator *generator;
    const char *begin;   /* the function of _async.py that makes the coroutine */
    PyObject *coroutine; /* while it runs */
    enum status status;
    bool wants_result;
};

/* Lets others into the map. */
static void
end(struct awaitable *self)
{
    bool was_running = self->status == RUNNING;
    self->status = OVER;
    /* If it was left in the middle it closes the map now. */
    Py_CLEAR(self->coroutine);
    if (was_running) {
        self->generator->executing = false;
    }
}

/* The next result if it is there and the loop needs no turn now. NULL also with an exception. */
static PyObject *
take_at_once(struct fm_generator *generator)
{
    const struct fm_job *job = generator->consumer.job;
    if (generator->executing || job == NULL || job->engine == NULL
        || !fm_consumer_is_ready(&generator->consumer) || fm_clock_now() >= generator->turn_over) {
        return NULL;
    }
    return fm_async_take((PyObject *)generator, NULL);
}

/* With an exception set, the coroutine ends the map and raises it then. */
static PyObject *
make_coroutine(struct awaitable *self)
{
    PyObject *error = fm_compat_take_exception();
    PyObject *module = PyImport_ImportModule("fast_map._async");
    PyObject *coroutine = NULL;
    if (module != NULL && error != NULL) {
        coroutine = PyObject_CallMethod(module, "fail", "OO", self->generator, error);
    } else if (module != NULL) {
        coroutine = PyObject_CallMethod(module, self->begin, "O", self->generator);
    }
    Py_XDECREF(module);
    Py_XDECREF(error);
    return coroutine;
}

static int
begin(struct awaitable *self)
{
    if (self->generator->executing) {
        PyErr_Format(PyExc_RuntimeError, "%s(): the map is in use by another task or thread",
                     self->wants_result ? "anext" : "aclose");
        return -1;
    }
    self->coroutine = make_coroutine(self);
    if (self->coroutine == NULL) {
        return -1;
    }
    self->status = RUNNING;
    self->generator->executing = true;
    return 0;
}

static int
check_not_over(const struct awaitable *self)
{
    if (self->status == OVER) {
        PyErr_SetString(PyExc_RuntimeError, "cannot await the same step of a map twice");
        return -1;
    }
    return 0;
}

static PySendResult
advance(PyObject *object, PyObject *value, PyObject **result)
{
    struct awaitable *self = (struct awaitable *)object;
    *result = NULL;
    if (check_not_over(self) < 0) {
        return PYGEN_ERROR;
    }
    if (self->status == NEW) {
        *result = self->wants_result ? take_at_once(self->generator) : NULL;
        if (*result != NULL || begin(self) < 0) {
            end(self);
            return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
        }
    }
    PySendResult sent = PyIter_Send(self->coroutine, value, result);
    if (sent != PYGEN_NEXT) {
        self->generator->turn_over = fm_clock_now() + TURN;
        end(self);
    }
    return sent;
}

/* As generators have it: a result is the value of StopIteration. */
static PyObject *
awaitable_send(PyObject *object, PyObject *value)
{
    PyObject *result;
    if (advance(object, value, &result) != PYGEN_RETURN) {
        return result;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *
awaitable_iternext(PyObject *object)
{
    return awaitable_send(object, Py_None);
}

/* Calls a method of the coroutine that ends it, or wants to. */
static PyObject *
call_coroutine(struct awaitable *self, const char *name, PyObject *arguments)
{
    PyObject *method = PyObject_GetAttrString(self->coroutine, name);
    PyObject *result = method != NULL ? PyObject_CallObject(method, arguments) : NULL;
    Py_XDECREF(method);
    return result;
}

static PyObject *
awaitable_throw(PyObject *object, PyObject *arguments)
{
    struct awaitable *self = (struct awaitable *)object;
    if (check_not_over(self) < 0) {
        return NULL;
    }
    if (self->status == NEW) {
        /* It has not begun: raises what is thrown, and does nothing. */
        self->coroutine = make_coroutine(self);
    }
    PyObject *result = self->coroutine != NULL ? call_coroutine(self, "throw", arguments) : NULL;
    if (result == NULL) {
        end(self);
    }
    return result;
}

static PyObject *
awaitable_close(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct awaitable *self = (struct awaitable *)object;
    PyObject *result = self->status == RUNNING ? call_coroutine(self, "close", NULL)
                                               : Py_NewRef(Py_None);
    end(self);
    return result;
}

static int
traverse(PyObject *object, visitproc visit, void *arg)
{
    struct awaitable *self = (struct awaitable *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->generator);
    Py_VISIT(self->coroutine);
    return 0;
}

static int
clear(PyObject *object)
{
    end((struct awaitable *)object);
    return 0;
}

static void
dealloc(PyObject *object)
{
    struct awaitable *self = (struct awaitable *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    end(self);
    Py_CLEAR(self->generator);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"send", awaitable_send, METH_O, NULL},
    {"throw", awaitable_throw, METH_VARARGS, NULL},
    {"close", awaitable_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, awaitable_iternext},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, advance},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec fm_awaitable_spec = {
    .name = "fast_map._core.Awaitable",
    .basicsize = sizeof(struct awaitable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION
             | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

/* ---- the methods of FastMap ---- */

static PyObject *
make_awaitable(PyObject *generator, const char *begin_function, bool wants_result)
{
    struct fm_state *state = PyType_GetModuleState(Py_TYPE(generator));
    struct awaitable *self =
        (struct awaitable *)state->awaitable_type->tp_alloc(state->awaitable_type, 0);
    if (self != NULL) {
        self->generator = (struct fm_generator *)Py_NewRef(generator);
        self->begin = begin_function;
        self->wants_result = wants_result;
    }
    return (PyObject *)self;
}

PyObject *
fm_async_next(PyObject *generator)
{
    return make_awaitable(generator, "take", true);
}

PyObject *
fm_async_close(PyObject *generator, PyObject *Py_UNUSED(ignored))
{
    return make_awaitable(generator, "end", false);
}

PyObject *
fm_async_enter(PyObject *generator, PyObject *Py_UNUSED(ignored))
{
    PyObject *module = PyImport_ImportModule("fast_map._async");
    PyObject *coroutine = module != NULL ? PyObject_CallMethod(module, "enter", "O", generator)
                                         : NULL;
    Py_XDECREF(module);
    return coroutine;
}

PyObject *
fm_async_leave(PyObject *generator, PyObject *Py_UNUSED(ignored))
{
    return fm_async_close(generator, NULL);
}
