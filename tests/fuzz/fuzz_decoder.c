/* libFuzzer over the decoder: an input is a tag, the way it is decoded, and a payload.
 *
 * A pickle does what it says, whatever that is, so that here nobody follows one: what takes pickles
 * only touches the bytes and buffers that it is handed, each of which must be readable, and writable
 * where they say so.
 */
#include "payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum way { WAY_OWNED = 1, WAY_MAY_RERUN = 2, WAY_INLINE = 4 };

static struct fm_state state;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "%s\n", what);
        PyErr_Print();
        abort();
    }
}

/* Turns over each byte of a writable buffer; copies a read-only one. */
static int
touch_buffer(PyObject *object)
{
    Py_buffer buffer;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    uint8_t *bytes = buffer.buf;
    for (Py_ssize_t i = 0; !buffer.readonly && i < buffer.len; i++) {
        bytes[i] = (uint8_t)~bytes[i];
    }
    PyObject *copy = PyBytes_FromStringAndSize(buffer.buf, buffer.len);
    PyBuffer_Release(&buffer);
    Py_XDECREF(copy);
    return copy != NULL ? 0 : -1;
}

/* In the place of pickle.loads; the buffers live as long as what it returns. */
static PyObject *
touch_pickle(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"pickle", "buffers", NULL};
    PyObject *pickle;
    PyObject *buffers = NULL;
    (void)self;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$O!", names, &pickle, &PyTuple_Type,
                                     &buffers)
        || touch_buffer(pickle) < 0) {
        return NULL;
    }
    Py_ssize_t count = buffers != NULL ? PyTuple_GET_SIZE(buffers) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (touch_buffer(PyTuple_GET_ITEM(buffers, i)) < 0) {
            return NULL;
        }
    }
    return Py_NewRef(buffers != NULL ? buffers : Py_None);
}

static PyMethodDef touch_pickle_method = {"loads", (PyCFunction)(void (*)(void))touch_pickle,
                                          METH_VARARGS | METH_KEYWORDS, NULL};

/* With malloc, where AddressSanitizer watches every object. */
static PyStatus
start_interpreter(void)
{
    PyPreConfig early;
    PyConfig config;
    PyPreConfig_InitIsolatedConfig(&early);
    early.allocator = PYMEM_ALLOCATOR_MALLOC;
    PyStatus status = Py_PreInitialize(&early);
    if (PyStatus_Exception(status)) {
        return status;
    }
    PyConfig_InitIsolatedConfig(&config);
    status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    PyStatus status = start_interpreter();
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
    PyObject *loads = PyCFunction_New(&touch_pickle_method, NULL);
    check(loads != NULL && payload_state_init(&state, loads) == 0, "the codec has no state");
    Py_DECREF(loads);
    return 0;
}

/* The characters keep to the string's kind, which is the narrowest that holds them. */
static void
look_over_string(PyObject *string)
{
    int kind = (int)PyUnicode_KIND(string);
    const void *characters = PyUnicode_DATA(string);
    Py_ssize_t length = PyUnicode_GET_LENGTH(string);
    Py_UCS4 most = PyUnicode_MAX_CHAR_VALUE(string);
    for (Py_ssize_t i = 0; i < length; i++) {
        check(PyUnicode_READ(kind, characters, i) <= most, "a character is too wide");
    }
    PyObject *again = PyUnicode_FromKindAndData(kind, characters, length);
    check(again != NULL && PyUnicode_MAX_CHAR_VALUE(again) == most, "a string is too wide");
    Py_DECREF(again);
}

static void
look_over(PyObject *object)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t position = 0;
    if (PyUnicode_Check(object)) {
        look_over_string(object);
    } else if (PyTuple_Check(object) || PyList_Check(object)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); i++) {
            look_over(PySequence_Fast_GET_ITEM(object, i));
        }
    } else if (PyDict_Check(object)) {
        while (PyDict_Next(object, &position, &key, &value)) {
            look_over(key);
            look_over(value);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return -1;
    }
    const struct payload payload = {
        .tag = data[0],
        .owned = (data[1] & WAY_OWNED) != 0,
        .may_rerun = (data[1] & WAY_MAY_RERUN) != 0,
        .is_inline = (data[1] & WAY_INLINE) != 0,
        .bytes = data + 2,
        .size = size - 2,
    };
    PyObject *object = payload_decode(&state, &payload);
    check((object == NULL) == (PyErr_Occurred() != NULL), "neither an object nor an exception");
    if (object != NULL) {
        look_over(object);
        Py_DECREF(object);
    }
    /* What CPython raises when its own interface is used wrongly. */
    check(!PyErr_ExceptionMatches(PyExc_SystemError), "the decoder misuses CPython");
    PyErr_Clear();
    return 0;
}
