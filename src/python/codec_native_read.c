/* Strings and small containers, without pickle: the way back of codec_native_write.c.
 *
 * Every count and size is checked against the bytes that there are, and every string's characters
 * against its kind, because a str that Python itself would not make breaks what it is given to.
 */
#include "codec.h"

#include <string.h>

struct reader {
    struct fm_state *state;
    const uint8_t *position;
    const uint8_t *end;
};

static PyObject *read_element(struct reader *reader, int depth);

static const void *
read_bytes(struct reader *reader, size_t size)
{
    if ((size_t)(reader->end - reader->position) < size) {
        (void)fm_codec_damaged();
        return NULL;
    }
    const void *bytes = reader->position;
    reader->position += size;
    return bytes;
}

/* A count of elements can't exceed the bytes that are left: each takes one at least. */
static Py_ssize_t
read_count(struct reader *reader)
{
    uint32_t count;
    const void *bytes = read_bytes(reader, sizeof count);
    if (bytes == NULL) {
        return -1;
    }
    memcpy(&count, bytes, sizeof count);
    if (count > (size_t)(reader->end - reader->position)) {
        (void)fm_codec_damaged();
        return -1;
    }
    return (Py_ssize_t)count;
}

/* A string is of the narrowest kind that its characters fit, so that the widest needs it. */
static const struct width {
    unsigned kind; /* bytes per character */
    Py_UCS4 least; /* of the widest character; a power of two */
    Py_UCS4 most;
} widths[] = {
    [FM_TAG_ASCII - FM_TAG_ASCII] = {PyUnicode_1BYTE_KIND, 0, 0x7F},
    [FM_TAG_LATIN1 - FM_TAG_ASCII] = {PyUnicode_1BYTE_KIND, 0x80, 0xFF},
    [FM_TAG_UCS2 - FM_TAG_ASCII] = {PyUnicode_2BYTE_KIND, 0x100, 0xFFFF},
    [FM_TAG_UCS4 - FM_TAG_ASCII] = {PyUnicode_4BYTE_KIND, 0x10000, 0x10FFFF},
};

/* The bitwise or of all characters, eight bytes at a time. */
static Py_UCS4
combine_characters(const char *bytes, size_t size, unsigned kind)
{
    uint64_t word;
    uint64_t lanes = 0;
    size_t position = 0;
    for (; size - position >= sizeof word; position += sizeof word) {
        memcpy(&word, bytes + position, sizeof word);
        lanes |= word;
    }
    word = 0;
    memcpy(&word, bytes + position, size - position);
    lanes |= word;
    for (unsigned bits = 32; bits >= 8 * kind; bits /= 2) {
        lanes |= lanes >> bits;
    }
    return (Py_UCS4)(lanes & ((UINT64_C(1) << 8 * kind) - 1));
}

static bool
has_beyond_unicode(PyObject *string)
{
    const Py_UCS4 *characters = PyUnicode_4BYTE_DATA(string);
    Py_ssize_t length = PyUnicode_GET_LENGTH(string);
    bool found = false;
    for (Py_ssize_t i = 0; i < length; i++) {
        found |= characters[i] > 0x10FFFF;
    }
    return found;
}

/* Copied and not looked at in place: within a stream the characters are not aligned. */
PyObject *
fm_native_read_string(enum fm_tag tag, const void *bytes, size_t size)
{
    const struct width *width = &widths[tag - FM_TAG_ASCII];
    Py_UCS4 combined = combine_characters(bytes, size, width->kind);
    /* 0x10FFFF is the one limit that characters may keep and their combination exceed. */
    bool fits = combined <= width->most;
    if (size % width->kind != 0 || combined < width->least || (!fits && tag != FM_TAG_UCS4)) {
        return fm_codec_damaged();
    }
    PyObject *string = PyUnicode_New((Py_ssize_t)(size / width->kind), width->most);
    if (string == NULL) {
        return NULL;
    }
    memcpy(PyUnicode_DATA(string), bytes, size);
    if (!fits && has_beyond_unicode(string)) {
        Py_DECREF(string);
        return fm_codec_damaged();
    }
    return string;
}

