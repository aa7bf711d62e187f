/* Everything that has no format of its own: pickle protocol 5.
 *
 * Without buffers the payload is the pickle. With buffers that pickle keeps out of band (an array's
 * memory, say) it is laid out as
 *
 *     struct header | one struct range per buffer | pickle | buffers, each on a cache line
 *
 * so that each buffer is copied once, from where it lies into the block. The receiver's objects use
 * the block's memory as it is, if it is large; small ones get a copy of their own, for which the
 * block can be given back at once. So do arguments of items that may be run again: what fn does to
 * them must not be seen by the next run, and what it keeps would go down with its process.
 */
#include "codec.h"

#include "view.h"

#include <string.h>

/* Up to here a copy is cheaper than an object that keeps a block. */
#define COPIED_MOST ((uint64_t)FM_ARRAY_MOST)

struct header {
    uint64_t buffers;
    uint64_t pickle_size;
};

struct range {
    uint64_t offset;
    uint64_t size;
    uint64_t readonly;
};

/* A pickle and its buffers, on their way out. */
struct pickled {
    PyObject *pickle;   /* bytes */
    Py_buffer *buffers; /* the first `count` are held */
    Py_ssize_t count;
};

static uint64_t
align(uint64_t offset)
{
    return (offset + FM_CACHE_LINE - 1) & ~(uint64_t)(FM_CACHE_LINE - 1);
}

static void
release(struct pickled *pickled)
{
    for (Py_ssize_t i = 0; i < pickled->count; i++) {
        PyBuffer_Release(&pickled->buffers[i]);
    }
    PyMem_Free(pickled->buffers);
    Py_CLEAR(pickled->pickle);
}

/* PickleBuffer has no say about contiguity: those that are neither C- nor Fortran-contiguous never
 * leave the band, so that PyBUF_ANY_CONTIGUOUS suits all. */
static int
hold_buffers(struct pickled *pickled, PyObject *list)
{
    Py_ssize_t count = PyList_GET_SIZE(list);
    pickled->buffers = count > 0 ? PyMem_Calloc((size_t)count, sizeof(Py_buffer)) : NULL;
    if (count > 0 && pickled->buffers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *buffer = PyList_GET_ITEM(list, i);
        if (PyObject_GetBuffer(buffer, &pickled->buffers[i], PyBUF_ANY_CONTIGUOUS) < 0) {
            return -1;
        }
        pickled->count++;
    }
    return 0;
}

static int
dump(struct fm_state *state, PyObject *object, struct pickled *pickled)
{
    int result = -1;
    PyObject *list = PyList_New(0);
    PyObject *callback = list != NULL ? PyObject_GetAttrString(list, "append") : NULL;
    if (callback != NULL) {
        PyObject *arguments[] = {object, state->protocol, callback};
        pickled->pickle =
            PyObject_Vectorcall(state->pickle_dumps, arguments, 1, state->dumps_keywords);
    }
    if (pickled->pickle != NULL) {
        result = hold_buffers(pickled, list);
    }
    Py_XDECREF(callback);
    Py_XDECREF(list);
    return result;
}

static uint64_t
measure(const struct pickled *pickled)
{
    uint64_t size = sizeof(struct header) + (uint64_t)pickled->count * sizeof(struct range)
                    + (uint64_t)PyBytes_GET_SIZE(pickled->pickle);
    for (Py_ssize_t i = 0; i < pickled->count; i++) {
        size = align(size) + (uint64_t)pickled->buffers[i].len;
    }
    return size;
}

static void
lay_out(const struct pickled *pickled, char *bytes)
{
    struct header *header = (struct header *)bytes;
    struct range *ranges = (struct range *)(header + 1);
    header->buffers = (uint64_t)pickled->count;
    header->pickle_size = (uint64_t)PyBytes_GET_SIZE(pickled->pickle);
    char *pickle = (char *)(ranges + pickled->count);
    memcpy(pickle, PyBytes_AS_STRING(pickled->pickle), header->pickle_size);
    uint64_t offset = (uint64_t)(pickle - bytes) + header->pickle_size;
    for (Py_ssize_t i = 0; i < pickled->count; i++) {
        const Py_buffer *buffer = &pickled->buffers[i];
        offset = align(offset);
        ranges[i] = (struct range){.offset = offset,
                                   .size = (uint64_t)buffer->len,
                                   .readonly = (uint64_t)buffer->readonly};
        memcpy(bytes + offset, buffer->buf, (size_t)buffer->len);
        offset += (uint64_t)buffer->len;
    }
}

/* Pickles with buffers always get a block, which is aligned; a slot's inline bytes are not. */
static enum fm_encode_result
store_with_buffers(struct fm_engine *engine, uint64_t item, const struct pickled *pickled,
                   struct fm_value *value)
{
    void *bytes;
    uint64_t size = measure(pickled);
    if (size <= FM_INLINE_SIZE) {
        size = FM_INLINE_SIZE + 1;
    }
    enum fm_encode_result result = fm_codec_reserve(engine, item, size, value, &bytes);
    if (result == FM_ENCODE_DONE) {
        value->tag = FM_TAG_PICKLE_WITH_BUFFERS;
        if (size < FM_COPY_WITHOUT_GIL) {
            lay_out(pickled, bytes);
            return result;
        }
        Py_BEGIN_ALLOW_THREADS
        lay_out(pickled, bytes);
        Py_END_ALLOW_THREADS
    }
    return result;
}

