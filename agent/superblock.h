/* SPDX-License-Identifier: MIT */
/*
 * Which file system lies on a block device or in a file: by its superblock's magic number, read from fixed
 * offsets.  The device is not trusted: every field is copied and bounded.
 */
#ifndef PV_AGENT_SUPERBLOCK_H
#define PV_AGENT_SUPERBLOCK_H

#include <stdbool.h>

struct ag_super {
    char type[16];   /* as mount(2) wants it; "ext4" stands for ext2, ext3 and ext4 */
    char label[272]; /* "" when it has none */
    char uuid[40];   /* lower-case text, "" when it has none; vfat: "ABCD-1234" */
    bool root;       /* could hold a root file system (vfat and swap can not) */
};

/* False when nothing known is there (or it can not be read). Never allocates, reads at most 12 KiB. */
bool ag_super_probe(int fd, struct ag_super *sb);

#endif
