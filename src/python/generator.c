#include "generator.h"

#include "async.h"
#include "errors.h"
#include "reference.h"

#include <structmember.h>

/* ---- the end ---- */

/* A map that only this map's feeder reads would make it wait for results that nobody wants. */
static void
interrupt_inputs(struct fm_state *state, struct fm_job *job)
{
    PyObject *inputs = job->source.inherited ? NULL : job->source.inputs;
    for (Py_ssize_t i = 0; inputs != NULL && i < PyTuple_GET_SIZE(inputs); i++) {
        PyObject *input = PyTuple_GET_ITEM(inputs, i);
        struct fm_generator *inner = (struct fm_generator *)input;
        if (Py_IS_TYPE(input, state->generator_type) && Py_REFCNT(input) == 1 && inner->executing
            && inner->consumer.job != NULL) {
            interrupt_inputs(state, inner->consumer.job);
            inner->consumer.job->feeder_stop = true;
            fm_board_end(&inner->consumer.job->engine->board);
        }
    }
}

void
fm_generator_begin_end(struct fm_generator *self)
{
    interrupt_inputs(self->consumer.job->state, self->consumer.job);
    fm_job_begin_stop(self->consumer.job);
}

void
fm_generator_finish(struct fm_generator *self)
{
    struct fm_job *job = self->consumer.job;
    if (job == NULL) {
        return;
    }
    fm_progress_end(&self->progress, &self->consumer);
    struct fm_consumer ending = self->consumer;
    self->consumer.job = NULL;
    if (job->engine != NULL && !fm_engine_is_foreign(job->engine)) {
        job->feeder_stop = true;
        interrupt_inputs(job->state, job);
        fm_job_stop(job);
        if (job->local != NULL) {
            fm_reference_drop_all(job->engine);
        }
    }
    fm_account_close(&self->account, &ending);
    fm_job_unref(job);
}

/* ---- results ---- */

/* Ends the map, with the exception that is set if one is. */
static void
fail(struct fm_generator *self)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    fm_generator_finish(self);
    PyErr_Restore(type, value, traceback);
}

/* Past the last item: the end of the input, or what its iterator raised. */
static void
end_of_input(struct fm_generator *self)
{
    fm_job_raise_input_error(self->consumer.job);
    fail(self);
}

/* The next result; NULL without an exception at the end. */
static PyObject *
advance(struct fm_generator *self, int64_t deadline)
{
    PyObject *result = NULL;
    if (self->executing) {
        PyErr_SetString(PyExc_ValueError, "generator already executing");
        return NULL;
    }
    if (self->consumer.job == NULL) {
        return NULL;
    }
    self->started = true;
    self->executing = true;
    switch (self->progress.show == NULL
                ? fm_consumer_take(&self->consumer, deadline, &result)
                : fm_progress_take(&self->progress, &self->consumer, deadline, &result)) {
    case FM_TAKEN_RESULT:
        break;
    case FM_TAKEN_END:
        end_of_input(self);
        break;
    case FM_TAKEN_ERROR:
        fail(self);
        break;
    case FM_TAKEN_TIMEOUT:
        PyErr_Format(PyExc_TimeoutError, "result %llu is not there yet",
                     (unsigned long long)self->consumer.taken);
        break;
    }
    self->executing = false;
    return result;
}

/* ---- the generator protocol ---- */

static PyObject *
iternext(PyObject *object)
{
    return advance((struct fm_generator *)object, FM_NO_DEADLINE);
}

