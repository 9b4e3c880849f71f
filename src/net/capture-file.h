/* SPDX-License-Identifier: MIT */
/* A capture into a file of the host: pcapng up to a number of bytes, always whole blocks. */
#ifndef PV_NET_CAPTURE_FILE_H
#define PV_NET_CAPTURE_FILE_H

#include <stdint.h>

struct pv_err;
struct pv_net;
struct pv_capture_file;

enum { PV_CAPTURE_FILE_MAX = 1 << 30 };

/*
 * Records the frames of the network into path, a regular file, new or emptied; frames that would make it larger than max bytes
 * are left out, and so are all after them.  NULL: class usage, names the path.  To be closed before pv_net_free.
 */
struct pv_capture_file *pv_capture_file_open(struct pv_net *net, const char *path, uint64_t max,
                                             struct pv_err *err);
/* Ends it, with all of its bytes in the file, and frees it.  -1: class host, some were not written or left out. */
int pv_capture_file_close(struct pv_capture_file *c, struct pv_err *err);

#endif
