/* A place in a list, as a field of what is in the list, which can leave it without knowing the list.
 * With the GIL. */
#ifndef FM_LINK_H
#define FM_LINK_H

#include <stddef.h>

struct fm_link {
    struct fm_link *next;
    struct fm_link **place; /* what points to this one */
};

/* What a link is the field `link` of. */
#define FM_LINK_OWNER(pointer, type) ((type *)(void *)((char *)(pointer) - offsetof(type, link)))

/* Puts it first; `head` is where the list begins, and stays where it is. */
static inline void
fm_link_insert(struct fm_link **head, struct fm_link *link)
{
    link->next = *head;
    link->place = head;
    if (link->next != NULL) {
        link->next->place = &link->next;
    }
    *head = link;
}

static inline void
fm_link_remove(struct fm_link *link)
{
    *link->place = link->next;
    if (link->next != NULL) {
        link->next->place = link->place;
    }
}

#endif
