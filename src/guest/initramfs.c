/* SPDX-License-Identifier: MIT */
#include "guest/initramfs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/console.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/machine.h"
#include "image/image.h"
#include "image/kconfig.h"
#include "transport/serial.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spool.h"
#include "util/text.h"
#include "wire/mux.h"

enum { MAX_FS = 6, NEEDED_MAX = 14 };

/* Modules of one initramfs. */
struct chosen {
    struct pv_modlist always, fs[MAX_FS];
    const char *fs_types[MAX_FS + 1];
};

static void chosen_fini(struct chosen *c)
{
    pv_modlist_fini(&c->always);
    for (size_t k = 0; k < MAX_FS; k++)
        pv_modlist_fini(&c->fs[k]);
}

void pv_guest_reads(const struct pv_guest *g, const char *path)
{
    if (path && g->env->observer.reads)
        g->env->observer.reads(g, path, g->env->observer.arg);
}

/* The indexes that modules are chosen by. */
static void reads_indexes(const struct pv_guest *g, const char *tree)
{
    static const char *const indexes[] = {"modules.dep", "modules.dep.bin", "modules.builtin.bin",
                                          "modules.softdep"};

    for (size_t k = 0; k < PV_ARRAY_LEN(indexes); k++) {
        cleanup_free char *path = pv_path_join(tree, indexes[k]);

        pv_guest_reads(g, path);
    }
}

static void reads_modules(const struct pv_guest *g, const struct pv_modlist *list)
{
    for (size_t k = 0; k < list->paths.n; k++)
        pv_guest_reads(g, list->paths.v[k]);
}

/* The type of a bare file system in a raw image, so that only its module is added; NULL: unknown. */
static const char *peek_fs(const struct pv_profile *p)
{
    static const struct {
        const char *type, *magic;
        off_t at;
        size_t n;
    } known[] = {
        {"ext4", "\x53\xef", 0x438, 2},         {"xfs", "XFSB", 0, 4},
        {"btrfs", "_BHRfS_M", 0x10040, 8},      {"squashfs", "hsqs", 0, 4},
        {"erofs", "\xe2\xe1\xf5\xe0", 1024, 4},
    };
    cleanup_close int fd = -1;
    char got[8];

    if (!p->rootfs_format || strcmp(p->rootfs_format, "raw") != 0 || p->root)
        return NULL;
    fd = open(p->rootfs, O_RDONLY | O_CLOEXEC);
    for (size_t i = 0; fd >= 0 && i < PV_ARRAY_LEN(known); i++)
        if (pv_pread_all(fd, got, known[i].n, known[i].at) == (ssize_t)known[i].n &&
            !memcmp(got, known[i].magic, known[i].n))
            return known[i].type;
    return NULL;
}

/* The drivers of its disks; all of them, because one may be attached later. */
static void needs_disks(const struct pv_machine *m, const char **needed, size_t *n)
{
    static const char *const drivers[] = {
        [PV_VM_BUS_VIRTIO] = "virtio_blk", [PV_VM_BUS_NVME] = "nvme", [PV_VM_BUS_SCSI] = "virtio_scsi"};
    bool has[PV_ARRAY_LEN(drivers)] = {false};

    for (size_t i = 0; i < m->n_disks; i++)
        has[m->disks[i].bus] = true;
    for (size_t i = 0; i < PV_ARRAY_LEN(drivers); i++)
        if (has[i])
            needed[(*n)++] = drivers[i];
    if (has[PV_VM_BUS_SCSI])
        needed[(*n)++] = "sd_mod";
}

static void append_hint(const struct pv_initramfs *i, const char *driver, struct pv_err *err)
{
    static const char cloud[] = "cloud-";
    const char *release = i->release, *at = release ? strstr(release, cloud) : NULL;

    if (!strcmp(driver, "vmw_vsock_virtio_transport"))
        pv_err_append(err, " (without vsock, transport = \"serial\" needs virtio_console)");
    if (strncmp(driver, "9p", 2) != 0)
        return;
    pv_err_append(err, " (by 9p it would reach the host's directory");
    if (at) /* Debian's generic kernel of the same version */
        pv_err_append(err,
                      "; Debian's cloud kernels lack it, linux-image-amd64 has it: apt download "
                      "linux-image-%.*s%s, then --kernel linux-image-%.*s%s_*.deb",
                      (int)(at - release), release, at + sizeof(cloud) - 1, (int)(at - release), release,
                      at + sizeof(cloud) - 1);
    if (i->why_9p)
        pv_err_append(err, "; not by virtiofs: %s", i->why_9p);
    pv_err_append(err, ")");
}

/* Adds a driver.  -1, class usage: the kernel has it neither built in nor as a module. */
static int add_driver(const struct pv_initramfs *i, const char *tree, const char *driver,
                      struct pv_modlist *to, struct pv_err *err)
{
    int r = pv_modlist_add(to, tree, driver, err);

