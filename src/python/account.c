#include "account.h"

#include "clock.h"
#include "cpus.h"

#include <string.h>

static double
seconds(uint64_t ns)
{
    return (double)ns / (double)FM_SECOND;
}

static uint64_t
read_spent(const struct fm_stats_record *record, enum fm_spent what)
{
    return fm_load_relaxed(&record->spent[what]);
}

/* Items, bytes, and seconds by kinds in the order of enum fm_spent. */
static PyObject *
build_record(const struct fm_stats_record *record)
{
    return Py_BuildValue(
        "KKdddddd", (unsigned long long)fm_load_relaxed(&record->items),
        (unsigned long long)fm_load_relaxed(&record->bytes),
        seconds(read_spent(record, FM_SPENT_DECODE)), seconds(read_spent(record, FM_SPENT_CALL)),
        seconds(read_spent(record, FM_SPENT_ENCODE)), seconds(read_spent(record, FM_SPENT_GIL)),
        seconds(read_spent(record, FM_SPENT_INPUT)), seconds(read_spent(record, FM_SPENT_ROOM)));
}

static unsigned
count_records(const struct fm_stats *stats)
{
    unsigned threads = fm_load_relaxed(&stats->threads_most);
    return threads < FM_STATS_THREADS ? threads : FM_STATS_THREADS;
}

static PyObject *
build_worker(const struct fm_stats *stats)
{
    unsigned count = count_records(stats);
    PyObject *threads = PyTuple_New((Py_ssize_t)count);
    for (unsigned i = 0; threads != NULL && i < count; i++) {
        PyObject *record = build_record(&stats->threads[i]);
        if (record == NULL) {
            Py_CLEAR(threads);
            break;
        }
        PyTuple_SET_ITEM(threads, (Py_ssize_t)i, record);
    }
    if (threads == NULL) {
        return NULL;
    }
    return Py_BuildValue("dIN", seconds(fm_load_relaxed(&stats->cpu)),
                         (unsigned)fm_load_relaxed(&stats->threads_most), threads);
}

static PyObject *
build_workers(const struct fm_stats *stats, unsigned count)
{
    count = stats != NULL ? count : 0;
    PyObject *workers = PyTuple_New((Py_ssize_t)count);
    for (unsigned i = 0; workers != NULL && i < count; i++) {
        PyObject *worker = build_worker(&stats[i]);
        if (worker == NULL) {
            Py_CLEAR(workers);
            break;
        }
        PyTuple_SET_ITEM(workers, (Py_ssize_t)i, worker);
    }
    return workers;
}

/* The same as in the copy of a map that has ended, without its workers. */
static struct fm_account
look_at(const struct fm_consumer *consumer)
{
    const struct fm_job *job = consumer->job;
    struct fm_account account = {
        .is_local = job->local != NULL,
        .workers = job->engine != NULL ? job->engine->workers : 0,
        .threads_limit = job->threads_limit,
        .elapsed = fm_clock_now() - job->begun,
        .was_fed = job->feeder_started && !job->source.inherited,
    };
    memcpy(&account.consumer, &consumer->stats, sizeof account.consumer);
    memcpy(&account.feeder, &job->feeder_stats, sizeof account.feeder);
    return account;
}

void
fm_account_close(struct fm_account *account, const struct fm_consumer *consumer)
{
    fm_account_fini(account);
    *account = look_at(consumer);
    if (account->workers == 0) {
        return;
    }
    size_t size = account->workers * sizeof *account->of_workers;
    account->of_workers = PyMem_Malloc(size);
    if (account->of_workers != NULL) {
        memcpy(account->of_workers, consumer->job->engine->board.roster.stats, size);
    }
}

void
fm_account_fini(struct fm_account *account)
{
    PyMem_Free(account->of_workers);
    account->of_workers = NULL;
}

/* The arguments of make_stats. */
static PyObject *
build(const struct fm_account *account, const struct fm_stats *of_workers)
{
    PyObject *workers = build_workers(of_workers, account->workers);
    if (workers == NULL) {
        return NULL;
    }
    return Py_BuildValue(
        "OdIKNNN", account->is_local ? Py_True : Py_False, seconds((uint64_t)account->elapsed),
        fm_cpus_usable(), (unsigned long long)account->threads_limit,
        build_record(&account->consumer),
        account->was_fed ? build_record(&account->feeder) : Py_NewRef(Py_None), workers);
}

PyObject *
fm_account_read(const struct fm_account *account, const struct fm_consumer *consumer)
{
    const struct fm_job *job = consumer->job;
    if (job == NULL) {
        return build(account, account->of_workers);
    }
    struct fm_account running = look_at(consumer);
    bool has_workers = job->engine != NULL && !fm_engine_is_foreign(job->engine);
    return build(&running, has_workers ? job->engine->board.roster.stats : NULL);
}
