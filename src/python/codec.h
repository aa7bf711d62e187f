/* Objects to payloads and back.
 *
 * None, bool, int, float, complex, str and bytes, small tuples, lists, dicts and plain instances
 * (codec_instance.c) of these, and small numpy arrays, have a format of their own; everything else is pickled (protocol 5,
 * large buffers out of band). Only exact types take the short way, so that a subclass keeps its type. One item is one payload: what
 * was aliased within an item is aliased after it, and nothing is shared between items.
 *
 * Where the engine is local, nothing is encoded: a value is the object itself.
 *
 * Encoding and decoding need the GIL. Encoding may have to wait for space in the arena, and releases
 * the GIL for that.
 *
 * A payload's bytes are not trusted: damaged ones are an exception or another value. (What pickle
 * is told to do it does, though.) The fields of a slot beside them, its form, sizes and the block's
 * offset, are trusted, as is all else that the core keeps in shared memory: only this program's own
 * processes write there, and one that wrote those wrongly could as well lead the arena's free lists
 * astray.
 */
#ifndef FM_CODEC_H
#define FM_CODEC_H

#include "engine.h"
#include "state.h"

enum fm_encode_result {
    FM_ENCODE_DONE,
    FM_ENCODE_FAILED, /* with an exception */
    FM_ENCODE_ENDED,  /* the board has ended; nobody wants the value any more */
    FM_ENCODE_REFUSED /* no room now, and this process must not wait (engine.never_waits) */
};

/* Writes `object` as item `item`'s payload into `value`, whose outcome it leaves alone. */
enum fm_encode_result fm_codec_encode(struct fm_state *state, struct fm_engine *engine,
                                      uint64_t item, PyObject *object, struct fm_value *value);

/* The object of a payload, or NULL with an exception. A reference is moved out of it. A block is not given back, unless *root is
 * set: then the object may use the block's memory, and *root (a new reference) decides about it;
 * see view.h. */
PyObject *fm_codec_decode(struct fm_state *state, struct fm_engine *engine, struct fm_value *value,
                          bool owns_block, PyObject **root);

/* Lets go of what has been kept to be quicker: the last fields of the state. */
void fm_codec_forget(struct fm_state *state);

/* The GIL is released while a copy of this size or more is made. */
#define FM_COPY_WITHOUT_GIL ((size_t)1 << 20)

/* ---- what the parts of the codec offer each other ---- */

enum fm_tag {
    FM_TAG_NONE,
    FM_TAG_FALSE,
    FM_TAG_TRUE,
    FM_TAG_INTEGER,     /* fits 64 bits */
    FM_TAG_BIG_INTEGER, /* two's complement, little-endian */
    FM_TAG_FLOAT,
    FM_TAG_COMPLEX,
    FM_TAG_ASCII,
    FM_TAG_LATIN1, /* strings, by the width of their characters */
    FM_TAG_UCS2,
    FM_TAG_UCS4,
    FM_TAG_BYTES,
    FM_TAG_TUPLE,
    FM_TAG_LIST,
    FM_TAG_DICT,
    FM_TAG_INSTANCE, /* of a class with nothing but a __dict__ */
    FM_TAG_ARRAY,    /* of numpy */
    FM_TAG_PICKLE,
    FM_TAG_PICKLE_WITH_BUFFERS,
    FM_TAG_REFERENCE /* the object itself; reference.h */
};

#define FM_CODEC_NUMBER_SIZE 8

/* The quick way for what needs nothing but the value itself. */
static inline bool
fm_codec_is_number(const struct fm_value *value)
{
    return value->tag == FM_TAG_INTEGER || value->tag == FM_TAG_FLOAT;
}

static inline PyObject *
fm_codec_decode_number(const struct fm_value *value)
{
    return value->tag == FM_TAG_INTEGER ? PyLong_FromLongLong(value->as.integer)
                                        : PyFloat_FromDouble(value->as.real);
}

/* Bytes of a payload; 0 for constants, and for objects of this process themselves. */
uint64_t fm_codec_size(const struct fm_value *value);

/* Room for a payload of `size` bytes: waits for it as long as the board lives, if this process may
 * wait. */
enum fm_encode_result fm_codec_reserve(struct fm_engine *engine, uint64_t item, uint64_t size,
                                       struct fm_value *value, void **bytes);

/* How deep containers may be nested to have a format of ours. */
#define FM_NATIVE_DEPTH 8

/* Longer keys of dicts are not kept; longer names of classes and attributes have no format of ours. */
#define FM_NATIVE_KEY_MOST 64

/* codec_native_write.c, codec_native_read.c: strings, and containers as a stream. A stream that
 * doesn't fit `size` bytes, or holds what has no format here, is refused (0) and left to pickle. */
size_t fm_native_write(struct fm_state *state, enum fm_tag tag, PyObject *container, uint8_t *bytes,
                       size_t size);
PyObject *fm_native_read(struct fm_state *state, enum fm_tag tag, const uint8_t *bytes,
                         size_t size);
enum fm_tag fm_native_string_tag(PyObject *string);
PyObject *fm_native_read_string(enum fm_tag tag, const void *bytes, size_t size);

/* codec_instance.c. Whether an object can be the name of a class or an attribute in a stream; the class
 * of an instance that a stream may hold, NULL of others; its __dict__, a new reference, or NULL; and
 * one that is still empty, NULL if that is not so simple. None of them sets an exception, but for
 * MemoryError from the last. */
bool fm_instance_is_name(PyObject *object);
const struct fm_class *fm_instance_class(struct fm_state *state, PyObject *object);
PyObject *fm_instance_dict(PyObject *object);
PyObject *fm_instance_new(struct fm_state *state, PyObject *module, PyObject *name);

/* codec_array.c. Whether it is an array, and its way, by pickle if need be. */
bool fm_array_check(struct fm_state *state, PyObject *object);
enum fm_encode_result fm_array_encode(struct fm_state *state, struct fm_engine *engine,
                                      uint64_t item, PyObject *array, struct fm_value *value);
PyObject *fm_array_decode(struct fm_state *state, const void *bytes, uint64_t size);

/* Up to this size arrays are sent without pickle; it is what codec_pickle.c copies, too. */
#define FM_ARRAY_MOST ((Py_ssize_t)1 << 16)

/* codec_pickle.c */
enum fm_encode_result fm_pickle_encode(struct fm_state *state, struct fm_engine *engine,
                                       uint64_t item, PyObject *object, struct fm_value *value);
PyObject *fm_pickle_decode(struct fm_state *state, const void *bytes, uint64_t size);
PyObject *fm_pickle_decode_buffers(struct fm_state *state, struct fm_engine *engine,
                                   const struct fm_value *value, bool owns_block, PyObject **root);

/* "damaged payload": what every decoder says of bytes that no encoder wrote. */
PyObject *fm_codec_damaged(void);

#endif
