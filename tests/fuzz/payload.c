#include "payload.h"

#include "view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As the arena lays out a heap with one block: payload offsets count from its start. */
struct one_block_heap {
    struct fm_heap_shared shared;
    struct fm_block block;
};

/* An engine with memory for one payload and nothing else. */
struct stand_in {
    struct fm_engine engine; /* first: what the codec sees */
    struct fm_arena_shared arena_shared;
    struct fm_value value;
    struct one_block_heap *heap; /* with the payload behind it */
    bool owned;
};

/* Instead of making an instance of a class that damaged bytes name, and instead of numpy. */
static PyObject *
hand_back(PyObject *module, PyObject *arguments)
{
    (void)module;
    return Py_NewRef(arguments);
}

static PyMethodDef hand_back_method = {"hand_back", hand_back, METH_VARARGS, NULL};

static void
stand_in_for_numpy(struct fm_state *state)
{
    state->ndarray = PyCFunction_New(&hand_back_method, NULL);
    state->dtypes = PyTuple_Pack(2, Py_None, Py_None);
}

int
payload_state_init(struct fm_state *state, PyObject *loads)
{
    PyObject *pickle = PyImport_ImportModule("pickle");
    PyObject *copyreg = PyImport_ImportModule("copyreg");
    *state = (struct fm_state){0};
    if (pickle == NULL || copyreg == NULL) {
        return -1;
    }
    state->dispatch_table = PyObject_GetAttrString(copyreg, "dispatch_table");
    state->make_instance = PyCFunction_New(&hand_back_method, NULL);
    stand_in_for_numpy(state);
    state->pickle_dumps = PyObject_GetAttrString(pickle, "dumps");
    state->pickle_loads = Py_NewRef(loads);
    state->dumps_keywords = Py_BuildValue("(ss)", "protocol", "buffer_callback");
    state->loads_keywords = Py_BuildValue("(s)", "buffers");
    state->protocol = PyLong_FromLong(5);
    state->view_type = (PyTypeObject *)PyType_FromSpec(&fm_view_spec);
    Py_DECREF(copyreg);
    Py_DECREF(pickle);
    return PyErr_Occurred() ? -1 : 0;
}

void
payload_state_fini(struct fm_state *state)
{
    Py_CLEAR(state->pickle_dumps);
    Py_CLEAR(state->pickle_loads);
    Py_CLEAR(state->dumps_keywords);
    Py_CLEAR(state->loads_keywords);
    Py_CLEAR(state->protocol);
    Py_CLEAR(state->view_type);
    Py_CLEAR(state->dispatch_table);
    Py_CLEAR(state->make_instance);
    fm_codec_forget(state);
}

/* The last reference to the engine goes when nothing uses the block any more. (The real one of
 * engine.c would end workers.) */
void
fm_engine_unref(struct fm_engine *engine)
{
    struct stand_in *self = (struct stand_in *)engine;
    if (--engine->references > 0) {
        return;
    }
    uint64_t returned = fm_load_relaxed(&self->heap->shared.returned_bytes);
    if (self->owned && returned != self->heap->block.capacity) {
        (void)fprintf(stderr, "%llu of the block's %llu bytes were given back\n",
                      (unsigned long long)returned, (unsigned long long)self->heap->block.capacity);
        abort();
    }
    free(self->heap);
    free(self);
}

static void
place_inline(struct stand_in *self, const struct payload *payload)
{
    self->value.form = FM_FORM_INLINE;
    self->value.inline_size = (uint8_t)payload->size;
    if (payload->size > FM_INLINE_SIZE) {
        self->value.inline_size = FM_INLINE_SIZE;
    }
    memcpy(self->value.as.bytes, payload->bytes, self->value.inline_size);
}

static void
place_in_block(struct stand_in *self, const struct payload *payload)
{
    self->value.form = FM_FORM_BLOCK;
    self->value.as.block.offset = sizeof *self->heap;
    self->value.as.block.size = payload->size;
    memcpy(self->heap + 1, payload->bytes, payload->size);
}

static struct stand_in *
new_stand_in(const struct payload *payload)
{
    void *memory;
    struct stand_in *self;
    size_t size = sizeof *self->heap + payload->size;
    if (posix_memalign(&memory, FM_CACHE_LINE, sizeof *self) != 0) {
        return NULL;
    }
    self = memset(memory, 0, sizeof *self);
    if (posix_memalign(&memory, FM_CACHE_LINE, size) != 0) {
        free(self);
        return NULL;
    }
    self->heap = memset(memory, 0, size);
    self->heap->block.capacity = payload->size;
    self->engine.references = 1;
    self->engine.may_rerun = payload->may_rerun;
    self->engine.board.arena.shared = &self->arena_shared;
    self->engine.board.arena.heaps = memory;
    self->value.tag = payload->tag;
    self->owned = payload->owned;
    return self;
}

/* Numbers are nowhere but in the slot. */
static bool
is_scalar(uint8_t tag)
{
    return tag == FM_TAG_INTEGER || tag == FM_TAG_FLOAT;
}

PyObject *
payload_decode(struct fm_state *state, const struct payload *payload)
{
    PyObject *root;
    struct stand_in *self = new_stand_in(payload);
    if (self == NULL) {
        return PyErr_NoMemory();
    }
    if (payload->is_inline || is_scalar(payload->tag)) {
        self->owned = false;
        place_inline(self, payload);
    } else {
        place_in_block(self, payload);
    }
    PyObject *object = fm_codec_decode(state, &self->engine, &self->value, self->owned, &root);
    if (root == NULL && self->owned) {
        fm_board_drop(&self->engine.board, &self->value);
    }
    Py_XDECREF(root);
    fm_engine_unref(&self->engine);
    return object;
}
