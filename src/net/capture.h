/* SPDX-License-Identifier: MIT */
/*
 * Frames as pcapng (the format of draft-ietf-opsawg-pcapng: a section header, an interface description, an enhanced
 * packet block a frame), and the newest frames of each network.  Timestamps are wall-clock nanoseconds.
 */
#ifndef PV_NET_CAPTURE_H
#define PV_NET_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_buf;
struct pv_net;

/* The newest frames of a network that are kept, bytes of pcapng. */
enum { PV_NET_KEPT = 1 << 20 };

/* The whole of a capture's header: section and interface, whose name is the network's. */
void pv_pcapng_header(struct pv_buf *out, const char *network);
/* A frame with its comment. */
void pv_pcapng_frame(struct pv_buf *out, int64_t wall_ns, const void *frame, size_t n, const char *comment);

/* How many frames it has carried. */
uint64_t pv_net_frames(const struct pv_net *net);
/* Adds the kept frames as a whole pcapng file; false: the network has carried none. */
bool pv_net_kept(const struct pv_net *net, struct pv_buf *out);
/* Calls fn for each of the last `max` kept frames, oldest first; wall_ns since 1970. */
void pv_net_kept_each(const struct pv_net *net, unsigned max,
                      void (*fn)(void *arg, int64_t wall_ns, const void *frame, size_t n,
                                 const char *comment),
                      void *arg);

#endif
