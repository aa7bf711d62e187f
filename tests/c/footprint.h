/* What this process holds, as /proc says: nothing of it may be left behind. */
#ifndef FM_TEST_FOOTPRINT_H
#define FM_TEST_FOOTPRINT_H

struct footprint {
    unsigned descriptors;
    unsigned threads;
    unsigned mappings; /* shared ones */
};

struct footprint footprint_now(void);

#endif
