/* The type FastMap: what fast_map() returns. */
#ifndef FM_GENERATOR_H
#define FM_GENERATOR_H

#include "job.h"

/* Starts a job and returns its FastMap; `length` is its number of items, or -1. */
PyObject *fm_generator_new(PyObject *module, PyObject *iterables,
                           const struct fm_job_options *options, Py_ssize_t length);

extern PyType_Spec fm_generator_spec;

#endif
