/* How the numbers that the tests' engine passes around lie in values. */
#ifndef FM_TEST_ENGINE_VALUE_H
#define FM_TEST_ENGINE_VALUE_H

#include "engine.h"

/* Inline, or with options.payload that many bytes, which depend on the number; those may have to wait
 * for space. False if the board has ended meanwhile. */
bool engine_store(struct engine *engine, uint64_t item, int64_t number, struct fm_value *value);

/* Every byte is checked. */
int64_t engine_load(const struct engine *engine, const struct fm_value *value);

#endif
