#include "view.h"

struct fm_view {
    PyObject_HEAD
    PyObject *root;           /* NULL for a root itself */
    struct fm_engine *engine; /* of a root */
    uint64_t block;           /* of a root: offset in the arena */
    bool owns;                /* of a root */
    struct fm_link link;      /* of a root: in the engine's list */
    char *bytes;
    Py_ssize_t size;
    bool readonly;
};

static struct fm_view *
new_view(struct fm_state *state)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(state->view_type, Py_tp_alloc);
    return (struct fm_view *)allocate(state->view_type, 0);
}

static void
take_ownership(struct fm_view *self)
{
    self->owns = true;
    fm_arena_lend(&self->engine->board.arena, self->block);
}

PyObject *
fm_view_new_root(struct fm_state *state, struct fm_engine *engine, const struct fm_value *value,
                 bool owns)
{
    struct fm_view *self = new_view(state);
    if (self == NULL) {
        return NULL;
    }
    self->engine = fm_engine_ref(engine);
    self->block = value->as.block.offset;
    self->bytes = fm_arena_bytes(&engine->board.arena, self->block);
    self->size = (Py_ssize_t)value->as.block.size;
    fm_link_insert(&engine->views, &self->link);
    if (owns) {
        take_ownership(self);
    }
    return (PyObject *)self;
}

void
fm_view_own(PyObject *root)
{
    take_ownership((struct fm_view *)root);
}

PyObject *
fm_view_new_range(struct fm_state *state, PyObject *root, Py_ssize_t offset, Py_ssize_t size,
                  bool readonly)
{
    struct fm_view *self = new_view(state);
    if (self == NULL) {
        return NULL;
    }
    self->root = Py_NewRef(root);
    self->bytes = ((struct fm_view *)root)->bytes + offset;
    self->size = size;
    self->readonly = readonly;
    return (PyObject *)self;
}

static void
dealloc(PyObject *object)
{
    struct fm_view *self = (struct fm_view *)object;
    PyTypeObject *type = Py_TYPE(object);
    /* A forked child has copies of its parent's views, and none of its blocks. */
    if (self->owns && !fm_engine_is_foreign(self->engine)) {
        fm_arena_return_lent(&self->engine->board.arena, self->block);
    }
    if (self->engine != NULL) {
        fm_link_remove(&self->link);
        fm_engine_unref(self->engine);
    }
    Py_CLEAR(self->root);
    type->tp_free(object);
    Py_DECREF(type);
}

static int
get_buffer(PyObject *object, Py_buffer *buffer, int flags)
{
    struct fm_view *self = (struct fm_view *)object;
    return PyBuffer_FillInfo(buffer, object, self->bytes, self->size, self->readonly, flags);
}

/* ---- forks ---- */

PyObject *
fm_view_list(const struct fm_state *state)
{
    PyObject *all = PyList_New(0);
    for (struct fm_link *engine = state->engines; engine != NULL; engine = engine->next) {
        struct fm_link *view = FM_LINK_OWNER(engine, struct fm_engine)->views;
        for (; view != NULL; view = view->next) {
            if (all != NULL
                && PyList_Append(all, (PyObject *)FM_LINK_OWNER(view, struct fm_view)) < 0) {
                Py_CLEAR(all);
            }
        }
    }
    return all;
}

static bool
is_in_heap(const struct fm_view *view, unsigned heap)
{
    return fm_arena_heap_of(&view->engine->board.arena, view->block) == heap;
}

/* From the lowest to the highest view in the heap at once, since there may be more of them than
 * mappings that a process may have. */
static void
make_heap_private(const struct fm_engine *engine, unsigned heap)
{
    uint64_t begin = UINT64_MAX;
    uint64_t end = 0;
    for (struct fm_link *link = engine->views; link != NULL; link = link->next) {
        const struct fm_view *view = FM_LINK_OWNER(link, struct fm_view);
        if (is_in_heap(view, heap)) {
            uint64_t behind = view->block + (uint64_t)view->size;
            begin = view->block < begin ? view->block : begin;
            end = behind > end ? behind : end;
        }
    }
    if (begin < end) {
        fm_arena_make_private(&engine->board.arena, begin, end);
    }
}

void
fm_view_make_all_private(struct fm_state *state)
{
    for (struct fm_link *link = state->engines; link != NULL; link = link->next) {
        struct fm_engine *engine = FM_LINK_OWNER(link, struct fm_engine);
        /* Once: what this process writes is its children's as it is. */
        if (engine->is_private || !fm_engine_is_foreign(engine)) {
            continue;
        }
        engine->is_private = true;
        for (unsigned heap = 0; engine->views != NULL && heap <= engine->workers; heap++) {
            make_heap_private(engine, heap);
        }
    }
}

static PyType_Slot slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_bf_getbuffer, get_buffer},
    {Py_tp_doc, "Shared memory that an array or buffer received from another process lives in."},
    {0, NULL},
};

PyType_Spec fm_view_spec = {
    .name = "fast_map._core.SharedBuffer",
    .basicsize = sizeof(struct fm_view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
