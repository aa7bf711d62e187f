#include "source.h"

#include "slots.h"

static bool
is_range(PyObject *object)
{
    return Py_IS_TYPE(object, &PyRange_Type);
}

static bool
is_inheritable(PyObject *object)
{
    return PyList_CheckExact(object) || PyTuple_CheckExact(object) || is_range(object);
}

/* A range may be longer than an index can say; then it is read like any iterator. */
static int
measure_inherited(struct fm_source *source, PyObject *iterables)
{
    for (Py_ssize_t i = 0; i < source->count; i++) {
        PyObject *input = PyTuple_GET_ITEM(iterables, i);
        Py_ssize_t length = is_inheritable(input) ? PyObject_Size(input) : -1;
        if (length < 0 || (uint64_t)length >= FM_MAX_ITEM) {
            PyErr_Clear();
            source->total = FM_UNKNOWN_TOTAL;
            return -1;
        }
        if ((uint64_t)length < source->total) {
            source->total = (uint64_t)length;
        }
    }
    return 0;
}

static int
get_integer(PyObject *object, const char *attribute, long long *number)
{
    int overflow = 0;
    PyObject *value = PyObject_GetAttrString(object, attribute);
    if (value != NULL) {
        *number = PyLong_AsLongLongAndOverflow(value, &overflow);
        Py_DECREF(value);
    }
    return value != NULL && overflow == 0 ? 0 : -1;
}

/* Every item lies between start and stop, so that none overflows where those don't. */
static struct fm_range
look_at_range(PyObject *input)
{
    struct fm_range range = {0};
    long long stop;
    if (is_range(input)) {
        range.is_small = get_integer(input, "start", &range.start) == 0
                         && get_integer(input, "stop", &stop) == 0
                         && get_integer(input, "step", &range.step) == 0;
        PyErr_Clear();
    }
    return range;
}

static int
take_sequences(struct fm_source *source, PyObject *iterables)
{
    source->ranges = PyMem_Calloc((size_t)source->count, sizeof *source->ranges);
    if (source->ranges == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < source->count; i++) {
        source->ranges[i] = look_at_range(PyTuple_GET_ITEM(iterables, i));
    }
    source->inputs = Py_NewRef(iterables);
    return 0;
}

/* What to do with an input that is not iterable but may be taken for it. */
static const char *
remedy(PyObject *input)
{
    const PyAsyncMethods *async = Py_TYPE(input)->tp_as_async;
    if (async != NULL && async->am_aiter != NULL) {
        return "; collect what it gives asynchronously: [item async for item in ...]";
    }
    if (async != NULL && async->am_await != NULL) {
        return "; await it first";
    }
    if (PyFunction_Check(input)
        && (((PyCodeObject *)PyFunction_GET_CODE(input))->co_flags & CO_GENERATOR) != 0) {
        return "; call the generator function";
    }
    return "";
}

static PyObject *
make_iterator(PyObject *iterables, Py_ssize_t index)
{
    PyObject *input = PyTuple_GET_ITEM(iterables, index);
    PyObject *iterator = PyObject_GetIter(input);
    if (iterator == NULL && PyErr_ExceptionMatches(PyExc_TypeError)
        && Py_TYPE(input)->tp_iter == NULL) {
        PyErr_Format(PyExc_TypeError,
                     "fast_map() argument %zd must be iterable, but '%.200s' object is not%s",
                     index + 2, Py_TYPE(input)->tp_name, remedy(input));
    }
    return iterator;
}

static PyObject *
make_iterators(PyObject *iterables)
{
    Py_ssize_t count = PyTuple_GET_SIZE(iterables);
    PyObject *iterators = PyTuple_New(count);
    for (Py_ssize_t i = 0; iterators != NULL && i < count; i++) {
        PyObject *iterator = make_iterator(iterables, i);
        if (iterator == NULL) {
            Py_CLEAR(iterators);
            break;
        }
        PyTuple_SET_ITEM(iterators, i, iterator);
    }
    return iterators;
}

int
fm_source_init(struct fm_source *source, PyObject *iterables, bool workers_inherit)
{
    fm_source_attach(source, PyTuple_GET_SIZE(iterables));
    source->inherited = workers_inherit && measure_inherited(source, iterables) == 0;
    if (source->inherited) {
        return take_sequences(source, iterables);
    }
    source->inputs = make_iterators(iterables);
    return source->inputs != NULL ? 0 : -1;
}

void
fm_source_attach(struct fm_source *source, Py_ssize_t count)
{
    *source = (struct fm_source){.count = count, .total = FM_UNKNOWN_TOTAL};
}

void
fm_source_fini(struct fm_source *source)
{
    Py_CLEAR(source->inputs);
    PyMem_Free(source->ranges);
    source->ranges = NULL;
}

PyObject *
fm_source_get(const struct fm_source *source, Py_ssize_t which, uint64_t item)
{
    const struct fm_range *range = &source->ranges[which];
    Py_ssize_t index = (Py_ssize_t)item;
    if (range->is_small) {
        return PyLong_FromLongLong(range->start + index * range->step);
    }
    PyObject *input = PyTuple_GET_ITEM(source->inputs, which);
    if (PyList_CheckExact(input)) {
        /* A worker's fn may have changed a list that it inherited; its length is not to be trusted. */
        return Py_XNewRef(PyList_GetItem(input, index));
    }
    if (PyTuple_CheckExact(input)) {
        return Py_NewRef(PyTuple_GET_ITEM(input, index));
    }
    return PySequence_GetItem(input, index);
}

static PyObject *
next_of(PyObject *iterator)
{
    PyObject *object = Py_TYPE(iterator)->tp_iternext(iterator);
    if (object == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyErr_Clear();
    }
    return object;
}

PyObject *
fm_source_next(const struct fm_source *source)
{
    if (source->count == 1) {
        return next_of(PyTuple_GET_ITEM(source->inputs, 0));
    }
    PyObject *item = PyTuple_New(source->count);
    for (Py_ssize_t i = 0; item != NULL && i < source->count; i++) {
        PyObject *object = next_of(PyTuple_GET_ITEM(source->inputs, i));
        if (object == NULL) {
            Py_CLEAR(item);
            break;
        }
        PyTuple_SET_ITEM(item, i, object);
    }
    return item;
}
