/* Strings and small containers, without pickle: the way out. The way back is codec_native_read.c.
 *
 * A container is a stream of elements: a tag, and behind it 8 bytes for numbers, or a 32-bit length
 * and the bytes, or a 32-bit count and the elements. An instance is its class's module and name, and
 * its __dict__. A nested list, dict or instance is written only if the container holds its sole
 * reference, which proves that it is aliased nowhere; otherwise pickle, which keeps track of aliases,
 * takes the item. A nested tuple that is shared may be written twice
 * if nothing mutable is in it.
 */
#include "codec.h"

#include "compat.h"

#include <string.h>

struct writer {
    struct fm_state *state;
    uint8_t *position;
    uint8_t *end;
};

static bool write_element(struct writer *writer, PyObject *object, int depth, bool shared);

static bool
write_bytes(struct writer *writer, const void *bytes, size_t size)
{
    if ((size_t)(writer->end - writer->position) < size) {
        return false;
    }
    memcpy(writer->position, bytes, size);
    writer->position += size;
    return true;
}

static bool
write_tag(struct writer *writer, enum fm_tag tag)
{
    if (writer->position == writer->end) {
        return false;
    }
    *writer->position++ = (uint8_t)tag;
    return true;
}

static bool
write_count(struct writer *writer, Py_ssize_t count)
{
    uint32_t small = (uint32_t)count;
    return count <= UINT32_MAX && write_bytes(writer, &small, sizeof small);
}

static bool
write_sized(struct writer *writer, enum fm_tag tag, const void *bytes, Py_ssize_t size)
{
    return write_tag(writer, tag) && write_count(writer, size)
           && write_bytes(writer, bytes, (size_t)size);
}

static bool
write_integer(struct writer *writer, PyObject *object)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow == 0 && write_tag(writer, FM_TAG_INTEGER)
           && write_bytes(writer, &number, sizeof number);
}

static bool
write_complex(struct writer *writer, PyObject *object)
{
    Py_complex number = PyComplex_AsCComplex(object);
    return write_tag(writer, FM_TAG_COMPLEX) && write_bytes(writer, &number, sizeof number);
}

static bool
write_float(struct writer *writer, PyObject *object)
{
    double number = PyFloat_AS_DOUBLE(object);
    return write_tag(writer, FM_TAG_FLOAT) && write_bytes(writer, &number, sizeof number);
}

enum fm_tag
fm_native_string_tag(PyObject *string)
{
    if (PyUnicode_IS_ASCII(string)) {
        return FM_TAG_ASCII;
    }
    switch (PyUnicode_KIND(string)) {
    case PyUnicode_1BYTE_KIND:
        return FM_TAG_LATIN1;
    case PyUnicode_2BYTE_KIND:
        return FM_TAG_UCS2;
    default:
        return FM_TAG_UCS4;
    }
}

static bool
write_string(struct writer *writer, PyObject *string)
{
    if (!fm_compat_is_ready(string)) {
        return false;
    }
    Py_ssize_t size = PyUnicode_GET_LENGTH(string) * (Py_ssize_t)PyUnicode_KIND(string);
    return write_sized(writer, fm_native_string_tag(string), PyUnicode_DATA(string), size);
}

static bool
write_scalar(struct writer *writer, PyObject *object)
{
    if (object == Py_None) {
        return write_tag(writer, FM_TAG_NONE);
    }
    if (PyUnicode_CheckExact(object)) {
        return write_string(writer, object);
    }
    if (PyLong_CheckExact(object)) {
        return write_integer(writer, object);
    }
    if (PyFloat_CheckExact(object)) {
        return write_float(writer, object);
    }
    if (PyBool_Check(object)) {
        return write_tag(writer, object == Py_True ? FM_TAG_TRUE : FM_TAG_FALSE);
    }
    if (PyBytes_CheckExact(object)) {
        return write_sized(writer, FM_TAG_BYTES, PyBytes_AS_STRING(object),
                           PyBytes_GET_SIZE(object));
    }
    return PyComplex_CheckExact(object) && write_complex(writer, object);
}

