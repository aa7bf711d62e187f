/* fast_map._core: the extension module. */
#include "async.h"
#include "codec.h"
#include "context.h"
#include "coroutines.h"
#include "generator.h"
#include "process.h"
#include "thread_state.h"
#include "view.h"

struct fm_state *
fm_state_of_module(PyObject *module)
{
    return PyModule_GetState(module);
}

/* Every option has a place of its own here; fast_map() names, checks and explains them. */
static PyObject *
start(PyObject *module, PyObject *arguments, PyObject *named)
{
    static char *names[] = {
        "",
        "",
        "length",
        "star",
        "kwstar",
        "args",
        "kwargs",
        "initializer",
        "initargs",
        "threads_limit",
        "procs_limit",
        "buffersize",
        "buffer_bytes",
        "chunksize",
        "max_tasks_per_child",
        "retries",
        "task_timeout",
        "return_exceptions",
        "ordered",
        "coroutines",
        "remote",
        NULL,
    };
    struct fm_job_options options = {0};
    PyObject *iterables;
    Py_ssize_t length;
    unsigned long long numbers[6];
    int kwstar;
    long long procs_limit;
    int return_exceptions;
    int ordered;
    int coroutines;
    int remote;
    if (!PyArg_ParseTupleAndKeywords(
            arguments, named, "OO!$nipO!O!OO!KLKKKKKdpppp:start", names, &options.function,
            &PyTuple_Type, &iterables, &length, &options.star, &kwstar, &PyTuple_Type,
            &options.args, &PyDict_Type, &options.kwargs, &options.initializer, &PyTuple_Type,
            &options.initargs, &numbers[0], &procs_limit, &numbers[1], &numbers[2], &numbers[3],
            &numbers[4], &numbers[5], &options.task_timeout, &return_exceptions, &ordered,
            &coroutines, &remote)) {
        return NULL;
    }
    options.kwstar = kwstar;
    options.threads_limit = numbers[0];
    options.procs_limit = procs_limit > 0 ? (uint64_t)procs_limit : 0;
    options.local = procs_limit == 0;
    options.buffersize = numbers[1];
    options.buffer_bytes = numbers[2];
    options.chunksize = numbers[3];
    options.max_tasks_per_child = numbers[4];
    options.retries = numbers[5];
    options.length = length >= 0 ? (uint64_t)length : FM_UNKNOWN_TOTAL;
    options.return_exceptions = return_exceptions;
    options.unordered = !ordered;
    options.coroutines = coroutines;
    options.remote = remote;
    return fm_generator_new(module, iterables, &options, length);
}

static PyObject *
serve_nursery(PyObject *module, PyObject *arguments)
{
    PyObject *payload;
    PyObject *recipe;
    struct fm_engine_fds fds;
    int ready_fd;
    if (PyArg_ParseTuple(arguments, "OO!(iiiiii)i:serve_nursery", &payload, &PyTuple_Type, &recipe,
                         &fds.board.board, &fds.board.arena, &fds.board.consumer, &fds.parent_pidfd,
                         &fds.close_fd, &fds.nursery_fd, &ready_fd)) {
        fm_job_serve(module, payload, recipe, &fds, ready_fd);
    }
    return NULL;
}

static PyObject *
enter_fork(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct fm_state *state = PyModule_GetState(module);
    fm_context_forget_threads(state);
    fm_view_make_all_private(state);
    Py_RETURN_NONE;
}

static PyObject *
await_threads(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    fm_context_await_threads(PyModule_GetState(module));
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"start", (PyCFunction)(void (*)(void))start, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("start(fn, iterables, /, **options)\n\n"
               "Start a map; limits of 0 stand for None, but for procs_limit, where that is -1\n"
               "and 0 means threads of this process. fast_map() checks the arguments.")},
    {"serve_nursery", serve_nursery, METH_VARARGS,
     PyDoc_STR("serve_nursery(payload, recipe, fds, ready_fd, /)\n\n"
               "In a fork server's child: fork workers for a parent until it ends. Returns only\n"
               "with an exception.")},
    {"await_threads", await_threads, METH_NOARGS,
     PyDoc_STR(
         "await_threads($module, /)\n--\n\n"
         "At the interpreter's exit, when all maps have ended: until no thread of the extension\n"
         "is just starting, or in threading, and none will be.")},
    {"enter_fork", enter_fork, METH_NOARGS,
     PyDoc_STR(
         "enter_fork($module, /)\n--\n\n"
         "In a forked process: the threads of the extension are not there, and what it writes to\n"
         "arrays that came from a map stays there.")},
    {NULL, NULL, 0, NULL},
};

/* Where each object of Python code that the extension uses is found, and where it goes. */
struct import {
    const char *module;
    const char *name;
    size_t offset;
};

#define IMPORT(module, name, field) {module, name, offsetof(struct fm_state, field)}

