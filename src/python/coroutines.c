#include "coroutines.h"

#include "compat.h"
#include "descriptor.h"
#include "errors.h"
#include "process.h"
#include "thread.h"

#include <errno.h>
#include <sys/eventfd.h>

/* Whose turn it is. */
#define WAITERS 0
#define LOOPS 1

/* ---- the two threads that wait, without the GIL ---- */

static void
await_value(fm_atomic_u32 *word, uint32_t value)
{
    uint32_t now;
    while ((now = fm_load_acquire(word)) != value) {
        (void)fm_futex_wait(word, now, FM_FOREVER);
    }
}

static void
set_value(fm_atomic_u32 *word, uint32_t value)
{
    fm_store_release(word, value);
    (void)fm_futex_wake(word, 1);
}

static void *
run_waiter(void *argument)
{
    struct fm_coroutines *coroutines = argument;
    struct fm_pool_thread *thread = &coroutines->worker->pool.main_thread;
    for (;;) {
        await_value(&coroutines->turn, WAITERS);
        bool found = fm_pool_wait(thread, &coroutines->found);
        coroutines->finished = !found;
        fm_store_release(&coroutines->turn, LOOPS);
        (void)eventfd_write(coroutines->ready_fd, 1);
        if (!found) {
            return NULL;
        }
    }
}

static bool
may_take(const struct fm_engine *engine, uint64_t item, uint64_t size)
{
    return fm_board_may_take(&engine->board, engine->heap.number, item, size);
}

static void *
run_room_waiter(void *argument)
{
    struct fm_coroutines *coroutines = argument;
    struct fm_engine *engine = coroutines->worker->engine;
    for (;;) {
        await_value(&coroutines->wants_room, 1);
        bool goes_on;
        do {
            /* Each time, for an earlier item may have ended meanwhile. */
            uint64_t item = fm_load_relaxed(&coroutines->room_item);
            uint64_t size = fm_load_relaxed(&coroutines->room_size);
            goes_on = !may_take(engine, item, size)
                      && fm_board_await_space(&engine->board, &engine->heap, item, size);
        } while (goes_on);
        fm_store_release(&coroutines->wants_room, 0);
        (void)eventfd_write(coroutines->ready_fd, 1);
    }
    return NULL;
}

static int
start_thread(void *(*run)(void *), struct fm_coroutines *coroutines)
{
    pthread_t handle;
    int result = fm_thread_create_deaf(&handle, run, coroutines);
    if (result == 0) {
        (void)pthread_setname_np(handle, FM_WAITER_NAME);
        (void)pthread_detach(handle);
    }
    return result;
}

/* ---- lists ---- */

static void
link_after(struct fm_coroutine_list *list, struct fm_coroutine *previous, struct fm_coroutine *self)
{
    self->previous = previous;
    self->next = previous != NULL ? previous->next : list->first;
    *(self->previous != NULL ? &self->previous->next : &list->first) = self;
    *(self->next != NULL ? &self->next->previous : &list->last) = self;
}

static void
unlink_from(struct fm_coroutine_list *list, struct fm_coroutine *self)
{
    *(self->previous != NULL ? &self->previous->next : &list->first) = self->next;
    *(self->next != NULL ? &self->next->previous : &list->last) = self->previous;
}

/* ---- ends ---- */

static bool
has_turn_and_room(struct fm_coroutines *coroutines)
{
    struct fm_pool *pool = &coroutines->worker->pool;
    /* What a dead predecessor has left is run one by one. */
    unsigned limit = fm_load_relaxed(&pool->self->solo) ? 1 : coroutines->limit;
    return fm_load_acquire(&coroutines->turn) == LOOPS && coroutines->running < limit;
}

/* Has the loop call `take`, after what it has to do already. */
static void
schedule(struct fm_coroutines *coroutines)
{
    if (coroutines->scheduled) {
        return;
    }
    PyObject *handle = PyObject_CallMethod(coroutines->loop, "call_soon", "O", coroutines->take);
    if (handle == NULL) {
        PyErr_Clear();
        (void)eventfd_write(coroutines->ready_fd, 1);
        return;
    }
    Py_DECREF(handle);
    coroutines->scheduled = true;
}

/* False if the outcome must wait. */
static bool
store_outcome(struct fm_coroutine *self)
{
    struct fm_worker *worker = self->owner->worker;
    if (self->failed) {
        fm_errors_raise(Py_NewRef(self->outcome));
    }
    return fm_task_store(worker, self->item, &self->task, self->failed ? NULL : self->outcome);
}

