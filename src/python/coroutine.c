#include "coroutine.h"

#include "clock.h"
#include "compat.h"
#include "coroutines.h"

struct fm_coroutine *
fm_coroutine_new(struct fm_coroutines *owner, uint64_t item)
{
    PyTypeObject *type = owner->worker->job->state->coroutine_type;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct fm_coroutine *self = (struct fm_coroutine *)allocate(type, 0);
    if (self != NULL) {
        self->owner = owner;
        self->item = item;
        self->since = fm_clock_now();
    }
    return self;
}

static void
dealloc(PyObject *object)
{
    struct fm_coroutine *self = (struct fm_coroutine *)object;
    PyTypeObject *type = Py_TYPE(object);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->asyncio_task);
    Py_CLEAR(self->outcome);
    type->tp_free(object);
    Py_DECREF(type);
}

/* As `await` does. */
static PyObject *
get_awaitable_iterator(PyObject *object)
{
    PyAsyncMethods *methods = Py_TYPE(object)->tp_as_async;
    if (PyCoro_CheckExact(object)) {
        return Py_NewRef(object);
    }
    if (methods == NULL || methods->am_await == NULL) {
        return PyErr_Format(PyExc_TypeError,
                            "fn is marked as a coroutine function, but returned %.100s, which "
                            "can't be awaited",
                            Py_TYPE(object)->tp_name);
    }
    return methods->am_await(object);
}

/* Calls fn. In the task's first step, so that fn finds itself in the task. */
static int
begin(struct fm_coroutine *self)
{
    PyObject *awaitable = fm_task_call(self->owner->worker, self->item, &self->task);
    if (awaitable == NULL) {
        return -1;
    }
    self->inner = get_awaitable_iterator(awaitable);
    Py_DECREF(awaitable);
    return self->inner != NULL ? 0 : -1;
}

/* One step; what it gives is in *result. PYGEN_ERROR never comes: an error is the item's outcome. */
static PySendResult
step(PyObject *object, PyObject *argument, PyObject **result)
{
    struct fm_coroutine *self = (struct fm_coroutine *)object;
    PySendResult sent = PYGEN_ERROR;
    *result = NULL;
    if (!self->ended) {
        fm_coroutines_begin_step(self);
        if (self->inner != NULL || begin(self) == 0) {
            sent = PyIter_Send(self->inner, argument, result);
        }
        fm_coroutines_end_step(self);
        if (sent == PYGEN_NEXT) {
            return sent;
        }
        fm_coroutines_end(self, *result);
        Py_XDECREF(*result);
    }
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *
step_or_stop(PyObject *object, PyObject *argument)
{
    PyObject *result;
    if (step(object, argument, &result) == PYGEN_NEXT) {
        return result;
    }
    Py_DECREF(result);
    PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *
next(PyObject *object)
{
    return step_or_stop(object, Py_None);
}

/* What a generator returned, if that is what StopIteration says; else NULL, with the exception. */
static PyObject *
take_return_value(void)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyObject *stop = fm_compat_take_exception();
    PyObject *value = PyObject_GetAttrString(stop, "value");
    Py_DECREF(stop);
    return value;
}

static PyObject *
throw_into(PyObject *object, PyObject *arguments)
{
    struct fm_coroutine *self = (struct fm_coroutine *)object;
    PyObject *yielded = NULL;
    if (!self->ended) {
        fm_coroutines_begin_step(self);
        if (self->inner != NULL || begin(self) == 0) {
            PyObject *method = PyObject_GetAttrString(self->inner, "throw");
            yielded = method != NULL ? PyObject_CallObject(method, arguments) : NULL;
            Py_XDECREF(method);
        }
        fm_coroutines_end_step(self);
        if (yielded != NULL) {
            return yielded;
        }
        PyObject *value = take_return_value();
        fm_coroutines_end(self, value);
        Py_XDECREF(value);
    }
    PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *
close_inner(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    struct fm_coroutine *self = (struct fm_coroutine *)object;
    return self->inner != NULL ? PyObject_CallMethod(self->inner, "close", NULL)
                               : Py_NewRef(Py_None);
}

/* cr_frame, cr_code, __qualname__: whoever asks asyncio what a task does is shown the caller's
 * coroutine. */
static PyObject *
get_attribute(PyObject *object, PyObject *name)
{
    struct fm_coroutine *self = (struct fm_coroutine *)object;
    PyObject *attribute = PyObject_GenericGetAttr(object, name);
    if (attribute == NULL && self->inner != NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        attribute = PyObject_GetAttr(self->inner, name);
    }
    return attribute;
}

static PyMethodDef methods[] = {
    {"send", step_or_stop, METH_O, NULL},
    {"throw", throw_into, METH_VARARGS, NULL},
    {"close", close_inner, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_tp_getattro, get_attribute},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, next},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, step},
    {Py_tp_methods, methods},
    {Py_tp_doc, "The coroutine of one item, as an event loop runs it."},
    {0, NULL},
};

PyType_Spec fm_coroutine_spec = {
    .name = "fast_map._core.ItemCoroutine",
    .basicsize = sizeof(struct fm_coroutine),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
