#include "call.h"

void
fm_call_init(struct fm_call *call, PyObject *function, PyObject *args, PyObject *kwargs, int star,
             bool kwstar)
{
    bool has_args = PyTuple_GET_SIZE(args) > 0;
    bool has_kwargs = PyDict_GET_SIZE(kwargs) > 0;
    *call = (struct fm_call){.function = Py_NewRef(function),
                             .args = has_args ? Py_NewRef(args) : NULL,
                             .kwargs = has_kwargs ? Py_NewRef(kwargs) : NULL,
                             .star = (enum fm_star)star,
                             .kwstar = kwstar,
                             .is_plain = star == FM_STAR_NO && !kwstar && !has_args && !has_kwargs};
}

void
fm_call_fini(struct fm_call *call)
{
    Py_CLEAR(call->function);
    Py_CLEAR(call->args);
    Py_CLEAR(call->kwargs);
}

/* The elements of an item as a new tuple; `wanted` says in words what an item has to be. */
static PyObject *
elements_of(PyObject *item, const char *wanted)
{
    if (PyTuple_CheckExact(item)) {
        return Py_NewRef(item);
    }
    PyObject *elements = PySequence_Tuple(item);
    if (elements == NULL && PyErr_ExceptionMatches(PyExc_TypeError)
        && Py_TYPE(item)->tp_iter == NULL) {
        PyErr_Format(PyExc_TypeError, "%s, not '%.200s'", wanted, Py_TYPE(item)->tp_name);
    }
    return elements;
}

/* The two parts of an item that brings keywords along with its arguments, as new references. */
static int
split_pair(PyObject *item, PyObject **own, PyObject **keywords)
{
    PyObject *pair =
        elements_of(item, "with kwstar=True an item must be a pair (arguments, keywords)");
    if (pair == NULL) {
        return -1;
    }
    if (PyTuple_GET_SIZE(pair) != 2) {
        PyErr_Format(PyExc_ValueError,
                     "with kwstar=True an item must be a pair (arguments, keywords), but this one "
                     "has %zd elements",
                     PyTuple_GET_SIZE(pair));
        Py_DECREF(pair);
        return -1;
    }
    *own = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
    *keywords = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
    Py_DECREF(pair);
    return 0;
}

static PyObject *
make_tuple(PyObject *const *values, Py_ssize_t count)
{
    PyObject *tuple = PyTuple_New(count);
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(values[i]));
    }
    return tuple;
}

static PyObject *
make_positional(const struct fm_call *call, PyObject *const *values, Py_ssize_t count)
{
    PyObject *own;
    if (call->star == FM_STAR_YES) {
        own = elements_of(values[0], "with star=True an item's arguments must be iterable");
    } else {
        own = make_tuple(values, call->star == FM_STAR_NONE ? 0 : count);
    }
    if (own == NULL || call->args == NULL) {
        return own;
    }
    PyObject *all = PySequence_Concat(own, call->args);
    Py_DECREF(own);
    return all;
}

/* A new dict, or NULL without an exception if there are no keywords. */
static int
make_keywords(const struct fm_call *call, PyObject *own, PyObject **keywords)
{
    *keywords = NULL;
    if (call->kwargs == NULL && own == NULL) {
        return 0;
    }
    if (own != NULL && !PyDict_Check(own) && !PyObject_HasAttrString(own, "keys")) {
        PyErr_Format(PyExc_TypeError,
                     "with kwstar=True an item's keywords must be a mapping, not '%.200s'",
                     Py_TYPE(own)->tp_name);
        return -1;
    }
    PyObject *merged = call->kwargs != NULL ? PyDict_Copy(call->kwargs) : PyDict_New();
    if (merged == NULL || (own != NULL && PyDict_Update(merged, own) < 0)) {
        Py_XDECREF(merged);
        return -1;
    }
    *keywords = merged;
    return 0;
}

static PyObject *
call_with(const struct fm_call *call, PyObject *const *values, Py_ssize_t count,
          PyObject *own_keywords)
{
    PyObject *keywords;
    PyObject *result = NULL;
    PyObject *positional = make_positional(call, values, count);
    if (positional != NULL && make_keywords(call, own_keywords, &keywords) == 0) {
        result = PyObject_Call(call->function, positional, keywords);
        Py_XDECREF(keywords);
    }
    Py_XDECREF(positional);
    return result;
}

static PyObject *
call_pair(const struct fm_call *call, PyObject *item)
{
    PyObject *own;
    PyObject *keywords;
    if (split_pair(item, &own, &keywords) < 0) {
        return NULL;
    }
    PyObject *result = call_with(call, &own, 1, keywords);
    Py_DECREF(own);
    Py_DECREF(keywords);
    return result;
}

PyObject *
fm_call_with_more(const struct fm_call *call, PyObject *const *values, size_t number)
{
    Py_ssize_t count = PyVectorcall_NARGS(number);
    if (!call->kwstar) {
        return call_with(call, values, count, NULL);
    }
    if (call->star == FM_STAR_NONE) {
        return call_with(call, values, count, values[0]);
    }
    return call_pair(call, values[0]);
}
