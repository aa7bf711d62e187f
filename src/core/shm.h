/* Memory that processes share: no name, no file under /dev/shm, nothing to leak. Forked processes
 * inherit it; others attach to it by a descriptor that they are sent.
 *
 * Address space is reserved without being committed; a page costs memory once it has been written.
 */
#ifndef FM_SHM_H
#define FM_SHM_H

#include <stddef.h>

/* Maps `size` zeroed bytes; 0 or -errno. `fd` is NULL, or where the descriptor goes (the caller's
 * to close) by which a process that does not inherit the memory can attach to it. */
int fm_shm_map(size_t size, void **memory, int *fd);

/* Maps `most` bytes or, where the machine grants less, about half of what it grants or less, for
 * there are threads and objects yet to come, and never less than `least`. */
int fm_shm_map_most(size_t most, size_t least, void **memory, size_t *size, int *fd);

/* Maps all of what fm_shm_map made in another process; 0 or -errno. */
int fm_shm_attach(int fd, void **memory, size_t *size);

void fm_shm_unmap(void *memory, size_t size);

/* In a forked process, for whole pages around a range of what the descriptor stands for, where `offset`
 * is the range's place in that: what is written here from now on stays here, and is inherited by
 * children. What others write is seen until then, page by page. Best effort: where there is no room
 * for the mapping, the memory stays shared. */
void fm_shm_make_private(void *memory, size_t size, int fd, size_t offset);

/* Gives the whole pages within the range back to the system, in every process; they read as zero
 * from then on. Best effort: where the kernel can't, the pages just stay. */
void fm_shm_discard(void *memory, size_t size);

#endif
