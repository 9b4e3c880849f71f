/* SPDX-License-Identifier: MIT */
/* Of the room only: the members of an image. */
#ifndef PV_DISK_FROZEN_H
#define PV_DISK_FROZEN_H

#include "disk/internal.h"

struct pv_disk_image {
    unsigned refs;
    unsigned sector;
    char *dir; /* for `view`; NULL without changes */
    struct pv_layer *content;
    struct pv_layer *view;     /* content with all changes; made when it is needed */
    struct pv_change *changes; /* not applied to content, in order; durable ones are among them */
    size_t n_changes;
    struct pv_blob *log; /* their data; NULL without changes */
};

/* Takes content, changes and log. */
struct pv_disk_image *pv_image_new(unsigned sector, struct pv_layer *content, struct pv_change *v, size_t n,
                                   struct pv_blob *log);
/* The content as a guest would read it; borrowed from the image.  NULL: class host. */
struct pv_layer *pv_image_view(struct pv_disk_image *i, struct pv_err *err);

#endif
