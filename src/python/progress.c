#include "progress.h"

#define PERIOD (100 * FM_MILLISECOND)

/* Where the ring is large, counting takes no more than one part in so many of the time, as long as
 * the bar moves once a second. */
#define COST_PART 20
#define PERIOD_MOST FM_SECOND

static int
show(struct fm_progress *progress, unsigned long long finished, bool is_last)
{
    PyObject *done =
        PyObject_CallFunction(progress->show, "KO", finished, is_last ? Py_True : Py_False);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

int
fm_progress_update(struct fm_progress *progress, struct fm_consumer *consumer)
{
    int64_t now = fm_clock_now();
    if (progress->show == NULL || now < progress->due) {
        return 0;
    }
    unsigned long long finished = fm_consumer_count_finished(consumer);
    int64_t pause = (fm_clock_now() - now) * COST_PART;
    int result = show(progress, finished, false);
    pause = pause < PERIOD ? PERIOD : pause > PERIOD_MOST ? PERIOD_MOST : pause;
    progress->due = fm_clock_now() + pause;
    return result;
}

void
fm_progress_end(struct fm_progress *progress, struct fm_consumer *consumer)
{
    if (progress->show != NULL && show(progress, fm_consumer_count_finished(consumer), true) < 0) {
        PyErr_WriteUnraisable(progress->show);
    }
    Py_CLEAR(progress->show);
}

enum fm_taken
fm_progress_take(struct fm_progress *progress, struct fm_consumer *consumer, int64_t deadline,
                 PyObject **result)
{
    enum fm_taken taken;
    bool is_slice;
    do {
        is_slice = progress->due < deadline;
        taken = fm_consumer_take(consumer, is_slice ? progress->due : deadline, result);
        if (taken != FM_TAKEN_ERROR && fm_progress_update(progress, consumer) < 0) {
            Py_CLEAR(*result);
            return FM_TAKEN_ERROR;
        }
    } while (taken == FM_TAKEN_TIMEOUT && is_slice);
    return taken;
}
