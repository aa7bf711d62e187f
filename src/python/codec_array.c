/* Small numpy arrays, without pickle, which takes as long for a small one as for a large one.
 *
 * Only arrays themselves, whose dtype is one of numpy's own objects for numbers and whose memory is
 * contiguous. All else, and large ones, whose memory the receiver uses as it is, are codec_pickle.c's.
 * numpy is asked for an array as Python code would ask; none of its C interface is used.
 */
#include "codec.h"

#include <string.h>

#define DIMENSIONS_MOST 8

enum flag { FLAG_FORTRAN = 1, FLAG_READONLY = 2 };

/* Behind it the shape, 8 bytes a dimension, and the elements. */
struct header {
    uint8_t dtype; /* its place in state.dtypes */
    uint8_t flags;
    uint8_t dimensions;
    uint8_t unused;
};

/* Imports numpy. */
static int
load(struct fm_state *state)
{
    if (state->ndarray != NULL) {
        return 0;
    }
    PyObject *ndarray;
    PyObject *dtypes;
    PyObject *loaded = PyObject_CallNoArgs(state->load_arrays);
    int result = -1;
    if (loaded != NULL && PyArg_ParseTuple(loaded, "OO!", &ndarray, &PyTuple_Type, &dtypes)) {
        Py_XSETREF(state->dtypes, Py_NewRef(dtypes));
        Py_XSETREF(state->ndarray, Py_NewRef(ndarray));
        result = 0;
    }
    Py_XDECREF(loaded);
    return result;
}

bool
fm_array_check(struct fm_state *state, PyObject *object)
{
    if (state->ndarray == NULL && strcmp(Py_TYPE(object)->tp_name, "numpy.ndarray") == 0
        && load(state) < 0) {
        PyErr_Clear();
    }
    return (PyObject *)Py_TYPE(object) == state->ndarray;
}

/* -1 if it is none of those. */
static Py_ssize_t
find_dtype(const struct fm_state *state, PyObject *array)
{
    PyObject *dtype = PyObject_GetAttrString(array, "dtype");
    Py_ssize_t place = PyTuple_GET_SIZE(state->dtypes) - 1;
    while (place >= 0 && PyTuple_GET_ITEM(state->dtypes, place) != dtype) {
        place--;
    }
    Py_XDECREF(dtype);
    PyErr_Clear();
    return place;
}

static void
lay_out(const Py_buffer *buffer, Py_ssize_t dtype, char *bytes)
{
    struct header header = {.dtype = (uint8_t)dtype, .dimensions = (uint8_t)buffer->ndim};
    size_t shape_size = (size_t)buffer->ndim * sizeof *buffer->shape;
    header.flags = (uint8_t)((PyBuffer_IsContiguous(buffer, 'C') ? 0 : FLAG_FORTRAN)
                             | (buffer->readonly ? FLAG_READONLY : 0));
    memcpy(bytes, &header, sizeof header);
    if (shape_size > 0) {
        memcpy(bytes + sizeof header, buffer->shape, shape_size);
    }
    memcpy(bytes + sizeof header + shape_size, buffer->buf, (size_t)buffer->len);
}

static enum fm_encode_result
store(struct fm_engine *engine, uint64_t item, const Py_buffer *buffer, Py_ssize_t dtype,
      struct fm_value *value)
{
    void *bytes;
    size_t shape_size = (size_t)buffer->ndim * sizeof *buffer->shape;
    uint64_t size = sizeof(struct header) + shape_size + (uint64_t)buffer->len;
    enum fm_encode_result result = fm_codec_reserve(engine, item, size, value, &bytes);
    if (result == FM_ENCODE_DONE) {
        value->tag = FM_TAG_ARRAY;
        lay_out(buffer, dtype, bytes);
    }
    return result;
}

enum fm_encode_result
fm_array_encode(struct fm_state *state, struct fm_engine *engine, uint64_t item, PyObject *array,
                struct fm_value *value)
{
    Py_buffer buffer;
    Py_ssize_t dtype = find_dtype(state, array);
    if (dtype < 0 || PyObject_GetBuffer(array, &buffer, PyBUF_ND | PyBUF_ANY_CONTIGUOUS) < 0) {
        PyErr_Clear();
        return fm_pickle_encode(state, engine, item, array, value);
    }
    bool small = buffer.len <= FM_ARRAY_MOST && buffer.ndim <= DIMENSIONS_MOST;
    enum fm_encode_result result = small ? store(engine, item, &buffer, dtype, value)
                                         : fm_pickle_encode(state, engine, item, array, value);
    PyBuffer_Release(&buffer);
    return result;
}

/* ---- decoding ---- */

static PyObject *
make_shape(const char *bytes, unsigned dimensions)
{
    PyObject *shape = PyTuple_New(dimensions);
    for (unsigned i = 0; shape != NULL && i < dimensions; i++) {
        Py_ssize_t length;
        memcpy(&length, bytes + i * sizeof length, sizeof length);
        PyObject *number = PyLong_FromSsize_t(length);
        if (number == NULL) {
            Py_CLEAR(shape);
            break;
        }
        PyTuple_SET_ITEM(shape, i, number);
    }
    return shape;
}

/* As a small buffer beside a pickle does, a writable one comes as a bytearray. */
static PyObject *
make_memory(const struct header *header, const char *bytes, size_t size)
{
    return header->flags & FLAG_READONLY ? PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size)
                                         : PyByteArray_FromStringAndSize(bytes, (Py_ssize_t)size);
}

/* numpy itself looks whether the elements fit the memory. */
static PyObject *
make_array(const struct fm_state *state, const struct header *header, PyObject *shape,
           PyObject *memory)
{
    PyObject *dtype = PyTuple_GET_ITEM(state->dtypes, header->dtype);
    const char *order = header->flags & FLAG_FORTRAN ? "F" : "C";
    return PyObject_CallFunction(state->ndarray, "OOOiOs", shape, dtype, memory, 0, Py_None, order);
}

PyObject *
fm_array_decode(struct fm_state *state, const void *bytes, uint64_t size)
{
    struct header header;
    if (size < sizeof header) {
        return fm_codec_damaged();
    }
    memcpy(&header, bytes, sizeof header);
    size_t shape_size = header.dimensions * sizeof(Py_ssize_t);
    if (load(state) < 0) {
        return NULL;
    }
    if (header.dimensions > DIMENSIONS_MOST || size - sizeof header < shape_size
        || header.dtype >= PyTuple_GET_SIZE(state->dtypes)) {
        return fm_codec_damaged();
    }
    const char *shape_bytes = (const char *)bytes + sizeof header;
    PyObject *array = NULL;
    PyObject *shape = make_shape(shape_bytes, header.dimensions);
    PyObject *memory =
        make_memory(&header, shape_bytes + shape_size, size - sizeof header - shape_size);
    if (shape != NULL && memory != NULL) {
        array = make_array(state, &header, shape, memory);
    }
    Py_XDECREF(shape);
    Py_XDECREF(memory);
    return array;
}
