/* SPDX-License-Identifier: MIT */
/* Networks in reports: their last frames with a failure, and a track of the timeline. */
#ifndef PV_TESTFILE_NETREPORT_H
#define PV_TESTFILE_NETREPORT_H

#include <stdint.h>

struct pv_impair;
struct pv_net_end;
struct pv_testfile;
struct tf_net;

enum { TF_NET_FRAMES_SHOWN = 20, TF_NET_KEPT_FILES = 10 };

/*
 * Writes the newest frames of each network beside the console logs (NAME.pcapng, NAME-2.pcapng with the next failure,
 * ...), tells the supervisor of the file, and shows the last ones in words under a sub-test (PV_NO_TEST: the file).
 * Nothing for a network without a frame since the last call.
 */
void pv_tf_nets_keep(struct pv_testfile *tf, uint32_t test_id);

/* From `from` to `to`, NULL: any; begins a step of the network's track, in place of that with the same ends. */
void pv_tf_net_partition(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to);
void pv_tf_net_impair(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to,
                      const struct pv_impair *i);
/* Ends it, with a step that counts the frames that the network has lost since the last such step. */
void pv_tf_net_heal(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to);
void pv_tf_net_clear(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to);
void pv_tf_net_heal_all(struct tf_net *net);
void pv_tf_net_clear_all(struct tf_net *net);
/* Ends and frees the steps of a network that is freed. */
void pv_tf_net_end_track(struct tf_net *net);

#endif
