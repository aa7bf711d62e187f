/* codec_harness: the codec without an engine, for the Python tests. */
#include "payload.h"

static PyObject *
bytes_of(const struct fm_engine *engine, const struct fm_value *value)
{
    uint64_t size;
    switch ((enum fm_tag)value->tag) {
    case FM_TAG_NONE:
    case FM_TAG_FALSE:
    case FM_TAG_TRUE:
        return PyBytes_FromStringAndSize(NULL, 0);
    case FM_TAG_INTEGER:
    case FM_TAG_FLOAT:
        return PyBytes_FromStringAndSize((const char *)value->as.bytes, sizeof value->as.integer);
    default:
        break;
    }
    const char *bytes = fm_board_bytes(&engine->board, value, &size);
    return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)size);
}

static PyObject *
encode_with(struct fm_engine *engine, struct fm_state *state, PyObject *object)
{
    struct fm_value value = {0};
    if (fm_codec_encode(state, engine, 0, object, &value) != FM_ENCODE_DONE) {
        return NULL;
    }
    return Py_BuildValue("(iN)", value.tag, bytes_of(engine, &value));
}

static PyObject *
encode(PyObject *module, PyObject *object)
{
    struct fm_state state;
    struct fm_engine engine = {0};
    const struct fm_board_options options = {
        .buffersize = 1, .inherited = true, .total = 1, .arena_limit = FM_ARENA_DEFAULT_LIMIT};
    PyObject *payload = NULL;
    (void)module;
    if (fm_board_map(&engine.board, &options, NULL) < 0) {
        return PyErr_NoMemory();
    }
    fm_heap_init(&engine.heap, &engine.board.arena, 0);
    if (payload_state_init(&state, Py_None) == 0) {
        payload = encode_with(&engine, &state, object);
    }
    payload_state_fini(&state);
    fm_heap_fini(&engine.heap);
    fm_board_unmap(&engine.board);
    return payload;
}

static PyObject *
decode(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"tag", "payload", "loads", "owned", "may_rerun", "is_inline", NULL};
    struct fm_state state;
    Py_buffer bytes;
    PyObject *loads;
    int owned = 0;
    int may_rerun = 0;
    int is_inline = 0;
    PyObject *object = NULL;
    (void)module;
    struct payload payload = {0};
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "by*O|$ppp:decode", names, &payload.tag,
                                     &bytes, &loads, &owned, &may_rerun, &is_inline)) {
        return NULL;
    }
    payload.bytes = bytes.buf;
    payload.size = (size_t)bytes.len;
    payload.owned = owned;
    payload.may_rerun = may_rerun;
    payload.is_inline = is_inline;
    if (payload_state_init(&state, loads) == 0) {
        object = payload_decode(&state, &payload);
    }
    payload_state_fini(&state);
    PyBuffer_Release(&bytes);
    return object;
}

static PyMethodDef methods[] = {
    {"encode", encode, METH_O, PyDoc_STR("encode(object, /): its tag and payload")},
    {"decode", (PyCFunction)(void (*)(void))decode, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("decode(tag, payload, loads, *, owned=False, may_rerun=False, is_inline=False)")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "codec_harness",
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit_codec_harness(void)
{
    return PyModuleDef_Init(&definition);
}
