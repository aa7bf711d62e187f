#include "codec.h"

#include "compat.h"
#include "reference.h"

#include <string.h>

/* Containers that take more as a stream are left to pickle, which keeps repeated strings apart. */
#define STREAM_MOST 4096

PyObject *
fm_codec_damaged(void)
{
    PyErr_SetString(PyExc_ValueError, "damaged payload");
    return NULL;
}

enum fm_encode_result
fm_codec_reserve(struct fm_engine *engine, uint64_t item, uint64_t size, struct fm_value *value,
                 void **bytes)
{
    for (;;) {
        enum fm_store_result result =
            fm_board_reserve(&engine->board, &engine->heap, item, size, value, bytes);
        if (result == FM_STORE_DONE) {
            return FM_ENCODE_DONE;
        }
        if (result == FM_STORE_TOO_LARGE) {
            PyErr_Format(PyExc_MemoryError, "%llu bytes do not fit the shared memory",
                         (unsigned long long)size);
            return FM_ENCODE_FAILED;
        }
        if (engine->never_waits) {
            engine->refused_size = size;
            return FM_ENCODE_REFUSED;
        }
        bool goes_on;
        Py_BEGIN_ALLOW_THREADS
        goes_on = engine->await_space(engine, item, size);
        Py_END_ALLOW_THREADS
        if (!goes_on) {
            return FM_ENCODE_ENDED;
        }
    }
}

