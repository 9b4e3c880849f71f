/* SPDX-License-Identifier: MIT */
/* Of the room only: the members of an image. */
#ifndef PV_DISK_FROZEN_H
#define PV_DISK_FROZEN_H

#include "disk/internal.h"

struct pv_disk_image {
    unsigned refs;
    unsigned sector;
    struct pv_layer *content;
    struct pv_change *changes; /* not applied to content, in order; durable ones are among them */
    size_t n_changes;
    struct pv_blob *log; /* their data; NULL without changes */
};

/* Takes content, changes and log. */
struct pv_disk_image *pv_image_new(unsigned sector, struct pv_layer *content, struct pv_change *v, size_t n,
                                   struct pv_blob *log);

#endif
