/* SPDX-License-Identifier: MIT */
#include "guest/disks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "config/config.h"
#include "disk/image.h"
#include "disk/rule.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "guest/machine.h"
#include "guest/served.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "vm/migrate.h"
#include "vm/qmp.h"
#include "vm/spec.h"
#include "vm/vm.h"

/* ---- the list ---- */

struct pv_served *pv_served_find(const struct pv_guest *g, const char *name)
{
    struct pv_served *s = g->disks;

    while (s && strcmp(pv_disk_name(s->d), name) != 0)
        s = s->next;
    return s;
}

static void served_free(struct pv_served *s)
{
    pv_disk_free(s->d);
    pv_disk_image_unref(s->image);
    free(s->path);
    free(s);
}

void pv_guest_disks_free(struct pv_guest *g)
{
    while (g->disks) {
        struct pv_served *s = g->disks;

        g->disks = s->next;
        served_free(s);
    }
}

void pv_served_drop(struct pv_guest *g, const char *name)
{
    for (struct pv_served **at = &g->disks; *at; at = &(*at)->next)
        if (!strcmp(pv_disk_name((*at)->d), name)) {
            struct pv_served *s = *at;

            *at = s->next;
            served_free(s);
            return;
        }
}

struct pv_served *pv_served_add(struct pv_guest *g, const struct pv_machine_disk *m, struct pv_err *err)
{
    struct pv_disk_opts o = {.name = m->name,
                             .dir = pv_temp_dir(),
                             .size = m->size,
                             .sector = m->sector,
                             .readonly = m->readonly,
                             .image = m->image};
    struct pv_loop *loop = g->env->host.loop;
    struct pv_disk *d = m->image || !*m->path
                            ? pv_disk_new(loop, &o, err)
                            : pv_disk_open_file(loop, &o, m->path, m->format, m->snapshot, err);
    struct pv_served *s;

    if (!d)
        return NULL;
    s = pv_xcalloc(1, sizeof(*s));
    *s = (struct pv_served){.d = d,
                            .path = pv_xstrdup(m->path),
                            .readonly = m->readonly,
                            .snapshot = m->snapshot,
                            .size = m->size,
                            .sector = m->sector,
                            .image = m->image ? pv_disk_image_ref(m->image) : NULL,
                            .next = g->disks};
    g->disks = s;
    return s;
}

static bool served_is_as(const struct pv_served *s, const struct pv_machine_disk *m)
{
    return !strcmp(s->path, m->path) && s->readonly == m->readonly && s->snapshot == m->snapshot &&
           s->size == m->size && s->sector == m->sector && s->image == m->image;
}

/* Drops what the machine does not have. */
static void served_prune(struct pv_guest *g, const struct pv_machine *m, bool fresh)
{
    for (struct pv_served **at = &g->disks; *at;) {
        struct pv_served *s = *at;
        bool keep = false;

        for (size_t i = 0; !fresh && i < m->n_disks; i++)
            keep |= m->disks[i].served && !strcmp(m->disks[i].name, pv_disk_name(s->d)) &&
                    served_is_as(s, &m->disks[i]);
        if (keep) {
            s->plugged = false;
            at = &s->next;
            continue;
        }
        *at = s->next;
        served_free(s);
    }
}

int pv_guest_disks_make(struct pv_guest *g, const struct pv_machine *m, bool fresh, struct pv_err *err)
{
    served_prune(g, m, fresh);
    for (size_t i = 0; i < m->n_disks; i++)
        if (m->disks[i].served && !pv_served_find(g, m->disks[i].name) &&
            !pv_served_add(g, &m->disks[i], err))
            return -1;
    return 0;
}

/* ---- QEMU's ends ---- */

int pv_served_connect(struct pv_served *s, struct pv_err *err)
{
    int fd = pv_disk_connect(s->d, err);

    if (fd >= 0)
        pv_disk_guest_stopped(s->d, false);
    return fd;
}

int pv_guest_disks_serve(struct pv_guest *g, struct pv_vm_disk *disks, size_t n, struct pv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct pv_served *s = disks[i].served ? pv_served_find(g, disks[i].name) : NULL;

        if (!s)
            continue;
        disks[i].served_fd = pv_served_connect(s, err);
        if (disks[i].served_fd < 0)
            return -1;
    }
    return 0;
}

void pv_guest_disks_close(struct pv_vm_disk *disks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (disks[i].served)
            pv_close(&disks[i].served_fd);
}

void pv_guest_disks_settle(struct pv_guest *g)
{
    for (struct pv_served *s = g->disks; s; s = s->next) {
        pv_disk_disconnect(s->d);
        pv_disk_trigger(s->d, PV_DISK_ANY, 0, NULL, NULL);
        pv_disk_unhang(s->d);
        pv_disk_flush(s->d);
    }
}

void pv_guest_disks_on_frozen(void *arg)
{
    const struct pv_guest *g = arg;

    for (struct pv_served *s = g->disks; s; s = s->next)
        pv_disk_drop_hanging(s->d);
}

/* ---- saves ---- */

void pv_guest_disks_stopped(struct pv_guest *g, bool stopped)
{
    for (struct pv_served *s = g->disks; s; s = s->next)
        pv_disk_guest_stopped(s->d, stopped);
}

/* The node that the device with this disk uses. */
static void node_name(const struct pv_guest *g, const char *name, char node[static PV_SERVED_NODE])
{
    const struct pv_machine *m = pv_instance_machine(g->instance);

    for (size_t i = 0; i < m->n_disks; i++)
        if (!strcmp(m->disks[i].name, name)) {
            if (m->disks[i].plug)
                snprintf(node, PV_SERVED_NODE, "plugged%u", m->disks[i].plug - 1);
            else
                snprintf(node, PV_SERVED_NODE, "disk%zu", i);
        }
}