/* `source` belongs to an immutable object that the caller holds. */
static void
copy_bytes(void *destination, const void *source, size_t size)
{
    if (size < FM_COPY_WITHOUT_GIL) {
        memcpy(destination, source, size);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    memcpy(destination, source, size);
    Py_END_ALLOW_THREADS
}

static enum fm_encode_result
encode_bytes(struct fm_engine *engine, uint64_t item, enum fm_tag tag, const void *bytes,
             Py_ssize_t size, struct fm_value *value)
{
    void *destination;
    enum fm_encode_result result =
        fm_codec_reserve(engine, item, (uint64_t)size, value, &destination);
    if (result == FM_ENCODE_DONE) {
        value->tag = (uint8_t)tag;
        copy_bytes(destination, bytes, (size_t)size);
    }
    return result;
}

static enum fm_encode_result
encode_big_integer(struct fm_engine *engine, uint64_t item, PyObject *object,
                   struct fm_value *value)
{
    void *destination;
    Py_ssize_t size = fm_compat_int_size(object);
    if (size < 0) {
        return FM_ENCODE_FAILED;
    }
    enum fm_encode_result result =
        fm_codec_reserve(engine, item, (uint64_t)size, value, &destination);
    if (result == FM_ENCODE_DONE) {
        value->tag = FM_TAG_BIG_INTEGER;
        (void)fm_compat_int_to_bytes(object, destination, (size_t)size);
    }
    return result;
}

static enum fm_encode_result
encode_integer(struct fm_engine *engine, uint64_t item, PyObject *object, struct fm_value *value)
{
    int overflow = 0;
    long long number;
    if (!fm_compat_read_small_int(object, &number)) {
        number = PyLong_AsLongLongAndOverflow(object, &overflow);
    }
    if (overflow != 0) {
        return encode_big_integer(engine, item, object, value);
    }
    value->form = FM_FORM_INLINE;
    value->tag = FM_TAG_INTEGER;
    value->as.integer = number;
    return FM_ENCODE_DONE;
}

static enum fm_encode_result
encode_string(struct fm_engine *engine, uint64_t item, PyObject *object, struct fm_value *value)
{
    if (!fm_compat_is_ready(object)) {
        PyErr_NoMemory();
        return FM_ENCODE_FAILED;
    }
    Py_ssize_t size = PyUnicode_GET_LENGTH(object) * (Py_ssize_t)PyUnicode_KIND(object);
    return encode_bytes(engine, item, fm_native_string_tag(object), PyUnicode_DATA(object), size,
                        value);
}

static enum fm_encode_result
encode_container(struct fm_state *state, struct fm_engine *engine, uint64_t item, enum fm_tag tag,
                 PyObject *object, struct fm_value *value)
{
    uint8_t stream[STREAM_MOST];
    void *destination;
    size_t size = fm_native_write(state, tag, object, stream, sizeof stream);
    if (size == 0) {
        return fm_pickle_encode(state, engine, item, object, value);
    }
    enum fm_encode_result result = fm_codec_reserve(engine, item, size, value, &destination);
    if (result == FM_ENCODE_DONE) {
        value->tag = (uint8_t)tag;
        memcpy(destination, stream, size);
    }
    return result;
}

static enum fm_encode_result
encode_constant(enum fm_tag tag, struct fm_value *value)
{
    value->form = FM_FORM_INLINE;
    value->tag = (uint8_t)tag;
    return FM_ENCODE_DONE;
}

static enum fm_encode_result
encode_float(PyObject *object, struct fm_value *value)
{
    value->as.real = PyFloat_AS_DOUBLE(object);
    return encode_constant(FM_TAG_FLOAT, value);
}

enum fm_encode_result
fm_codec_encode(struct fm_state *state, struct fm_engine *engine, uint64_t item, PyObject *object,
                struct fm_value *value)
{
    if (engine->is_local) {
        fm_reference_store(value, object);
        return FM_ENCODE_DONE;
    }
    if (PyLong_CheckExact(object)) {
        return encode_integer(engine, item, object, value);
    }
    if (object == Py_None) {
        return encode_constant(FM_TAG_NONE, value);
    }
    if (PyUnicode_CheckExact(object)) {
        return encode_string(engine, item, object, value);
    }
    if (PyFloat_CheckExact(object)) {
        return encode_float(object, value);
    }
    if (PyBool_Check(object)) {
        return encode_constant(object == Py_True ? FM_TAG_TRUE : FM_TAG_FALSE, value);
    }
    if (PyTuple_CheckExact(object)) {
        return encode_container(state, engine, item, FM_TAG_TUPLE, object, value);
    }
    if (PyList_CheckExact(object)) {
        return encode_container(state, engine, item, FM_TAG_LIST, object, value);
    }
    if (PyDict_CheckExact(object)) {
        return encode_container(state, engine, item, FM_TAG_DICT, object, value);
    }
    if (PyBytes_CheckExact(object)) {
        return encode_bytes(engine, item, FM_TAG_BYTES, PyBytes_AS_STRING(object),
                            PyBytes_GET_SIZE(object), value);
    }
    if (PyComplex_CheckExact(object)) {
        Py_complex number = PyComplex_AsCComplex(object);
        return encode_bytes(engine, item, FM_TAG_COMPLEX, &number, sizeof number, value);
    }
    if (fm_array_check(state, object)) {
        return fm_array_encode(state, engine, item, object, value);
    }
    return encode_container(state, engine, item, FM_TAG_INSTANCE, object, value);
}

uint64_t
fm_codec_size(const struct fm_value *value)
{
    switch ((enum fm_tag)value->tag) {
    case FM_TAG_INTEGER:
    case FM_TAG_FLOAT:
        return FM_CODEC_NUMBER_SIZE;
    case FM_TAG_NONE:
    case FM_TAG_FALSE:
    case FM_TAG_TRUE:
    case FM_TAG_REFERENCE:
        return 0;
    default:
        return value->form == FM_FORM_BLOCK ? value->as.block.size : value->inline_size;
    }
}

static PyObject *
decode_complex(const void *bytes, uint64_t size)
{
    Py_complex number;
    if (size != sizeof number) {
        return fm_codec_damaged();
    }
    memcpy(&number, bytes, sizeof number);
    return PyComplex_FromCComplex(number);
}

static PyObject *
decode_sized(struct fm_state *state, enum fm_tag tag, const void *bytes, uint64_t size)
{
    switch (tag) {
    case FM_TAG_BIG_INTEGER:
        return fm_compat_int_from_bytes(bytes, size);
    case FM_TAG_COMPLEX:
        return decode_complex(bytes, size);
    case FM_TAG_ASCII:
    case FM_TAG_LATIN1:
    case FM_TAG_UCS2:
    case FM_TAG_UCS4:
        return fm_native_read_string(tag, bytes, size);
    case FM_TAG_BYTES:
        return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
    case FM_TAG_TUPLE:
    case FM_TAG_LIST:
    case FM_TAG_DICT:
    case FM_TAG_INSTANCE:
        return fm_native_read(state, tag, bytes, size);
    case FM_TAG_ARRAY:
        return fm_array_decode(state, bytes, size);
    case FM_TAG_PICKLE:
        return fm_pickle_decode(state, bytes, size);
    default:
        return fm_codec_damaged();
    }
}

PyObject *
fm_codec_decode(struct fm_state *state, struct fm_engine *engine, struct fm_value *value,
                bool owns_block, PyObject **root)
{
    uint64_t size;
    *root = NULL;
    switch ((enum fm_tag)value->tag) {
    case FM_TAG_INTEGER:
    case FM_TAG_FLOAT:
        return fm_codec_decode_number(value);
    case FM_TAG_NONE:
        return Py_NewRef(Py_None);
    case FM_TAG_FALSE:
        return Py_NewRef(Py_False);
    case FM_TAG_TRUE:
        return Py_NewRef(Py_True);
    case FM_TAG_PICKLE_WITH_BUFFERS:
        return fm_pickle_decode_buffers(state, engine, value, owns_block, root);
    case FM_TAG_REFERENCE:
        return engine->is_local ? fm_reference_take(value) : fm_codec_damaged();
    default:
        break;
    }
    const void *bytes = fm_board_bytes(&engine->board, value, &size);
    return decode_sized(state, (enum fm_tag)value->tag, bytes, size);
}

void
fm_codec_forget(struct fm_state *state)
{
    for (size_t i = 0; i < FM_STATE_KEYS; i++) {
        Py_CLEAR(state->keys[i]);
    }
    for (size_t i = 0; i < FM_CLASSES; i++) {
        state->classes[i].type = NULL;
        Py_CLEAR(state->classes[i].module);
        Py_CLEAR(state->classes[i].name);
    }
    Py_CLEAR(state->ndarray);
    Py_CLEAR(state->dtypes);
}