/* The outcome is in the slot. Drops the reference. */
static void
complete(struct fm_coroutine *self)
{
    struct fm_coroutines *coroutines = self->owner;
    struct fm_worker *worker = coroutines->worker;
    Py_CLEAR(self->outcome);
    fm_task_end(worker, self->item, &self->task);
    fm_stats_add(&worker->pool.main_thread.stats->items, 1);
    fm_pool_complete_detached(&worker->pool, self->item);
    Py_DECREF(self);
    coroutines->running--;
    if (has_turn_and_room(coroutines)) {
        schedule(coroutines);
    }
}

/* `first` is the first that has been put aside, and was refused just now. */
static void
ask_for_room(struct fm_coroutines *coroutines, const struct fm_coroutine *first)
{
    struct fm_engine *engine = coroutines->worker->engine;
    fm_store_relaxed(&coroutines->room_item, first->item);
    fm_store_relaxed(&coroutines->room_size, engine->refused_size);
    set_value(&coroutines->wants_room, 1);
    /* The call may have gone out while the thread still waited for another item. */
    fm_fence_seq_cst();
    if (may_take(engine, first->item, engine->refused_size)) {
        (void)eventfd_write(coroutines->ready_fd, 1);
    }
}

/* In the order of the items, since the first of them all always finds room. */
static void
put_aside(struct fm_coroutine *self)
{
    struct fm_coroutines *coroutines = self->owner;
    struct fm_coroutine *previous = coroutines->ended.last;
    while (previous != NULL && previous->item > self->item) {
        previous = previous->previous;
    }
    link_after(&coroutines->ended, previous, self);
    if (previous == NULL) {
        ask_for_room(coroutines, self);
    }
}

static void
store_put_aside(struct fm_coroutines *coroutines)
{
    struct fm_coroutine *first;
    while ((first = coroutines->ended.first) != NULL) {
        if (!store_outcome(first)) {
            ask_for_room(coroutines, first);
            return;
        }
        unlink_from(&coroutines->ended, first);
        complete(first);
    }
}

void
fm_coroutines_end(struct fm_coroutine *self, PyObject *result)
{
    struct fm_coroutines *coroutines = self->owner;
    unlink_from(&coroutines->started, self);
    fm_coroutines_set_watched(&coroutines->oldest, coroutines->started.first);
    self->ended = true;
    fm_stats_spend(coroutines->worker->pool.main_thread.stats, FM_SPENT_CALL,
                   fm_clock_now() - self->since);
    self->failed = result == NULL;
    self->outcome = result != NULL ? Py_NewRef(result) : fm_compat_take_exception();
    Py_CLEAR(self->inner);
    Py_CLEAR(self->asyncio_task);
    if (store_outcome(self)) {
        complete(self);
    } else {
        put_aside(self);
    }
}

/* ---- starts ---- */

/* There is no memory for a coroutine. */
static void
fail(struct fm_coroutines *coroutines, uint64_t item)
{
    struct fm_worker *worker = coroutines->worker;
    fm_errors_store_nothing(&fm_slots_at(&worker->engine->board.slots, item)->value);
    fm_pool_complete_detached(&worker->pool, item);
}

static void
start_item(struct fm_coroutines *coroutines, uint64_t item)
{
    fm_pool_detach(&coroutines->worker->pool);
    struct fm_coroutine *self = fm_coroutine_new(coroutines, item);
    if (self == NULL) {
        fail(coroutines, item);
        return;
    }
    coroutines->running++;
    link_after(&coroutines->started, coroutines->started.last, self);
    fm_coroutines_set_watched(&coroutines->oldest, coroutines->started.first);
    Py_INCREF(self); /* the list's reference goes when it ends, which may be now */
    PyObject *task = PyObject_CallMethod(coroutines->loop, "create_task", "O", self);
    if (self->ended) {
        Py_XDECREF(task);
    } else if (task == NULL) {
        self->task.subject = Py_NewRef(Py_None);
        fm_coroutines_end(self, NULL);
    } else {
        self->asyncio_task = task;
    }
    Py_DECREF(self);
}

/* What the waiter has claimed, or what can be claimed without waiting. */
static bool
claim(struct fm_coroutines *coroutines, uint64_t *item)
{
    struct fm_pool_thread *thread = &coroutines->worker->pool.main_thread;
    uint64_t room = coroutines->limit - coroutines->running;
    uint64_t wanted = thread->pool->chunksize > 0 ? thread->pool->chunksize : thread->batch;
    thread->batch = wanted < room ? wanted : room;
    *item = coroutines->found;
    coroutines->found = FM_NO_ITEM;
    return *item != FM_NO_ITEM || fm_pool_next(thread, item);
}

