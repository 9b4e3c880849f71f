/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that the agent keeps from one request to the next have numbers far above those that a test's system
 * calls get, and SYSCALL neither closes nor replaces them.
 */
#ifndef PV_AGENT_HIGH_FD_H
#define PV_AGENT_HIGH_FD_H

struct ag_world;

/* Higher numbers would make the table of descriptors larger, which every fork copies. */
enum { AG_FD_FIRST = 16384, AG_FD_LAST = AG_FD_FIRST + 4095 };

/* Moves fd there and returns its new number; fd itself when that is impossible, or -1. */
int ag_high_fd(int fd);
/*
 * Moves fd only if it is 0, 1 or 2: a system call request may have closed those, and a command's own would replace
 * it in the fork.
 */
int ag_above_stdio(int fd);
/* Moves all descriptors of the world. */
void ag_high_world(struct ag_world *w);

#endif