    if (r <= 0 || !pv_modules_know_builtin(tree))
        return r < 0 ? -1 : 0;
    pv_err_set(err, PV_E_USAGE,
               "kernel %s has no driver %s, which this VM needs: it is neither built in nor a module of '%s'",
               i->release ? i->release : "", driver, tree);
    append_hint(i, driver, err);
    return -1;
}

/* The drivers that the VM cannot do without; at most NEEDED_MAX. */
static size_t needed_drivers(const struct pv_initramfs *i, bool root, const char **needed)
{
    size_t n = 0;

    needed[n++] = "virtio_pci";
    if (i->serial)
        needed[n++] = "virtio_console";
    if (!i->serial || i->opts->vsock)
        needed[n++] = "vmw_vsock_virtio_transport";
    needs_disks(i->machine, needed, &n);
    if (i->opts->n_nics)
        needed[n++] = "virtio_net";
    if (i->machine->n_shares && i->machine->shares[0].by == PV_SHARE_VIRTIOFS) {
        needed[n++] = "virtiofs";
    } else if (i->machine->n_shares) {
        needed[n++] = "9pnet_virtio";
        needed[n++] = "9p";
    }
    if (root || i->opts->root.dir)
        needed[n++] = "overlay";
    return n;
}

static unsigned share_needs(const struct pv_machine *m)
{
    if (!m->n_shares)
        return 0;
    return PV_KNEED_SHARE | (m->shares[0].by == PV_SHARE_VIRTIOFS ? PV_KNEED_VIRTIOFS : PV_KNEED_9P);
}

static int check_config(const struct pv_guest *g, const struct pv_initramfs *i, const char *tree, bool root,
                        struct pv_err *err)
{
    cleanup_free char *config = pv_kconfig_find(g->profile->kernel, tree);
    unsigned needs = (i->serial ? PV_KNEED_SERIAL : PV_KNEED_VSOCK) | (root ? PV_KNEED_ROOT : 0) |
                     (i->opts->n_nics ? PV_KNEED_NIC : 0) | share_needs(i->machine);

    return config ? pv_kconfig_check(config, needs, err) : 0;
}

static int choose_modules(const struct pv_guest *g, const struct pv_initramfs *i, bool root, struct chosen *c,
                          struct pv_err *err)
{
    static const char *const all_fs[] = {"ext4", "xfs", "btrfs", "squashfs", "erofs", "f2fs"};
    const struct pv_profile *p = g->profile;
    const char *peeked = root ? peek_fs(p) : NULL, *needed[NEEDED_MAX];
    struct pv_err e = PV_ERR_INIT;
    cleanup_free char *tree = pv_modules_find(p->modules, p->kernel, i->release, NULL, &e);
    size_t n = needed_drivers(i, root, needed), n_fs = 0;

    if (!tree && e.cls != PV_E_NONE) {
        if (err)
            *err = e;
        return -1;
    }
    if (check_config(g, i, tree, root, err) < 0)
        return -1;
    if (!tree)
        return 0;
    reads_indexes(g, tree);
    for (size_t k = 0; k < n; k++)
        if (add_driver(i, tree, needed[k], &c->always, err) < 0)
            return -1;
    for (size_t k = 0; root && k < PV_ARRAY_LEN(all_fs); k++) {
        if (peeked && strcmp(peeked, all_fs[k]) != 0)
            continue;
        if (pv_modlist_add(&c->fs[n_fs], tree, all_fs[k], err) < 0)
            return -1;
        c->fs_types[n_fs++] = all_fs[k];
    }
    c->fs_types[n_fs] = NULL;
    reads_modules(g, &c->always);
    for (size_t k = 0; k < MAX_FS; k++)
        reads_modules(g, &c->fs[k]);
    return 0;
}

/* The archive lies in memory while the kernel unpacks it, so both have to fit.  A sum that is surely too small. */
static int check_fits(const struct pv_guest *g, const struct pv_machine *m, int fd, uint64_t injected,
                      struct pv_err *err)
{
    uint64_t unpacked = g->profile->initrd ? pv_initrd_unpacked(g->profile->initrd) : 0;
    struct stat st;

    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size + unpacked + injected <= m->memory)
        return 0;
    return pv_err_set(
        err, PV_E_USAGE,
        "the initramfs needs at least %llu MiB of the VM's %llu MiB of memory: %llu MiB packed, and "
        "unpacked %llu MiB of the profile's and %llu MiB of injected files; give it more memory, or "
        "large files as a disk",
        (unsigned long long)((uint64_t)st.st_size + unpacked + injected) >> 20,
        (unsigned long long)m->memory >> 20, (unsigned long long)st.st_size >> 20,
        (unsigned long long)unpacked >> 20, (unsigned long long)injected >> 20);
}

/* Borrows from opts. */
static struct pv_suppl_file *list_files(const struct pv_boot_opts *o)
{
    struct pv_suppl_file *files = pv_xcalloc(o->n_files + 1, sizeof(*files));