/* A batch; the loop lets those coroutines take their first step before it comes to the next. */
static void
start_items(struct fm_coroutines *coroutines)
{
    const struct fm_pool_thread *thread = &coroutines->worker->pool.main_thread;
    uint64_t item;
    while (has_turn_and_room(coroutines)) {
        if (!claim(coroutines, &item)) {
            set_value(&coroutines->turn, WAITERS);
            return;
        }
        start_item(coroutines, item);
        if (thread->reserved >= thread->reserved_end) {
            schedule(coroutines);
            return;
        }
    }
}

/* The loop calls this when the eventfd says so, and when it has been scheduled. */
static PyObject *
take(PyObject *capsule, PyObject *Py_UNUSED(ignored))
{
    struct fm_coroutines *coroutines = PyCapsule_GetPointer(capsule, NULL);
    eventfd_t count;
    (void)eventfd_read(coroutines->ready_fd, &count);
    coroutines->scheduled = false;
    store_put_aside(coroutines);
    if (fm_load_acquire(&coroutines->turn) == LOOPS && coroutines->finished) {
        coroutines->over = true;
        return PyObject_CallMethod(coroutines->loop, "stop", NULL);
    }
    start_items(coroutines);
    Py_RETURN_NONE;
}

/* ---- the life of the loop ---- */

static PyMethodDef take_definition = {"take", take, METH_NOARGS, NULL};

static int
open_loop(struct fm_coroutines *coroutines)
{
    PyObject *capsule = PyCapsule_New(coroutines, NULL, NULL);
    if (capsule == NULL) {
        return -1;
    }
    coroutines->take = PyCFunction_New(&take_definition, capsule);
    Py_DECREF(capsule);
    if (coroutines->take == NULL) {
        return -1;
    }
    struct fm_state *state = coroutines->worker->job->state;
    coroutines->loop =
        PyObject_CallFunction(state->open_event_loop, "iO", coroutines->ready_fd, coroutines->take);
    return coroutines->loop != NULL ? 0 : -1;
}

/* The exception that kept the loop from being made, or ended it, as -errno. */
static int
explain_failure(void)
{
    PyObject *exception = fm_compat_take_exception();
    int error = EIO;
    if (PyErr_GivenExceptionMatches(exception, PyExc_MemoryError)) {
        error = ENOMEM;
    } else if (PyErr_GivenExceptionMatches(exception, PyExc_OSError)) {
        PyObject *number = PyObject_GetAttrString(exception, "errno");
        error = number != NULL && PyLong_Check(number) ? (int)PyLong_AsLong(number) : EIO;
        Py_XDECREF(number);
        PyErr_Clear();
    }
    fm_errors_raise(exception);
    PyErr_Print();
    return error > 0 ? -error : -EIO;
}

int
fm_coroutines_open(struct fm_worker *worker)
{
    struct fm_coroutines *coroutines = PyMem_Calloc(1, sizeof *coroutines);
    if (coroutines == NULL) {
        return -ENOMEM;
    }
    worker->coroutines = coroutines;
    worker->engine->never_waits = true;
    coroutines->worker = worker;
    coroutines->limit = worker->pool.threads_limit;
    coroutines->found = FM_NO_ITEM;
    coroutines->ready_fd = fm_descriptor_keep(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    worker->pool.threads_limit = 1; /* it need not grow */
    fm_coroutines_watch(coroutines);
    if (coroutines->ready_fd < 0) {
        return coroutines->ready_fd;
    }
    return open_loop(coroutines) == 0 ? 0 : explain_failure();
}

PyObject *
fm_coroutines_call(struct fm_coroutines *coroutines, PyObject *function, PyObject *arguments)
{
    return PyObject_CallFunctionObjArgs(coroutines->worker->job->state->call_in_loop,
                                        coroutines->loop, function, arguments, NULL);
}

/* SystemExit and KeyboardInterrupt leave the loop, though a task has them too: they are the affair of
 * whoever awaits that task. */
static int
run_loop(struct fm_coroutines *coroutines)
{
    PyObject *done = PyObject_CallMethod(coroutines->loop, "run_forever", NULL);
    if (done == NULL && !PyErr_ExceptionMatches(PyExc_SystemExit)
        && !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return explain_failure();
    }
    PyErr_Clear();
    Py_XDECREF(done);
    return 0;
}

int
fm_coroutines_run(struct fm_worker *worker)
{
    struct fm_coroutines *coroutines = worker->coroutines;
    int result = start_thread(run_room_waiter, coroutines);
    result = result == 0 ? start_thread(run_waiter, coroutines) : result;
    if (result < 0) {
        return result;
    }
    while (!coroutines->over) {
        result = run_loop(coroutines);
        if (result < 0) {
            return result;
        }
    }
    PyObject *done = PyObject_CallOneArg(worker->job->state->close_event_loop, coroutines->loop);
    Py_XDECREF(done);
    PyErr_Clear();
    return 0;
}
