/* The parent's side of the tests' engine: what feeds it and what consumes. */
#ifndef FM_TEST_ENGINE_STREAM_H
#define FM_TEST_ENGINE_STREAM_H

#include "engine.h"

/* The feeder's thread; `argument` is the struct engine. Ends early when the board has ended. */
void *engine_feed(void *argument);

#endif