static PyObject *
read_sized(struct reader *reader, enum fm_tag tag)
{
    Py_ssize_t size = read_count(reader);
    const void *bytes = size >= 0 ? read_bytes(reader, (size_t)size) : NULL;
    if (bytes == NULL) {
        return NULL;
    }
    if (tag == FM_TAG_BYTES) {
        return PyBytes_FromStringAndSize(bytes, size);
    }
    return fm_native_read_string(tag, bytes, (size_t)size);
}

static PyObject *
read_integer(struct reader *reader)
{
    long long number;
    const void *bytes = read_bytes(reader, sizeof number);
    if (bytes == NULL) {
        return NULL;
    }
    memcpy(&number, bytes, sizeof number);
    return PyLong_FromLongLong(number);
}

static PyObject *
read_float(struct reader *reader)
{
    double number;
    const void *bytes = read_bytes(reader, sizeof number);
    if (bytes == NULL) {
        return NULL;
    }
    memcpy(&number, bytes, sizeof number);
    return PyFloat_FromDouble(number);
}

static PyObject *
read_complex(struct reader *reader)
{
    Py_complex number;
    const void *bytes = read_bytes(reader, sizeof number);
    if (bytes == NULL) {
        return NULL;
    }
    memcpy(&number, bytes, sizeof number);
    return PyComplex_FromCComplex(number);
}

static PyObject *
read_tuple(struct reader *reader, int depth)
{
    Py_ssize_t count = read_count(reader);
    PyObject *tuple = count >= 0 ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; tuple != NULL && i < count; i++) {
        PyObject *element = read_element(reader, depth);
        if (element == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, element);
    }
    return tuple;
}

static PyObject *
read_list(struct reader *reader, int depth)
{
    Py_ssize_t count = read_count(reader);
    PyObject *list = count >= 0 ? PyList_New(count) : NULL;
    for (Py_ssize_t i = 0; list != NULL && i < count; i++) {
        PyObject *element = read_element(reader, depth);
        if (element == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, element);
    }
    return list;
}

/* Where a key is kept: by FNV-1a, the hash of Fowler, Noll and Vo. */
static PyObject **
place_of_key(struct fm_state *state, const uint8_t *bytes, size_t size)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 16777619U;
    }
    return &state->keys[(hash ^ hash >> 16) % FM_STATE_KEYS];
}

static bool
is_string(PyObject *kept, const uint8_t *bytes, size_t size)
{
    return kept != NULL && (size_t)PyUnicode_GET_LENGTH(kept) == size
           && memcmp(PyUnicode_DATA(kept), bytes, size) == 0;
}

/* Records have the same keys again and again: the same object is quicker to make and, having its hash
 * already, to put into a dict; and it takes no memory. Names of attributes are interned, for Python
 * looks for them as such before it compares them. NULL without an exception if the next element is no
 * string to be kept. */
static PyObject *
read_kept_string(struct reader *reader, int depth, bool interned)
{
    struct reader ahead = *reader;
    const uint8_t *tag = read_bytes(&ahead, 1);
    Py_ssize_t size = tag != NULL && *tag == FM_TAG_ASCII ? read_count(&ahead) : -1;
    const uint8_t *bytes = size >= 0 ? read_bytes(&ahead, (size_t)size) : NULL;
    if (bytes == NULL || size > FM_NATIVE_KEY_MOST) {
        PyErr_Clear();
        return NULL;
    }
    PyObject **place = place_of_key(reader->state, bytes, (size_t)size);
    if (is_string(*place, bytes, (size_t)size)) {
        reader->position = ahead.position;
    } else {
        PyObject *string = read_element(reader, depth);
        if (string == NULL) {
            return NULL;
        }
        Py_XSETREF(*place, string);
    }
    if (interned && !PyUnicode_CHECK_INTERNED(*place)) {
        PyUnicode_InternInPlace(place);
    }
    return Py_NewRef(*place);
}

static PyObject *
read_key(struct reader *reader, int depth)
{
    PyObject *key = read_kept_string(reader, depth, false);
    return key == NULL && !PyErr_Occurred() ? read_element(reader, depth) : key;
}

/* Of a class or an attribute. */
static PyObject *
read_name(struct reader *reader, int depth)
{
    PyObject *name = read_kept_string(reader, depth, true);
    return name == NULL && !PyErr_Occurred() ? fm_codec_damaged() : name;
}