static const struct import imports[] = {
    IMPORT("pickle", "dumps", pickle_dumps),
    IMPORT("pickle", "loads", pickle_loads),
    IMPORT("copyreg", "dispatch_table", dispatch_table),
    IMPORT("fast_map._instances", "make_instance", make_instance),
    IMPORT("fast_map._arrays", "load_arrays", load_arrays),
    IMPORT("fast_map._errors", "pack_exception", pack_exception),
    IMPORT("fast_map._errors", "unpack_exception", unpack_exception),
    IMPORT("fast_map._errors", "keep_exception", keep_exception),
    IMPORT("fast_map._errors", "open_kept_exception", open_kept_exception),
    IMPORT("fast_map._errors", "make_crash_error", make_crash_error),
    IMPORT("fast_map._errors", "make_timeout_error", make_timeout_error),
    IMPORT("fast_map._errors", "make_exit_error", make_exit_error),
    IMPORT("fast_map._errors", "explain_decoding_error", explain_decoding_error),
    IMPORT("fast_map._coroutines", "open_event_loop", open_event_loop),
    IMPORT("fast_map._coroutines", "close_event_loop", close_event_loop),
    IMPORT("fast_map._coroutines", "call_in_loop", call_in_loop),
    IMPORT("fast_map._coroutines", "write_stack", write_coroutine_stack),
    IMPORT("fast_map._stats", "make_stats", make_stats),
    IMPORT("fast_map._worker", "set_up_worker", set_up_worker),
    IMPORT("fast_map._worker", "set_up_process", set_up_process),
    IMPORT("fast_map._worker", "prepare_stack_dump", prepare_stack_dump),
    IMPORT("fast_map._worker", "prepare_workers", prepare_workers),
    IMPORT("fast_map._worker", "find_unfinished", find_unfinished),
    IMPORT("fast_map._worker", "leave", leave),
    IMPORT("fast_map._imports", "locks", import_locks),
    IMPORT("fast_map._imports", "given_up", imports_given_up),
    IMPORT("fast_map._imports", "await_those_under_way", await_imports),
    IMPORT("fast_map._threads", "capture_context", capture_context),
    IMPORT("fast_map._threads", "begin_thread", begin_thread),
    IMPORT("fast_map._threads", "name_worker_thread", name_worker_thread),
    IMPORT("fast_map._threads", "name_local_thread", name_local_thread),
    IMPORT("fast_map._threads", "forget_local_thread", forget_local_thread),
};

#define IMPORT_COUNT (sizeof imports / sizeof imports[0])

static PyObject **
imported_field(struct fm_state *state, const struct import *import)
{
    return (PyObject **)((char *)state + import->offset);
}

static int
import_objects(struct fm_state *state)
{
    for (size_t i = 0; i < IMPORT_COUNT; i++) {
        PyObject *module = PyImport_ImportModule(imports[i].module);
        if (module == NULL) {
            return -1;
        }
        PyObject *object = PyObject_GetAttrString(module, imports[i].name);
        Py_DECREF(module);
        if (object == NULL) {
            return -1;
        }
        *imported_field(state, &imports[i]) = object;
    }
    return 0;
}

static int
make_constants(struct fm_state *state)
{
    state->protocol = PyLong_FromLong(5);
    state->dumps_keywords = Py_BuildValue("(ss)", "protocol", "buffer_callback");
    state->loads_keywords = Py_BuildValue("(s)", "buffers");
    return state->protocol != NULL && state->dumps_keywords != NULL && state->loads_keywords != NULL
               ? 0
               : -1;
}

static PyTypeObject *
make_type(PyObject *module, PyType_Spec *spec)
{
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
}

/* CPython can fork from the main interpreter only. Not all of the others look at the slots below. */
static int
refuse_subinterpreters(void)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "fast_map runs in the main interpreter only, since others cannot fork "
                        "(mod_wsgi uses it with WSGIApplicationGroup %{GLOBAL})");
        return -1;
    }
    return 0;
}

static int
execute(PyObject *module)
{
    struct fm_state *state = PyModule_GetState(module);
    if (refuse_subinterpreters() < 0) {
        return -1;
    }
    if (fm_process_count_generations() < 0 || fm_thread_state_guard_forks() < 0) {
        PyErr_NoMemory();
        return -1;
    }
    if (import_objects(state) < 0 || make_constants(state) < 0) {
        return -1;
    }
    state->generator_type = make_type(module, &fm_generator_spec);
    if (state->generator_type == NULL || PyModule_AddType(module, state->generator_type) < 0) {
        return -1;
    }
    state->awaitable_type = make_type(module, &fm_awaitable_spec);
    state->view_type = make_type(module, &fm_view_spec);
    state->coroutine_type = make_type(module, &fm_coroutine_spec);
    return state->awaitable_type != NULL && state->view_type != NULL
                   && state->coroutine_type != NULL
               ? 0
               : -1;
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    struct fm_state *state = PyModule_GetState(module);
    for (size_t i = 0; i < IMPORT_COUNT; i++) {
        Py_VISIT(*imported_field(state, &imports[i]));
    }
    Py_VISIT(state->generator_type);
    Py_VISIT(state->awaitable_type);
    Py_VISIT(state->view_type);
    Py_VISIT(state->coroutine_type);
    return 0;
}

static int
clear(PyObject *module)
{
    struct fm_state *state = PyModule_GetState(module);
    for (size_t i = 0; i < IMPORT_COUNT; i++) {
        Py_CLEAR(*imported_field(state, &imports[i]));
    }
    Py_CLEAR(state->protocol);
    Py_CLEAR(state->dumps_keywords);
    Py_CLEAR(state->loads_keywords);
    fm_codec_forget(state);
    Py_CLEAR(state->generator_type);
    Py_CLEAR(state->awaitable_type);
    Py_CLEAR(state->view_type);
    Py_CLEAR(state->coroutine_type);
    return 0;
}

static void
free_module(void *module)
{
    (void)clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fast_map._core",
    .m_doc = "The engine of fast_map, in C.",
    .m_size = sizeof(struct fm_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_module,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
