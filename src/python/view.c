#include "view.h"

struct view {
    PyObject_HEAD
    PyObject *root;           /* NULL for a root itself */
    struct fm_engine *engine; /* of a root */
    uint64_t block;           /* of a root: offset in the arena */
    bool owns;                /* of a root */
    char *bytes;
    Py_ssize_t size;
    bool readonly;
};

static struct view *
new_view(struct fm_state *state)
{
    allocfunc allocate = (allocfunc)PyType_GetSlot(state->view_type, Py_tp_alloc);
    return (struct view *)allocate(state->view_type, 0);
}

static void
take_ownership(struct view *self)
{
    self->owns = true;
    fm_arena_lend(&self->engine->board.arena, self->block);
}

PyObject *
fm_view_new_root(struct fm_state *state, struct fm_engine *engine, const struct fm_value *value,
                 bool owns)
{
    struct view *self = new_view(state);
    if (self == NULL) {
        return NULL;
    }
    self->engine = fm_engine_ref(engine);
    self->block = value->as.block.offset;
    self->bytes = fm_arena_bytes(&engine->board.arena, self->block);
    self->size = (Py_ssize_t)value->as.block.size;
    if (owns) {
        take_ownership(self);
    }
    return (PyObject *)self;
}

void
fm_view_own(PyObject *root)
{
    take_ownership((struct view *)root);
}

PyObject *
fm_view_new_range(struct fm_state *state, PyObject *root, Py_ssize_t offset, Py_ssize_t size,
                  bool readonly)
{
    struct view *self = new_view(state);
    if (self == NULL) {
        return NULL;
    }
    self->root = Py_NewRef(root);
    self->bytes = ((struct view *)root)->bytes + offset;
    self->size = size;
    self->readonly = readonly;
    return (PyObject *)self;
}

static void
dealloc(PyObject *object)
{
    struct view *self = (struct view *)object;
    PyTypeObject *type = Py_TYPE(object);
    /* A forked child has copies of its parent's views, and none of its blocks. */
    if (self->owns && !fm_engine_is_foreign(self->engine)) {
        fm_arena_return_lent(&self->engine->board.arena, self->block);
    }
    if (self->engine != NULL) {
        fm_engine_unref(self->engine);
    }
    Py_CLEAR(self->root);
    type->tp_free(object);
    Py_DECREF(type);
}

static int
get_buffer(PyObject *object, Py_buffer *buffer, int flags)
{
    struct view *self = (struct view *)object;
    return PyBuffer_FillInfo(buffer, object, self->bytes, self->size, self->readonly, flags);
}

static PyType_Slot slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_bf_getbuffer, get_buffer},
    {Py_tp_doc, "Shared memory that an array or buffer received from another process lives in."},
    {0, NULL},
};

PyType_Spec fm_view_spec = {
    .name = "fast_map._core.SharedBuffer",
    .basicsize = sizeof(struct view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