    for (size_t k = 0; k < o->n_files; k++) {
        const struct pv_guest_file *f = &o->files[k];

        files[k] = (struct pv_suppl_file){.guest_path = f->guest_path,
                                          .host_path = f->host_path,
                                          .content = f->content,
                                          .content_n = f->content_n,
                                          .has_owner = f->has_owner,
                                          .mode = f->mode,
                                          .uid = f->uid,
                                          .gid = f->gid};
    }
    return files;
}

/* The share of the directory that the guest writes to, and its place in the guest. */
static char *share_work(const struct pv_guest_root *root)
{
    return pv_xasprintf(PV_VM_SHARE_TAG "1 %s",
                        root->writable + (strcmp(root->dir, "/") ? strlen(root->dir) : 0));
}

int pv_guest_initramfs(struct pv_guest *g, const struct pv_initramfs *i, int *fd, struct pv_err *err)
{
    const struct pv_profile *p = g->profile;
    const struct pv_guest_root *share = &i->opts->root;
    bool root = p->rootfs && !p->initrd, whole = share->writable && !strcmp(share->writable, share->dir);
    cleanup_free char *work = share->writable && !whole ? share_work(share) : NULL;
    __attribute__((cleanup(chosen_fini))) struct chosen c = {0};
    cleanup_free char *hostname = pv_guest_hostname(g, share->dir != NULL);
    cleanup_free struct pv_suppl_file *files = list_files(i->opts);
    struct pv_suppl suppl = {
        .initrd = p->initrd,
        .modules = &c.always,
        .fs_modules = c.fs,
        .fs_types = c.fs_types,
        .rootfs_device = root ? "vda" : NULL,
        .root = root ? p->root : NULL,
        .rootflags = root ? p->rootflags : NULL,
        .share = share->dir ? PV_VM_SHARE_TAG "0" : NULL,
        .share_writable = whole,
        .share_type = share->dir ? pv_share_by_name(i->machine->shares[0].by) : NULL,
        .work_share = work,
        .idle = share->dir && !p->init_set,
        .init_fallback = root || p->init_set ? NULL : "/init",
        .serial = i->serial ? PV_MUX_PORT_NAME : NULL,
        .hostname = hostname,
        .files = files,
        .n_files = i->opts->n_files,
    };
    uint64_t injected = 0;

    if (!share->dir)
        suppl.switch_root = pv_profile_switch_root(p);
    if (choose_modules(g, i, root, &c, err) < 0 || pv_suppl_build(&suppl, fd, &injected, err) < 0)
        return -1;
    return check_fits(g, i->machine, *fd, injected, err);
}

/* Adds to the reason of a failed boot, in front of the console's lines that may follow it. */
static void add_reason(struct pv_err *err, const char *text)
{
    char *tail = strstr(err->text, "\n--- console of ");
    cleanup_free char *rest = tail ? pv_xstrdup(tail) : NULL;

    if (tail)
        *tail = '\0';
    pv_err_append(err, "%s%s", text, rest ? rest : "");
}

/* A kernel without a modules tree has to have all drivers built in. */
static void append_looked(const struct pv_guest *g, const char *release, struct pv_err *err)
{
    cleanup_strv struct pv_strv looked = {0};
    cleanup_buf struct pv_buf text = {0};
    struct pv_err e = PV_ERR_INIT;
    cleanup_free char *tree = pv_modules_find(g->profile->modules, g->profile->kernel, release, &looked, &e);

    if (tree || e.cls != PV_E_NONE || (err->cls != PV_E_GUEST_DIED && err->cls != PV_E_TIMEOUT))
        return;
    pv_buf_addf(
        &text,
        "; no modules of this kernel (%s) were found, so the drivers that the VM needs have to be built in; "
        "looked for in: ",
        release ? release : "of unknown version");
    for (size_t k = 0; k < looked.n; k++)
        pv_buf_addf(&text, "%s%s", k ? ", " : "", looked.v[k]);
    pv_buf_adds(&text, " (the profile's key `modules` names another place)");
    add_reason(err, text.data);
}

void pv_guest_initramfs_why(const struct pv_guest *g, const char *release, uint64_t from, struct pv_err *err)
{
    static const char mark[] = "Initramfs unpacking failed: ", full[] = "write error";
    const struct pv_spool *console = pv_guest_console(g, false);
    uint64_t at = pv_spool_find(console, from, mark, sizeof(mark) - 1);
    cleanup_buf struct pv_buf line = {0};
    cleanup_free char *reason = NULL;
    char why[64] = "";
    size_t n;

    if (err)
        append_looked(g, release, err);
    if (!at || !err || strstr(err->text, "initramfs"))
        return;
    n = pv_spool_end(console) - at < sizeof(why) - 1 ? (size_t)(pv_spool_end(console) - at) : sizeof(why) - 1;
    pv_buf_adds(&line, "");
    pv_spool_copy(console, at, why, n);
    pv_text_clean(&line, why, strcspn(why, "\r\n"), NULL);
    reason = pv_xasprintf("; before that the kernel could not unpack the initramfs: %s%s", line.data,
                          strcmp(line.data, full) ? "" : " (it needs more memory than the VM has)");
    add_reason(err, reason);
}
