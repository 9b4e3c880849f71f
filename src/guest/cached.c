/* SPDX-License-Identifier: MIT */
#include "guest/cached.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/machine.h"
#include "image/image.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/mem.h"

/* ---- the options as text ---- */

static void describe_file(const struct pv_guest_file *f, struct pv_buf *out)
{
    char digest[PV_DIGEST_TEXT] = "";

    if (!f->host_path)
        pv_digest(f->content, f->content_n, digest);
    pv_buf_addf(out, "file %s: %s%s", f->guest_path, f->host_path ? f->host_path : "content ", digest);
    if (f->has_owner)
        pv_buf_addf(out, " mode %o owner %u:%u", f->mode, f->uid, f->gid);
    pv_buf_addc(out, '\n');
}

static void describe_disk(const struct pv_guest_disk *d, struct pv_buf *out)
{
    pv_buf_addf(out, "disk %s: bus %d sector %u size %" PRIu64 " %s %s%s%s%s%s\n", d->name ? d->name : "",
                (int)d->bus, d->sector, d->size, d->path ? d->path : "", d->format ? d->format : "",
                d->readonly ? " readonly" : "", d->snapshot ? " snapshot" : "", d->backing ? " backing" : "",
                d->faults ? " faults" : "");
}

void pv_boot_opts_describe(const struct pv_boot_opts *o, struct pv_buf *out)
{
    pv_buf_addf(out, "memory %" PRIu64 " cpus %u transport %d\n", o->memory, o->cpus, (int)o->transport);
    pv_buf_addf(out, "vsock %d gdb %d follow %d keep disks %d wait %d\n", o->vsock, o->gdb, o->follow,
                o->keep_disks, (int)o->wait_system);
    if (o->append && *o->append)
        pv_buf_addf(out, "append: %s\n", o->append);
    if (o->root.dir)
        pv_buf_addf(out, "root %s writable %s by %d\n", o->root.dir, o->root.writable ? o->root.writable : "",
                    (int)o->root.by);
    for (size_t i = 0; i < o->n_files; i++)
        describe_file(&o->files[i], out);
    for (size_t i = 0; i < o->n_disks; i++)
        describe_disk(&o->disks[i], out);
}

/* ---- what cannot be kept ---- */

/* An argument of QEMU whose effect is all in its text. */
static bool arg_is_plain(const char *option, const char *value)
{
    static const char *const known[] = {"-device", "-global", "-cpu", "-rtc", "-smp", "-accel"};

    for (size_t i = 0; i < PV_ARRAY_LEN(known); i++)
        if (!strcmp(option, known[i]))
            return value && !strchr(value, '/') && !strstr(value, "file=");
    return false;
}

static int args_check_plain(const struct pv_profile *p, struct pv_err *err)
{
    const struct pv_strv *a = &p->qemu_args;

    for (size_t i = 0; i < a->n; i += 2)
        if (!arg_is_plain(a->v[i], i + 1 < a->n ? a->v[i + 1] : NULL))
            return pv_err_set(err, PV_E_USAGE,
                              "qemu_args of profile '%s' has '%.100s', and nobody knows which files it reads",
                              p->name, a->v[i]);
    return 0;
}

static int file_check_regular(const char *path, struct pv_err *err)
{
    struct stat st;

    if (path && stat(path, &st) == 0 && S_ISBLK(st.st_mode))
        return pv_err_set(err, PV_E_USAGE, "'%s' is a block device, whose changes cannot be seen", path);
    return 0;
}

static int disk_check_cacheable(const struct pv_guest *g, const struct pv_guest_disk *d, struct pv_err *err)
{
    const char *name = d->name ? d->name : "vda";

    if (d->image)
        return pv_err_set(err, PV_E_USAGE, "disk '%s' has a state that this file made", name);
    if (d->path && d->faults)
        return pv_err_set(err, PV_E_USAGE, "disk '%s' is a file with faults = true", name);
    if (!d->path && pv_guest_was_booted(g))
        return pv_err_set(err, PV_E_USAGE, "disk '%s' keeps its content of the last run", name);
    return file_check_regular(d->path, err);
}

int pv_guest_check_cacheable(struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err)
{
    const struct pv_profile *p = g->profile;
    enum pv_transport transport = o->transport ? o->transport : p->transport;
    struct pv_machine *m = NULL;
    int r = 0;

    if (o->gdb)
        return pv_err_set(err, PV_E_USAGE, "gdb = true: a debugger decides when the kernel starts");
    if (o->root.dir)
        return pv_err_set(err, PV_E_USAGE,
                          "its root is a directory of the host, whose changes cannot be seen");
    if (o->n_nics)
        return pv_err_set(
            err, PV_E_USAGE,
            "it has NICs, whose networks are in the test's process; boot without `nets`, then vm:plug");
    if (transport == PV_TRANSPORT_VSOCK)
        return pv_err_set(err, PV_E_USAGE,
                          "transport = \"vsock\" cannot be saved; use \"auto\" or \"serial\"");
    if (args_check_plain(p, err) < 0 || file_check_regular(p->rootfs, err) < 0)
        return -1;
    for (size_t i = 0; r == 0 && i < o->n_disks; i++)
        r = disk_check_cacheable(g, &o->disks[i], err);
    if (r == 0)
        m = pv_machine_new(p, o, true, err);
    r = m ? pv_machine_check_savable(m, g->name, err) : -1;
    pv_machine_free(m);
    return r;
}

/* ---- the driver of the channel ---- */

/* 1: the kernel has it, built in or as a module; 0: it has not, or there is no modules tree to tell; -1. */
static int kernel_has_driver(const struct pv_profile *p, const char *driver, struct pv_err *err)
{
    struct pv_kernel k = {0};
    struct pv_modlist list = {0};
    struct pv_err why = PV_ERR_INIT;
    cleanup_free char *tree = NULL;
    int r = -1;

    if (pv_kernel_open(p->kernel, false, &k, err) < 0)
        return -1;
    tree = pv_modules_find(p->modules, p->kernel, k.release, NULL, &why);
    if (tree)
        r = pv_modlist_add(&list, tree, driver, &why) == 0;
    else if (why.cls == PV_E_NONE)
        r = 0;
    if (r < 0 && err)
        *err = why;
    pv_modlist_fini(&list);
    pv_kernel_fini(&k);
    return r;
}

int pv_guest_check_serial(const struct pv_guest *g, const struct pv_boot_opts *o, struct pv_err *err)
{
    enum pv_transport transport = o->transport ? o->transport : g->profile->transport;
    int has;

    if (transport == PV_TRANSPORT_SERIAL || g->env->host.auto_transport == PV_TRANSPORT_SERIAL)
        return 0;
    has = kernel_has_driver(g->profile, "virtio_console", err);
    if (has == 0)
        return pv_err_set(
            err, PV_E_USAGE,
            "no modules tree says that '%s' has virtio_console, by which the agent of a VM that is saved "
            "is reached; transport = \"serial\" says it",
            g->profile->kernel);
    return has < 0 ? -1 : 0;
}
