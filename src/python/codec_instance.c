/* Which instances are so plain that their class's name and their __dict__ are all of them.
 *
 * That is how pickle writes an object whose class, and the bases of that but for object, say nothing
 * about pickling, have no __slots__ and no __new__ of their own, and are of no metaclass. What has
 * been found out about a class is kept with its version, which CPython changes with every change to
 * the class or a base. As for pickle, the class must be what its module has under its name.
 *
 * Nothing here runs Python code, as the objects that the caller walks over must not change: names are
 * looked up in dicts, and no garbage is collected.
 */
#include "codec.h"

#include "compat.h"

#include <stdint.h>
#include <string.h>

/* Whoever has one of these in its class has a say in how it is pickled, or in what its __dict__ is. */
static const char *const telling_names[] = {
    "__class__",  "__getnewargs__", "__getnewargs_ex__", "__getstate__",
    "__reduce__", "__reduce_ex__",  "__setstate__",      "__slots__",
};

#define TELLING_NAMES (sizeof telling_names / sizeof *telling_names)

static PyObject *
look_up(PyObject *dict, PyObject *name)
{
    PyObject *found = dict != NULL ? PyDict_GetItemWithError(dict, name) : NULL;
    if (found == NULL) {
        PyErr_Clear();
    }
    return found;
}

static bool
has_any_telling_name(PyObject *dict)
{
    bool found = false;
    for (size_t i = 0; i < TELLING_NAMES && !found; i++) {
        PyObject *name = PyUnicode_FromString(telling_names[i]);
        found = name == NULL || look_up(dict, name) != NULL;
        Py_XDECREF(name);
    }
    PyErr_Clear();
    return found;
}

static bool
has_own_dict(PyObject *dict)
{
    PyObject *name = PyUnicode_FromString("__dict__");
    PyObject *found = name != NULL ? look_up(dict, name) : NULL;
    bool own = name == NULL || (found != NULL && Py_TYPE(found) != &PyGetSetDescr_Type);
    Py_XDECREF(name);
    PyErr_Clear();
    return own;
}

/* A class made by a class statement. */
static bool
is_plain_base(PyTypeObject *type)
{
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) && Py_IS_TYPE(type, &PyType_Type)
           && !has_any_telling_name(type->tp_dict) && !has_own_dict(type->tp_dict);
}

/* Nothing lies in the object beside its __dict__ and its weak references. */
static bool
has_no_other_state(const PyTypeObject *type)
{
    Py_ssize_t size = (Py_ssize_t)sizeof(PyObject);
    size += type->tp_dictoffset > 0 ? (Py_ssize_t)sizeof(PyObject *) : 0;
    size += type->tp_weaklistoffset > 0 ? (Py_ssize_t)sizeof(PyObject *) : 0;
    return type->tp_dictoffset != 0 && type->tp_itemsize == 0 && type->tp_basicsize <= size;
}

static bool
is_plain(const PyTypeObject *type)
{
    Py_ssize_t bases = PyTuple_GET_SIZE(type->tp_mro);
    if (type->tp_new != PyBaseObject_Type.tp_new || type->tp_getattro != PyObject_GenericGetAttr
        || !has_no_other_state(type)) {
        return false;
    }
    for (Py_ssize_t i = 0; i < bases; i++) {
        PyObject *base = PyTuple_GET_ITEM(type->tp_mro, i);
        if (base != (PyObject *)&PyBaseObject_Type && !is_plain_base((PyTypeObject *)base)) {
            return false;
        }
    }
    return true;
}

static PyObject *
get_module_name(const PyTypeObject *type)
{
    PyObject *name = PyUnicode_FromString("__module__");
    PyObject *module = name != NULL ? look_up(type->tp_dict, name) : NULL;
    Py_XDECREF(name);
    PyErr_Clear();
    return module;
}

bool
fm_instance_is_name(PyObject *object)
{
    return object != NULL && PyUnicode_CheckExact(object) && fm_compat_is_ready(object)
           && PyUnicode_IS_ASCII(object) && PyUnicode_GET_LENGTH(object) <= FM_NATIVE_KEY_MOST;
}

static void
examine(struct fm_class *class, PyTypeObject *type, unsigned version)
{
    PyObject *name = ((PyHeapTypeObject *)type)->ht_qualname;
    PyObject *module = is_plain(type) ? get_module_name(type) : NULL;
    class->type = type;
    class->version = version;
    class->plain = fm_instance_is_name(module) && fm_instance_is_name(name);
    Py_XSETREF(class->module, class->plain ? Py_NewRef(module) : NULL);
    Py_XSETREF(class->name, class->plain ? Py_NewRef(name) : NULL);
}

/* What is known of the class, NULL if it is not plain. The address of a class that is gone may be
 * another's, but no version is given twice. */
static const struct fm_class *
find_plain(struct fm_state *state, PyTypeObject *type)
{
    if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE)) {
        return NULL;
    }
    unsigned version = fm_compat_type_version(type);
    struct fm_class *class = &state->classes[(uintptr_t)type / sizeof(PyTypeObject) % FM_CLASSES];
    if (version == 0) {
        return NULL;
    }
    if (class->type != type || class->version != version) {
        examine(class, type, version);
    }
    return class->plain ? class : NULL;
}

/* Borrowed; NULL without an exception if it is not there, or not as simply as that. */
static PyObject *
find_by_name(PyObject *module_name, PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (!PyDict_CheckExact(modules)) {
        return NULL;
    }
    PyObject *module = look_up(modules, module_name);
    return module != NULL && PyModule_CheckExact(module) ? look_up(PyModule_GetDict(module), name)
                                                         : NULL;
}

const struct fm_class *
fm_instance_class(struct fm_state *state, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    const struct fm_class *class = find_plain(state, type);
    if (class == NULL || look_up(state->dispatch_table, (PyObject *)type) != NULL
        || find_by_name(class->module, class->name) != (PyObject *)type) {
        return NULL;
    }
    return class;
}

PyObject *
fm_instance_dict(PyObject *object)
{
    /* To make a dict might be what starts a collection, and that runs code. */
    int collects = PyGC_Disable();
    PyObject *dict = PyObject_GenericGetDict(object, NULL);
    if (collects) {
        (void)PyGC_Enable();
    }
    if (dict == NULL) {
        PyErr_Clear();
    }
    return dict;
}

PyObject *
fm_instance_new(struct fm_state *state, PyObject *module, PyObject *name)
{
    PyObject *found = find_by_name(module, name);
    if (found == NULL || !PyType_Check(found) || find_plain(state, (PyTypeObject *)found) == NULL) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)Py_NewRef(found);
    PyObject *no_arguments = PyTuple_New(0);
    PyObject *object = no_arguments != NULL ? type->tp_new(type, no_arguments, NULL) : NULL;
    Py_XDECREF(no_arguments);
    Py_DECREF(type);
    return object;
}