int pv_guest_disks_unflush(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    struct pv_vm *vm = pv_instance_vm(g->instance);
    bool active = false;

    for (struct pv_served *s = g->disks; s; s = s->next) {
        char node[PV_SERVED_NODE] = "";
        cleanup_free char *arguments = NULL;

        if (!pv_disk_unflushed(s->d) || s->readonly)
            continue;
        node_name(g, pv_disk_name(s->d), node);
        arguments = pv_xasprintf("{\"command-line\":\"qemu-io %s \\\"discard 0 %u\\\"\"}", node,
                                 pv_disk_sector(s->d));
        if (!active && pv_vm_activate_disks(vm, deadline, err) < 0)
            return -1;
        active = true;
        pv_disk_swallow(s->d);
        if (pv_vm_qmp(vm, "human-monitor-command", arguments, NULL, deadline, err) < 0)
            return -1;
    }
    return 0;
}

int pv_guest_disks_check_savable(const struct pv_guest *g, const char *what, struct pv_err *err)
{
    const struct pv_machine *m = pv_instance_machine(g->instance);

    for (size_t i = 0; i < m->n_disks; i++)
        if (m->disks[i].plug && m->disks[i].plain)
            return pv_err_set(err, PV_E_USAGE,
                              "cannot %s %s: its disk '%s' was attached without faults = true; take it off "
                              "first (vm:detach_disk), or give it to vm:boot",
                              what, g->name, m->disks[i].name);
    for (const struct pv_served *s = g->disks; s; s = s->next) {
        if (pv_disk_hangs(s->d))
            return pv_err_set(err, PV_E_USAGE, "cannot %s %s: its disk '%s' hangs (call d:unhang() first)",
                              what, g->name, pv_disk_name(s->d));
    }
    return 0;
}

int pv_guest_disks_freeze(struct pv_guest *g, struct pv_machine *m, struct pv_err *err)
{
    for (size_t i = 0; i < m->n_disks; i++) {
        struct pv_machine_disk *d = &m->disks[i];
        struct pv_served *s = d->served ? pv_served_find(g, d->name) : NULL;

        if (!s)
            continue;
        pv_disk_image_unref(d->image);
        d->image = pv_disk_freeze(s->d, err);
        if (!d->image)
            return -1;
    }
    return 0;
}

int pv_guest_disk_set(struct pv_guest *g, const char *name, struct pv_disk_image *image, struct pv_err *err)
{
    struct pv_disk *d = pv_guest_disk(g, name, err);

    return d ? pv_disk_set(d, image, err) : -1;
}

/* ---- names ---- */

static const struct pv_machine *guest_machine(const struct pv_guest *g)
{
    return g->instance ? pv_instance_machine(g->instance) : g->last;
}

int pv_guest_disk_check_name(const struct pv_guest *g, const char *name, struct pv_err *err)
{
    const struct pv_machine *m = guest_machine(g);
    cleanup_buf struct pv_buf names = {0};

    if (!m)
        return pv_err_set(err, PV_E_USAGE, "%s has no disks: it is %s (call vm:boot{disks = ...} first)",
                          g->name, pv_guest_state_name(g->state));
    for (size_t i = 0; i < m->n_disks; i++) {
        if (!strcmp(m->disks[i].name, name))
            return 0;
        pv_buf_addf(&names, "%s'%s'", i ? ", " : "", m->disks[i].name);
    }
    return pv_err_set(err, PV_E_USAGE, "%s has no disk '%s'; it has %s", g->name, name,
                      names.len ? names.data : "none");
}

static const struct pv_machine_disk *machine_disk(const struct pv_guest *g, const char *name)
{
    const struct pv_machine *m = guest_machine(g);

    for (size_t i = 0; m && i < m->n_disks; i++)
        if (!strcmp(m->disks[i].name, name))
            return &m->disks[i];
    return NULL;
}

struct pv_disk *pv_guest_disk(const struct pv_guest *g, const char *name, struct pv_err *err)
{
    const struct pv_served *s = pv_served_find(g, name);
    const struct pv_machine_disk *m = machine_disk(g, name);

    if (s && !(m && m->plain))
        return s->d;
    if (pv_guest_disk_check_name(g, name, err) < 0)
        return NULL;
    pv_err_set(err, PV_E_USAGE,
               "disk '%s' of %s is QEMU's alone: this needs faults = true in its options, or a scratch disk "
               "(size = \"64M\" instead of a path)",
               name, g->name);
    return NULL;
}

struct pv_disk *pv_guest_disk_open(struct pv_guest *g, const char *name, bool write, struct pv_disk **own,
                                   struct pv_err *err)
{
    const struct pv_served *s = pv_served_find(g, name);
    const struct pv_machine_disk *m = machine_disk(g, name);
    struct pv_disk_opts o = {.name = name, .dir = pv_temp_dir(), .readonly = !write};

    *own = NULL;
    if (s)
        return s->d;
    if (pv_guest_disk_check_name(g, name, err) < 0)
        return NULL;
    if (m->snapshot || m->n_backing || (g->instance && strcmp(m->format, "raw") != 0)) {
        pv_err_set(
            err, PV_E_USAGE,
            "what is on disk '%s' of %s is known to QEMU alone (it %s): this needs faults = true in its "
            "options",
            name, g->name, m->snapshot ? "has snapshot = true" : "is a qcow2 image in use");
        return NULL;
    }
    *own = pv_disk_open_file(g->env->host.loop, &o, m->path, m->format, false, err);
    return *own;
}