/* For methods: the end is an exception. */
static PyObject *
advance_or_stop(struct fm_generator *self, int64_t deadline)
{
    PyObject *result = advance(self, deadline);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

static PyObject *
generator_send(PyObject *object, PyObject *value)
{
    struct fm_generator *self = (struct fm_generator *)object;
    if (!self->started && self->consumer.job != NULL && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started generator");
        return NULL;
    }
    return advance_or_stop(self, FM_NO_DEADLINE);
}

static int
stop_if_idle(struct fm_generator *self)
{
    if (self->executing) {
        PyErr_SetString(PyExc_ValueError, "generator already executing");
        return -1;
    }
    self->executing = true;
    fm_generator_finish(self);
    self->executing = false;
    return 0;
}

static PyObject *
generator_close(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    if (stop_if_idle((struct fm_generator *)object) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* As raise does: a class is called, with a value that is no instance of it as its argument. */
static PyObject *
make_thrown(PyObject *type, PyObject *value)
{
    if (PyExceptionInstance_Check(type)) {
        if (value != Py_None) {
            PyErr_SetString(PyExc_TypeError, "instance exception may not have a separate value");
            return NULL;
        }
        return Py_NewRef(type);
    }
    if (!PyExceptionClass_Check(type)) {
        PyErr_Format(PyExc_TypeError,
                     "exceptions must be classes or instances deriving from BaseException, "
                     "not %.100s",
                     Py_TYPE(type)->tp_name);
        return NULL;
    }
    if (PyObject_TypeCheck(value, (PyTypeObject *)type)) {
        return Py_NewRef(value);
    }
    if (PyTuple_Check(value)) {
        return PyObject_CallObject(type, value);
    }
    return value == Py_None ? PyObject_CallNoArgs(type) : PyObject_CallOneArg(type, value);
}

static PyObject *
generator_throw(PyObject *object, PyObject *arguments)
{
    PyObject *type;
    PyObject *value = Py_None;
    PyObject *traceback = Py_None;
    if (!PyArg_UnpackTuple(arguments, "throw", 1, 3, &type, &value, &traceback)) {
        return NULL;
    }
    if (traceback != Py_None && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError, "throw() third argument must be a traceback object");
        return NULL;
    }
    PyObject *exception = make_thrown(type, value);
    if (exception == NULL || stop_if_idle((struct fm_generator *)object) < 0) {
        Py_XDECREF(exception);
        return NULL;
    }
    if (traceback != Py_None) {
        (void)PyException_SetTraceback(exception, traceback);
    }
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
    return NULL;
}

/* ---- what Pool's iterators have, and containers ---- */

static int
read_timeout(PyObject *timeout, int64_t *deadline)
{
    *deadline = FM_NO_DEADLINE;
    if (timeout == Py_None) {
        return 0;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (Py_IS_NAN(seconds)) {
        PyErr_SetString(PyExc_ValueError, "timeout must be None or a number of seconds, not nan");
        return -1;
    }
    /* What is below 0 has passed already, as for Pool. A century is as good as for ever, and its
     * nanoseconds fit. */
    if (seconds < 0) {
        seconds = 0;
    }
    if (seconds < 3e9) {
        *deadline = fm_clock_now() + (int64_t)(seconds * (double)FM_SECOND);
    }
    return 0;
}

static PyObject *
generator_next(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    int64_t deadline;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O:next", names, &timeout)
        || read_timeout(timeout, &deadline) < 0) {
        return NULL;
    }
    return advance_or_stop((struct fm_generator *)object, deadline);
}

static Py_ssize_t
generator_length(PyObject *object)
{
    struct fm_generator *self = (struct fm_generator *)object;
    if (self->length < 0) {
        PyErr_SetString(PyExc_TypeError,
                        "this FastMap has no len(): the length of its input is not known");
    }
    return self->length;
}

static PyObject *
generator_length_hint(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_generator *self = (struct fm_generator *)object;
    if (self->consumer.job == NULL) {
        return PyLong_FromLong(0);
    }
    if (self->length < 0) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    Py_ssize_t left = self->length - (Py_ssize_t)self->consumer.taken;
    return PyLong_FromSsize_t(left > 0 ? left : 0);
}

static int
is_true(PyObject *Py_UNUSED(object))
{
    return 1;
}

static PyObject *
enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(object);
}

static PyObject *
leave(PyObject *object, PyObject *Py_UNUSED(arguments))
{
    return generator_close(object, NULL);
}

static PyObject *
refuse_to_pickle(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    PyErr_Format(PyExc_TypeError, "cannot pickle '%s' object: it is tied to running processes",
                 Py_TYPE(object)->tp_name);
    return NULL;
}

static PyObject *
represent(PyObject *object)
{
    struct fm_generator *self = (struct fm_generator *)object;
    const char *status = self->consumer.job != NULL ? "running" : "finished";
    unsigned long long taken = (unsigned long long)self->consumer.taken;
    if (self->length < 0) {
        return PyUnicode_FromFormat("<FastMap %s: %llu results taken, at %p>", status, taken, self);
    }
    return PyUnicode_FromFormat("<FastMap %s: %llu of %zd results taken, at %p>", status, taken,
                                self->length, self);
}

/* At the interpreter's exit: ends the processes, even while some thread waits for a result, which
 * then is told so. */
static PyObject *
shut_down(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_generator *self = (struct fm_generator *)object;
    if (self->consumer.job != NULL) {
        struct fm_job *job = fm_job_ref(self->consumer.job);
        job->ended_at_exit = true;
        fm_job_stop(job);
        fm_job_unref(job);
    }
    Py_RETURN_NONE;
}

static PyObject *
stats(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_generator *self = (struct fm_generator *)object;
    struct fm_state *state = PyType_GetModuleState(Py_TYPE(object));
    PyObject *counted = fm_account_read(&self->account, &self->consumer);
    PyObject *made = counted != NULL ? PyObject_CallObject(state->make_stats, counted) : NULL;
    Py_XDECREF(counted);
    return made;
}

static PyObject *
set_progress(PyObject *object, PyObject *show)
{
    struct fm_generator *self = (struct fm_generator *)object;
    Py_XSETREF(self->progress.show, Py_NewRef(show));
    Py_RETURN_NONE;
}

/* ---- the object's life ---- */

PyObject *
fm_generator_new(PyObject *module, PyObject *iterables, const struct fm_job_options *options,
                 Py_ssize_t length)
{
    struct fm_state *state = fm_state_of_module(module);
    PyTypeObject *type = state->generator_type;
    struct fm_generator *self = (struct fm_generator *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->consumer.job = fm_job_new(module, iterables, options);
    if (self->consumer.job == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    const struct fm_source *source = &self->consumer.job->source;
    self->length = source->inherited ? (Py_ssize_t)source->total : length;
    fm_moderation_init(&self->consumer.moderation);
    return (PyObject *)self;
}

static int
traverse(PyObject *object, visitproc visit, void *arg)
{
    struct fm_generator *self = (struct fm_generator *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->progress.show);
    if (self->consumer.job != NULL) {
        Py_VISIT(self->consumer.job->call.function);
        Py_VISIT(self->consumer.job->call.args);
        Py_VISIT(self->consumer.job->call.kwargs);
        Py_VISIT(self->consumer.job->initializer);
        Py_VISIT(self->consumer.job->initargs);
        Py_VISIT(self->consumer.job->input_error);
        /* A feeder that lives holds the iterators too, and it and local threads the context. */
        if (!self->consumer.job->feeder_started
            || fm_load_acquire(&self->consumer.job->feeder_done)) {
            Py_VISIT(self->consumer.job->source.inputs);
            if (self->consumer.job->local == NULL) {
                Py_VISIT(self->consumer.job->context);
            }
        }
        if (self->consumer.job->local != NULL
            && !fm_engine_is_foreign(self->consumer.job->engine)) {
            return fm_reference_visit_all(self->consumer.job->engine, visit, arg);
        }
    }
    return 0;
}

static int
clear(PyObject *object)
{
    struct fm_generator *self = (struct fm_generator *)object;
    if (!self->executing) {
        fm_generator_finish(self);
    }
    return 0;
}

static void
finalize(PyObject *object)
{
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    (void)clear(object);
    PyErr_Restore(type, value, traceback);
}

static void
dealloc(PyObject *object)
{
    struct fm_generator *self = (struct fm_generator *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    if (self->weak_references != NULL) {
        PyObject_ClearWeakRefs(object);
    }
    (void)clear(object);
    Py_CLEAR(self->progress.show);
    fm_account_fini(&self->account);
    type->tp_free(object);
    Py_DECREF(type);
}

#define DOC(text) PyDoc_STR(text)

static PyMethodDef methods[] = {
    {"send", generator_send, METH_O,
     DOC("send($self, value, /)\n--\n\n"
         "The next result.\n\n"
         "The value goes nowhere, as with a generator that ignores it.")},
    {"throw", generator_throw, METH_VARARGS,
     DOC("throw(type, value=None, traceback=None, /)\n\n"
         "End the map, its workers included, and raise the exception here.")},
    {"close", generator_close, METH_NOARGS,
     DOC("close($self, /)\n--\n\n"
         "End the map and its workers at once.\n\n"
         "Results that were not taken are lost. Closing again does nothing.")},
    {"next", (PyCFunction)(void (*)(void))generator_next, METH_VARARGS | METH_KEYWORDS,
     DOC("next($self, timeout=None)\n--\n\n"
         "The next result, waiting for at most `timeout` seconds.\n\n"
         "If it is not there by then, TimeoutError is raised; nothing is lost,\n"
         "and the next call waits for the same result. At the end StopIteration\n"
         "is raised. None: wait as long as it takes.")},
    {"__length_hint__", generator_length_hint, METH_NOARGS,
     DOC("__length_hint__($self, /)\n--\n\nResults yet to come, where that is known.")},
    {"__enter__", enter, METH_NOARGS, DOC("__enter__($self, /)\n--\n\nThe map itself.")},
    {"__exit__", leave, METH_VARARGS, DOC("Close the map.")},
    {"__reduce__", refuse_to_pickle, METH_NOARGS, NULL},
    {"__aenter__", fm_async_enter, METH_NOARGS, DOC("__aenter__($self, /)\n--\n\nThe map itself.")},
    {"__aexit__", fm_async_leave, METH_VARARGS, DOC("Close the map.")},
    {"aclose", fm_async_close, METH_NOARGS,
     DOC("aclose($self, /)\n--\n\n"
         "End the map and its workers, as close() does.\n\n"
         "The event loop goes on while they end.")},
    {"_shut_down", shut_down, METH_NOARGS, NULL},
    {"_set_progress", set_progress, METH_O, NULL},
    {"_arm", fm_async_arm, METH_NOARGS, NULL},
    {"_take", fm_async_take, METH_NOARGS, NULL},
    {"_end", fm_async_end, METH_NOARGS, NULL},
    {"_finish", fm_async_finish, METH_NOARGS, NULL},
    {"stats", stats, METH_NOARGS,
     DOC("stats($self, /)\n--\n\n"
         "How the map has spent its time until now, as a Stats.\n\n"
         "Items, bytes, what each process and thread did, and in its attribute\n"
         "bound what holds the map up. Also after its end.")},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct fm_generator, weak_references), READONLY,
     NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, DOC("The results of a fast_map() call: a generator, and a context manager.\n\n"
                    "Iterate over it, or take results one by one by next(it) or it.next(timeout).\n"
                    "len(it) is the number of all results, where the input tells it. Its workers\n"
                    "end with the last result, or when it is closed: by close(), at the end of a\n"
                    "with block, or as soon as nothing refers to it. In an event loop: async for,\n"
                    "async with, and aclose().")},
    {Py_tp_dealloc, dealloc},
    {Py_tp_finalize, finalize},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iternext},
    {Py_tp_repr, represent},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, fm_async_next},
    {Py_sq_length, generator_length},
    {Py_nb_bool, is_true},
    {0, NULL},
};

PyType_Spec fm_generator_spec = {
    .name = "fast_map.FastMap",
    .basicsize = sizeof(struct fm_generator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION
             | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};
