/* What the extension module holds per interpreter. What is not said to be kept here is set once, when
 * the module is executed; all is read with the GIL. */
#ifndef FM_STATE_H
#define FM_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "link.h"

#include <stdbool.h>

/* How many keys of dicts are kept, and of how many classes it is known whether they are plain. */
#define FM_STATE_KEYS 64
#define FM_CLASSES 32

/* What codec_instance.c knows of a class. */
struct fm_class {
    const PyTypeObject *type; /* borrowed, and only to be compared */
    unsigned version;
    bool plain;
    PyObject *module; /* its name; NULL if it is not plain */
    PyObject *name;   /* likewise */
};

struct fm_state {
    PyTypeObject *generator_type; /* FastMap */
    PyTypeObject *awaitable_type; /* what the methods for event loops return; async.h */
    PyTypeObject *view_type;      /* memory of the arena as Python sees it; view.h */
    PyTypeObject *coroutine_type; /* what an event loop runs for an item; coroutines.h */

    PyObject *pickle_dumps;
    PyObject *pickle_loads;
    PyObject *dumps_keywords; /* ("protocol", "buffer_callback") */
    PyObject *loads_keywords; /* ("buffers",) */
    PyObject *protocol;       /* 5 */

    PyObject *dispatch_table; /* of copyreg */
    PyObject *make_instance;  /* of fast_map._instances */
    PyObject *load_arrays;    /* of fast_map._arrays */

    /* Python functions of fast_map._errors. */
    PyObject *pack_exception;
    PyObject *unpack_exception;
    PyObject *keep_exception;
    PyObject *open_kept_exception;
    PyObject *make_crash_error;
    PyObject *make_timeout_error;
    PyObject *make_exit_error;
    PyObject *explain_decoding_error;

    /* Python functions of fast_map._coroutines. */
    PyObject *open_event_loop;
    PyObject *close_event_loop;
    PyObject *call_in_loop;
    PyObject *write_coroutine_stack;

    PyObject *make_stats; /* of fast_map._stats */

    /* Python functions of fast_map._worker. */
    PyObject *set_up_worker;
    PyObject *set_up_process;
    PyObject *prepare_stack_dump;
    PyObject *prepare_workers;
    PyObject *find_unfinished;
    PyObject *leave;

    /* Of fast_map._imports. */
    PyObject *import_locks;
    PyObject *imports_given_up;
    PyObject *await_imports;

    /* Python functions of fast_map._threads. */
    PyObject *capture_context;
    PyObject *begin_thread;
    PyObject *name_worker_thread;
    PyObject *name_local_thread;
    PyObject *forget_local_thread;

    /* Kept by the codec, with the GIL: strings that were keys of dicts lately, or NULL; what is known
     * of classes; and numpy's type of arrays with some of its dtypes (a tuple), NULL before the first
     * array. */
    PyObject *keys[FM_STATE_KEYS];
    struct fm_class classes[FM_CLASSES];
    PyObject *ndarray;
    PyObject *dtypes;

    /* Kept by context.c: threads of ours that are in code of threading's. */
    unsigned threads_in_threading;

    /* Kept by engine.c: those that there are. */
    struct fm_link *engines;
};

struct fm_state *fm_state_of_module(PyObject *module);

#endif
