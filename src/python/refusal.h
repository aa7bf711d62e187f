/* What the system did not grant, as an exception that names the limit. */
#ifndef FM_REFUSAL_H
#define FM_REFUSAL_H

#include "state.h"

/* An OSError: fast_map could not `what`, for the reason `error`, an errno. NULL, with an exception,
 * if that can't be made. */
PyObject *fm_refusal_new(int error, const char *what);

/* Sets it; always NULL. */
PyObject *fm_refusal_raise(int error, const char *what);

#endif