static int
read_dict_entry(struct reader *reader, PyObject *dict, int depth, bool attributes)
{
    PyObject *key = attributes ? read_name(reader, depth) : read_key(reader, depth);
    PyObject *value = key != NULL ? read_element(reader, depth) : NULL;
    int result = value != NULL ? PyDict_SetItem(dict, key, value) : -1;
    Py_XDECREF(key);
    Py_XDECREF(value);
    return result;
}

static int
read_dict_entries(struct reader *reader, PyObject *dict, int depth, bool attributes)
{
    Py_ssize_t count = read_count(reader);
    int result = count >= 0 ? 0 : -1;
    for (Py_ssize_t i = 0; result == 0 && i < count; i++) {
        result = read_dict_entry(reader, dict, depth, attributes);
    }
    return result;
}

static PyObject *
read_dict(struct reader *reader, int depth)
{
    PyObject *dict = PyDict_New();
    if (dict != NULL && read_dict_entries(reader, dict, depth, false) < 0) {
        Py_CLEAR(dict);
    }
    return dict;
}

/* An instance of a plain class is made first, for its __dict__ shares its keys with others'. */
static PyObject *
read_attributes(struct reader *reader, int depth, PyObject *module, PyObject *name)
{
    PyObject *object = fm_instance_new(reader->state, module, name);
    if (object == NULL && PyErr_Occurred()) {
        return NULL;
    }
    PyObject *dict = object != NULL ? PyObject_GenericGetDict(object, NULL) : PyDict_New();
    if (dict == NULL || read_dict_entries(reader, dict, depth, true) < 0) {
        Py_CLEAR(object);
    } else if (object == NULL) {
        object =
            PyObject_CallFunctionObjArgs(reader->state->make_instance, module, name, dict, NULL);
    }
    Py_XDECREF(dict);
    return object;
}

static PyObject *
read_instance(struct reader *reader, int depth)
{
    PyObject *module = read_name(reader, depth);
    PyObject *name = module != NULL ? read_name(reader, depth) : NULL;
    PyObject *object = name != NULL ? read_attributes(reader, depth, module, name) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(name);
    return object;
}

static PyObject *
read_container(struct reader *reader, enum fm_tag tag, int depth)
{
    if (depth > FM_NATIVE_DEPTH) {
        return fm_codec_damaged();
    }
    switch (tag) {
    case FM_TAG_TUPLE:
        return read_tuple(reader, depth + 1);
    case FM_TAG_LIST:
        return read_list(reader, depth + 1);
    case FM_TAG_DICT:
        return read_dict(reader, depth + 1);
    case FM_TAG_INSTANCE:
        return read_instance(reader, depth + 1);
    default:
        return fm_codec_damaged();
    }
}

static PyObject *
read_element(struct reader *reader, int depth)
{
    const uint8_t *tag = read_bytes(reader, 1);
    if (tag == NULL) {
        return NULL;
    }
    switch ((enum fm_tag) * tag) {
    case FM_TAG_NONE:
        return Py_NewRef(Py_None);
    case FM_TAG_FALSE:
        return Py_NewRef(Py_False);
    case FM_TAG_TRUE:
        return Py_NewRef(Py_True);
    case FM_TAG_INTEGER:
        return read_integer(reader);
    case FM_TAG_FLOAT:
        return read_float(reader);
    case FM_TAG_COMPLEX:
        return read_complex(reader);
    case FM_TAG_ASCII:
    case FM_TAG_LATIN1:
    case FM_TAG_UCS2:
    case FM_TAG_UCS4:
    case FM_TAG_BYTES:
        return read_sized(reader, (enum fm_tag) * tag);
    default:
        return read_container(reader, (enum fm_tag) * tag, depth);
    }
}

PyObject *
fm_native_read(struct fm_state *state, enum fm_tag tag, const uint8_t *bytes, size_t size)
{
    struct reader reader = {.state = state, .position = bytes, .end = bytes + size};
    PyObject *container = read_container(&reader, tag, 0);
    if (container != NULL && reader.position != reader.end) {
        Py_DECREF(container);
        return fm_codec_damaged();
    }
    return container;
}
