/* SPDX-License-Identifier: MIT */
/*
 * Recognizes the file system on a block device or in a file by its superblock, at fixed offsets.  The
 * device is not trusted: every field is copied and bounded.
 */
#ifndef PV_AGENT_SUPERBLOCK_H
#define PV_AGENT_SUPERBLOCK_H

#include <stdbool.h>

struct ag_super {
    char type[16];   /* for mount(2); "ext4" also for ext2 and ext3 */
    char label[272]; /* "": none */
    char uuid[40];   /* in lower case; "": none; vfat: "abcd-1234" */
    bool root;       /* may be a root file system (vfat and swap may not) */
};

/* False when no known superblock can be read.  Reads at most 12 KiB. */
bool ag_super_probe(int fd, struct ag_super *sb);

#endif
