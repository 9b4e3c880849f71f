/* SPDX-License-Identifier: MIT */
/* A file of a guest that is followed: bytes are collected from the loop as they are appended. */
#ifndef PV_GUEST_FOLLOW_H
#define PV_GUEST_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

struct pv_agent;
struct pv_err;
struct pv_follow;
struct pv_spool;

/*
 * Blocks until the file is open.  from: PV_FOLLOW_*; offset: with PV_FOLLOW_OFFSET.  opened: where in the test,
 * for messages (copied).  NULL with *err: class guest with the errno; usage for a worker.
 */
struct pv_follow *pv_follow_open(struct pv_agent *a, const char *path, uint32_t from, uint64_t offset,
                                 const char *opened, struct pv_err *err);
void pv_follow_close(struct pv_follow *f);

struct pv_spool *pv_follow_spool(const struct pv_follow *f);
/* False when the guest, its agent's process or the reading of the file has ended. */
bool pv_follow_is_open(struct pv_follow *f);
/* For one that is not open. */
void pv_follow_why(struct pv_follow *f, struct pv_err *err);

#endif
