/* SPDX-License-Identifier: MIT */
/* The members of a served disk (disks.h).  Private to the room. */
#ifndef PV_GUEST_SERVED_H
#define PV_GUEST_SERVED_H

#include <stdbool.h>
#include <stdint.h>

struct pv_disk;
struct pv_disk_image;
struct pv_err;
struct pv_guest;
struct pv_machine_disk;

enum { PV_SERVED_NODE = 32 };

struct pv_served {
    struct pv_disk *d;
    /* what it was made of */
    char *path;
    bool readonly, snapshot;
    uint64_t size;
    unsigned sector;
    struct pv_disk_image *image;
    bool plugged;  /* while the machine ran */
    unsigned slot; /* of a plugged one */
    struct pv_served *next;
};

/* NULL: the guest has none of that name. */
struct pv_served *pv_served_find(const struct pv_guest *g, const char *name);
/* The guest owns it.  NULL: the errors of pv_disk_new and pv_disk_open_file. */
struct pv_served *pv_served_add(struct pv_guest *g, const struct pv_machine_disk *m, struct pv_err *err);
void pv_served_drop(struct pv_guest *g, const char *name);
/* Serves a new connection: the other end's descriptor, which the caller closes; -1: class host. */
int pv_served_connect(struct pv_served *s, struct pv_err *err);

#endif
