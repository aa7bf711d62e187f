/* Descriptors that are never 0, 1 or 2, also in a program that has closed those: what anybody prints
 * would go into them, and a worker puts /dev/null in the place of 0. Any thread may call these. */
#ifndef FM_DESCRIPTOR_H
#define FM_DESCRIPTOR_H

/* Takes what a system call has just returned, a descriptor or -1 with errno. Returns it, or one that
 * stands for the same, closed on exec; -errno, and then it is closed. */
int fm_descriptor_keep(int fd);

/* The same for what pipe2 or socketpair has made; `result` is what that has returned. 0 or -errno. */
int fm_descriptor_keep_pair(int result, int fds[2]);

#endif
