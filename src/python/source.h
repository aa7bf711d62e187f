/* The input: one or more iterables, read in step up to the end of the shortest.
 *
 * Where all of them are lists, tuples or ranges the workers inherit them by the fork and only
 * indexes travel. Otherwise the feeder reads iterators. All of this runs with the GIL.
 */
#ifndef FM_SOURCE_H
#define FM_SOURCE_H

#include "state.h"

#include <stdbool.h>
#include <stdint.h>

/* A range that 64-bit arithmetic can count through, for the fast way to its items. */
struct fm_range {
    bool is_small;
    long long start;
    long long step;
};

struct fm_source {
    PyObject *inputs; /* tuple: the sequences as they are, or the iterators */
    Py_ssize_t count;
    bool inherited;
    uint64_t total;          /* of items; FM_UNKNOWN_TOTAL where iterators are read */
    struct fm_range *ranges; /* inherited: one for each input */
};

/* From the tuple of iterables; asks each for its iterator if it can't be inherited, or if workers
 * inherit nothing. -1 with TypeError naming the argument that is not iterable. */
int fm_source_init(struct fm_source *source, PyObject *iterables, bool workers_inherit);

/* In a worker that did not inherit the input: `count` of iterables. */
void fm_source_attach(struct fm_source *source, Py_ssize_t count);
void fm_source_fini(struct fm_source *source);

/* Worker, inherited input: argument number `which` of an item. NULL with an exception. */
PyObject *fm_source_get(const struct fm_source *source, Py_ssize_t which, uint64_t item);

/* Feeder: the next item, which is the argument itself or, with several iterables, a tuple of them.
 * NULL at the end, or with an exception. */
PyObject *fm_source_next(const struct fm_source *source);

#endif
