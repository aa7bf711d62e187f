/* Where CPython's versions from 3.10 on differ, and nothing else. */
#ifndef FM_COMPAT_H
#define FM_COMPAT_H

#include <Python.h>

#include <stdbool.h>

/* Up to 3.11 a str might still have to be brought into its canonical form. */
static inline bool
fm_compat_is_ready(PyObject *string)
{
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(string) < 0) {
        PyErr_Clear();
        return false;
    }
#else
    (void)string;
#endif
    return true;
}

/* Whether the int is so small that its value can be read at once; then *number is that. */
static inline bool
fm_compat_read_small_int(PyObject *object, long long *number)
{
#if PY_VERSION_HEX >= 0x030C0000
    if (!PyUnstable_Long_IsCompact((PyLongObject *)object)) {
        return false;
    }
    *number = PyUnstable_Long_CompactValue((PyLongObject *)object);
#else
    Py_ssize_t size = Py_SIZE(object);
    if (size < -1 || size > 1) {
        return false;
    }
    *number = size == 0 ? 0 : size * (long long)((PyLongObject *)object)->ob_digit[0];
#endif
    return true;
}

/* Bytes that the two's complement of an int of any size takes, at most one more than it must. */
static inline Py_ssize_t
fm_compat_int_size(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_AsNativeBytes(object, NULL, 0, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    size_t bits = _PyLong_NumBits(object);
    return bits != (size_t)-1 ? (Py_ssize_t)(bits / 8 + 1) : -1;
#endif
}

/* An int of any size as `size` bytes of two's complement, little-endian. */
static inline int
fm_compat_int_to_bytes(PyObject *object, void *bytes, size_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
    int flags = Py_ASNATIVEBYTES_LITTLE_ENDIAN;
    return PyLong_AsNativeBytes(object, bytes, (Py_ssize_t)size, flags) < 0 ? -1 : 0;
#else
    return _PyLong_AsByteArray((PyLongObject *)object, bytes, size, 1, 1);
#endif
}

static inline PyObject *
fm_compat_int_from_bytes(const void *bytes, size_t size)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, size, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, size, 1, 1);
#endif
}

/* A number that no other class has, and this one has only until it or a base is changed; 0 if there
 * is none. */
static inline unsigned
fm_compat_type_version(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyUnstable_Type_AssignVersionTag(type) ? type->tp_version_tag : 0;
#else
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) {
        PyObject *name = PyUnicode_FromString("__init__");
        /* Looking anything up gives it one. */
        (void)(name != NULL ? _PyType_Lookup(type, name) : NULL);
        Py_XDECREF(name);
        PyErr_Clear();
    }
    return PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG) ? type->tp_version_tag : 0;
#endif
}

/* A new reference; NULL, and maybe an exception, if it is gone. */
static inline PyObject *
fm_compat_get_referent(PyObject *reference)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *referent = NULL;
    (void)PyWeakref_GetRef(reference, &referent);
    return referent;
#else
    PyObject *referent = PyWeakref_GetObject(reference);
    return referent != Py_None ? Py_XNewRef(referent) : NULL;
#endif
}

/* Whether that thread has the GIL, asked from another one: an answer that lasts only while no other
 * thread can get it. */
static inline bool
fm_compat_has_gil(PyThreadState *state)
{
#if PY_VERSION_HEX >= 0x030C0000
    return state->_status.active;
#else
    return _PyThreadState_UncheckedGet() == state;
#endif
}

/* The exception that is set, normalised and with its traceback; it is no longer set. */
static inline PyObject *
fm_compat_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type;
    PyObject *value;
    PyObject *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL && value != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

#endif
