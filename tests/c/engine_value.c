#include "engine_value.h"

#include <string.h>

static uint8_t
pattern(int64_t number, uint64_t position)
{
    return (uint8_t)((uint64_t)number + position * 31);
}

bool
engine_store(struct engine *engine, uint64_t item, int64_t number, struct fm_value *value)
{
    uint64_t size = engine->options.payload;
    void *bytes;
    enum fm_store_result result;
    *value = (struct fm_value){.form = FM_FORM_INLINE};
    if (size == 0) {
        value->as.integer = number;
        return true;
    }
    while ((result = fm_board_reserve(&engine->board, &engine->heap, item, size, value, &bytes))
           == FM_STORE_FULL) {
        if (!fm_board_await_space(&engine->board, &engine->heap, item, size)) {
            return false;
        }
    }
    CHECK_EQUAL(result, FM_STORE_DONE);
    memcpy(bytes, &number, sizeof number);
    for (uint64_t i = sizeof number; i < size; i++) {
        ((uint8_t *)bytes)[i] = pattern(number, i);
    }
    return true;
}

int64_t
engine_load(const struct engine *engine, const struct fm_value *value)
{
    uint64_t size;
    int64_t number;
    if (engine->options.payload == 0) {
        return value->as.integer;
    }
    const uint8_t *bytes = fm_board_bytes(&engine->board, value, &size);
    CHECK_EQUAL(size, engine->options.payload);
    memcpy(&number, bytes, sizeof number);
    for (uint64_t i = sizeof number; i < size; i++) {
        CHECK_EQUAL(bytes[i], pattern(number, i));
    }
    return number;
}
