/* A payload apart from any engine, for whoever wants to feed the decoder bytes of their own.
 *
 * It lies in an allocation that ends with its last byte, where AddressSanitizer sees the first byte
 * read beyond it; in the arena that would be another block's memory and look harmless.
 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include "codec.h"

struct payload {
    uint8_t tag;
    bool owned;     /* decoded as the consumer does a result, else as a worker does an argument */
    bool may_rerun; /* the item may be run again */
    bool is_inline; /* the bytes lie in the slot, as far as it has room */
    const void *bytes;
    size_t size;
};

/* What the codec wants of the module's state: `loads` is to take the pickles. -1 with an exception;
 * then, too, payload_state_fini is to be called. */
int payload_state_init(struct fm_state *state, PyObject *loads);
void payload_state_fini(struct fm_state *state);

/* The object, or NULL with an exception. Ends the program if a block was not given back once. */
PyObject *payload_decode(struct fm_state *state, const struct payload *payload);

#endif