static bool
write_sequence(struct writer *writer, PyObject *sequence, int depth, bool shared)
{
    Py_ssize_t count = PySequence_Fast_GET_SIZE(sequence);
    PyObject **elements = PySequence_Fast_ITEMS(sequence);
    if (!write_count(writer, count)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!write_element(writer, elements[i], depth, shared)) {
            return false;
        }
    }
    return true;
}

static bool
write_dict(struct writer *writer, PyObject *dict, int depth)
{
    Py_ssize_t position = 0;
    PyObject *key;
    PyObject *value;
    if (!write_count(writer, PyDict_GET_SIZE(dict))) {
        return false;
    }
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!write_element(writer, key, depth, false)
            || !write_element(writer, value, depth, false)) {
            return false;
        }
    }
    return true;
}

/* What pickle looks for in an instance itself, if anybody were to put it there, begins so. */
static bool
is_attribute_name(PyObject *key)
{
    return fm_instance_is_name(key) && strncmp(PyUnicode_DATA(key), "__", 2) != 0;
}

static bool
write_attributes(struct writer *writer, PyObject *dict, int depth)
{
    Py_ssize_t position = 0;
    PyObject *key;
    PyObject *value;
    while (PyDict_Next(dict, &position, &key, &value)) {
        if (!is_attribute_name(key)) {
            return false;
        }
    }
    return write_dict(writer, dict, depth);
}

static bool
write_instance(struct writer *writer, PyObject *object, int depth)
{
    const struct fm_class *class = fm_instance_class(writer->state, object);
    if (class == NULL || !write_string(writer, class->module)
        || !write_string(writer, class->name)) {
        return false;
    }
    PyObject *dict = fm_instance_dict(object);
    bool written = dict != NULL && write_attributes(writer, dict, depth);
    Py_XDECREF(dict);
    return written;
}

/* What an element is, FM_TAG_NONE standing for all scalars; their types are none of the heap's. */
static enum fm_tag
tag_of_container(PyObject *object)
{
    if (PyTuple_CheckExact(object)) {
        return FM_TAG_TUPLE;
    }
    if (PyList_CheckExact(object)) {
        return FM_TAG_LIST;
    }
    if (PyDict_CheckExact(object)) {
        return FM_TAG_DICT;
    }
    bool heap = PyType_HasFeature(Py_TYPE(object), Py_TPFLAGS_HEAPTYPE);
    return heap ? FM_TAG_INSTANCE : FM_TAG_NONE;
}

static bool
write_mutable(struct writer *writer, enum fm_tag tag, PyObject *object, int depth)
{
    switch (tag) {
    case FM_TAG_LIST:
        return write_sequence(writer, object, depth, false);
    case FM_TAG_DICT:
        return write_dict(writer, object, depth);
    default:
        return write_instance(writer, object, depth);
    }
}

/* `shared`: the element stands within something that may be aliased, so that it must be immutable
 * all the way down. */
static bool
write_element(struct writer *writer, PyObject *object, int depth, bool shared)
{
    enum fm_tag tag = tag_of_container(object);
    if (tag == FM_TAG_NONE) {
        return write_scalar(writer, object);
    }
    shared = shared || Py_REFCNT(object) > 1;
    if (depth >= FM_NATIVE_DEPTH || (shared && tag != FM_TAG_TUPLE) || !write_tag(writer, tag)) {
        return false;
    }
    return tag == FM_TAG_TUPLE ? write_sequence(writer, object, depth + 1, shared)
                               : write_mutable(writer, tag, object, depth + 1);
}

size_t
fm_native_write(struct fm_state *state, enum fm_tag tag, PyObject *container, uint8_t *bytes,
                size_t size)
{
    struct writer writer = {.state = state, .position = bytes, .end = bytes + size};
    bool written = tag == FM_TAG_TUPLE ? write_sequence(&writer, container, 1, false)
                                       : write_mutable(&writer, tag, container, 1);
    return written ? (size_t)(writer.position - bytes) : 0;
}