static enum fm_encode_result
store_plain(struct fm_engine *engine, uint64_t item, PyObject *pickle, struct fm_value *value)
{
    void *bytes;
    size_t size = (size_t)PyBytes_GET_SIZE(pickle);
    enum fm_encode_result result = fm_codec_reserve(engine, item, size, value, &bytes);
    if (result == FM_ENCODE_DONE) {
        value->tag = FM_TAG_PICKLE;
        memcpy(bytes, PyBytes_AS_STRING(pickle), size);
    }
    return result;
}

enum fm_encode_result
fm_pickle_encode(struct fm_state *state, struct fm_engine *engine, uint64_t item, PyObject *object,
                 struct fm_value *value)
{
    struct pickled pickled = {0};
    enum fm_encode_result result = FM_ENCODE_FAILED;
    if (dump(state, object, &pickled) == 0) {
        result = pickled.count > 0 ? store_with_buffers(engine, item, &pickled, value)
                                   : store_plain(engine, item, pickled.pickle, value);
    }
    release(&pickled);
    return result;
}

/* ---- decoding ---- */

static PyObject *
load(struct fm_state *state, const void *bytes, uint64_t size, PyObject *buffers)
{
    PyObject *view = PyMemoryView_FromMemory((char *)bytes, (Py_ssize_t)size, PyBUF_READ);
    if (view == NULL) {
        return NULL;
    }
    PyObject *arguments[] = {view, buffers};
    PyObject *object = PyObject_Vectorcall(state->pickle_loads, arguments, 1,
                                           buffers != NULL ? state->loads_keywords : NULL);
    Py_DECREF(view);
    return object;
}

PyObject *
fm_pickle_decode(struct fm_state *state, const void *bytes, uint64_t size)
{
    return load(state, bytes, size, NULL);
}

/* A writable buffer comes back as a bytearray and a read-only one as bytes, as from pickle itself,
 * where it is copied; as a memoryview of the block otherwise. */
static PyObject *
make_buffer(struct fm_state *state, PyObject *root, const char *bytes, const struct range *range)
{
    Py_ssize_t size = (Py_ssize_t)range->size;
    if (root != NULL) {
        PyObject *view =
            fm_view_new_range(state, root, (Py_ssize_t)range->offset, size, range->readonly != 0);
        PyObject *buffer = view != NULL ? PyMemoryView_FromObject(view) : NULL;
        Py_XDECREF(view);
        return buffer;
    }
    return range->readonly != 0 ? PyBytes_FromStringAndSize(bytes + range->offset, size)
                                : PyByteArray_FromStringAndSize(bytes + range->offset, size);
}

/* Buffers may not overlap: many times the payload would have to be copied, and what one array
 * writes another would see. */
static bool
is_sound(const char *bytes, uint64_t size)
{
    const struct header *header = (const struct header *)bytes;
    if (size < sizeof *header || header->buffers > size / sizeof(struct range)) {
        return false;
    }
    uint64_t fixed = sizeof *header + header->buffers * sizeof(struct range);
    if (fixed > size || header->pickle_size > size - fixed) {
        return false;
    }
    const struct range *ranges = (const struct range *)(header + 1);
    uint64_t end = fixed + header->pickle_size;
    for (uint64_t i = 0; i < header->buffers; i++) {
        if (ranges[i].offset < end || ranges[i].offset > size
            || ranges[i].size > size - ranges[i].offset) {
            return false;
        }
        end = ranges[i].offset + ranges[i].size;
    }
    return true;
}

static PyObject *
make_buffers(struct fm_state *state, PyObject *root, const char *bytes)
{
    const struct header *header = (const struct header *)bytes;
    const struct range *ranges = (const struct range *)(header + 1);
    PyObject *buffers = PyTuple_New((Py_ssize_t)header->buffers);
    for (Py_ssize_t i = 0; buffers != NULL && i < (Py_ssize_t)header->buffers; i++) {
        PyObject *buffer = make_buffer(state, root, bytes, &ranges[i]);
        if (buffer == NULL) {
            Py_CLEAR(buffers);
            break;
        }
        PyTuple_SET_ITEM(buffers, i, buffer);
    }
    return buffers;
}

PyObject *
fm_pickle_decode_buffers(struct fm_state *state, struct fm_engine *engine,
                         const struct fm_value *value, bool owns_block, PyObject **root)
{
    uint64_t size;
    const char *bytes = fm_board_bytes(&engine->board, value, &size);
    *root = NULL;
    if (value->form != FM_FORM_BLOCK || !is_sound(bytes, size)) {
        return fm_codec_damaged();
    }
    if (size > COPIED_MOST && (owns_block || !engine->may_rerun)) {
        *root = fm_view_new_root(state, engine, value, owns_block);
        if (*root == NULL) {
            return NULL;
        }
    }
    const struct header *header = (const struct header *)bytes;
    const char *pickle = (const char *)(header + 1) + header->buffers * sizeof(struct range);
    PyObject *object = NULL;
    PyObject *buffers = make_buffers(state, *root, bytes);
    if (buffers != NULL) {
        object = load(state, pickle, header->pickle_size, buffers);
        Py_DECREF(buffers);
    }
    return object;
}
