/* SPDX-License-Identifier: MIT */
/*
 * The kernel unpacks archives one after the other into one file system, and a later entry replaces an earlier
 * one.  So all entries but the guest init lie below PV_BOOT_DIR: an entry "/etc" would replace a symbolic
 * link of that name in the profile's own archive.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"
#include "image/initrd.h"
#include "image/magic.h"
#include "image/newc.h"
#include "image/suppl-files.h"
#include "util/err.h"
#include "util/path.h"
#include "wire/proto.h"

/* ---- modules ---- */

/* The archive's modules: each file of the tree once, and its name in the archive. */
struct modset {
    struct pv_strv paths, names; /* names[i] is the name of paths[i] */
};

static void modset_fini(struct modset *s)
{
    pv_strv_free(&s->paths);
    pv_strv_free(&s->names);
}

static bool strv_contains(const struct pv_strv *s, const char *str)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->v[i], str))
            return true;
    return false;
}

/* "ext4.ko" of ".../ext4.ko.xz" */
static char *plain_name(const char *path)
{
    const char *base = pv_path_basename(path), *ko = strstr(base, ".ko");

    return ko ? pv_xstrndup(base, (size_t)(ko - base) + 3) : pv_xstrdup(base);
}

static const char *modset_name(const struct modset *s, const char *path)
{
    for (size_t i = 0; i < s->paths.n; i++)
        if (!strcmp(s->paths.v[i], path))
            return s->names.v[i];
    return NULL;
}

static int modset_add(struct modset *s, const char *path, struct pv_err *err)
{
    cleanup_free char *name = plain_name(path);

    if (modset_name(s, path))
        return 0;
    if (strpbrk(name, " \t\r\n"))
        return pv_err_set(err, PV_E_USAGE, "module '%s' has a blank in its name", path);
    if (strv_contains(&s->names, name)) {
        char *other = pv_xasprintf("%zu-%s", s->names.n, name);

        free(name);
        name = other;
    }
    pv_strv_add(&s->paths, path);
    pv_strv_take(&s->names, pv_steal(&name));
    return 0;
}

static int put_module(struct pv_newc *w, const char *path, const char *name, struct pv_err *err)
{
    cleanup_free char *full = pv_xasprintf(PV_BOOT_MODULES "/%s", name);
    cleanup_buf struct pv_buf module = {0};

    if (pv_module_read(path, &module, err) < 0)
        return -1;
    return pv_newc_bytes(w, full, 0644, module.data, module.len, err);
}

static int collect_modules(const struct pv_suppl *suppl, struct modset *s, struct pv_err *err)
{
    for (size_t i = 0; suppl->modules && i < suppl->modules->paths.n; i++)
        if (modset_add(s, suppl->modules->paths.v[i], err) < 0)
            return -1;
    for (size_t t = 0; suppl->fs_types && suppl->fs_types[t]; t++)
        for (size_t i = 0; i < suppl->fs_modules[t].paths.n; i++)
            if (modset_add(s, suppl->fs_modules[t].paths.v[i], err) < 0)
                return -1;
    return 0;
}

static int put_modules(struct pv_newc *w, const struct modset *s, struct pv_err *err)
{
    if (s->paths.n && pv_newc_dir(w, PV_BOOT_MODULES, 0755, 0, err) < 0)
        return -1;
    for (size_t i = 0; i < s->paths.n; i++)
        if (put_module(w, s->paths.v[i], s->names.v[i], err) < 0)
            return -1;
    return 0;
}

/* ---- boot.conf ---- */

static int conf_line(struct pv_buf *b, const char *key, const char *value, struct pv_err *err)
{
    if (!value)
        return 0;
    if (!*value || strpbrk(value, "\r\n"))
        return pv_err_set(err, PV_E_USAGE, "'%s' must be one line of text, not '%s'", key, value);
    pv_buf_addf(b, "%s %s\n", key, value);
    return 0;
}

static int put_conf(struct pv_newc *w, const struct pv_suppl *suppl, const struct modset *s,
                    struct pv_err *err)
{
    cleanup_buf struct pv_buf b = {0};

    pv_buf_adds(&b, "");
    for (size_t i = 0; suppl->modules && i < suppl->modules->paths.n; i++)
        pv_buf_addf(&b, "module %s\n", modset_name(s, suppl->modules->paths.v[i]));
    for (size_t t = 0; suppl->fs_types && suppl->fs_types[t]; t++)
        for (size_t i = 0; i < suppl->fs_modules[t].paths.n; i++) {
            const char *path = suppl->fs_modules[t].paths.v[i];

            if (!suppl->modules || !strv_contains(&suppl->modules->paths, path)) /* those are always loaded */
                pv_buf_addf(&b, "fsmodule %s %s\n", suppl->fs_types[t], modset_name(s, path));
        }
    if (conf_line(&b, "rootfs", suppl->rootfs_device, err) < 0 ||
        conf_line(&b, suppl->share_writable ? "sharerw" : "share", suppl->share, err) < 0 ||
        conf_line(&b, "sharetype", suppl->share_type, err) < 0 ||
        conf_line(&b, "workshare", suppl->work_share, err) < 0 ||
        conf_line(&b, "idle", suppl->idle ? "idle" : NULL, err) < 0 ||
        conf_line(&b, "root", suppl->root, err) < 0 ||
        conf_line(&b, "rootflags", suppl->rootflags, err) < 0 ||
        conf_line(&b, "initfallback", suppl->init_fallback, err) < 0 ||
        conf_line(&b, "switchroot", suppl->switch_root, err) < 0 ||
        conf_line(&b, "serial", suppl->serial, err) < 0 ||
        conf_line(&b, "userland", suppl->hostname, err) < 0 || conf_line(&b, "sums", "sums", err) < 0)
        return -1;
    return pv_newc_bytes(w, PV_BOOT_CONF, 0644, b.data, b.len, err);
}

/* ---- the archive ---- */

/*
 * /dev/console, from which the kernel opens init's descriptors, for kernels without it in their built-in
 * archive.  Not if there is a profile's archive: an entry "/dev" could replace the one there.
 */
static int put_console(struct pv_newc *w, struct pv_err *err)
{
    if (pv_newc_dir(w, "/dev", 0755, 0, err) < 0)
        return -1;
    return pv_newc_chardev(w, "/dev/console", 0600, 5, 1, err);
}

/*
 * The injected files are an archive of their own, written apart: the list of all digests comes in front of it, so that
 * what does not fit into the guest's memory is the files and not the list.
 */
static int put_files(struct pv_newc *w, int out, const struct pv_suppl *suppl, struct pv_err *err)
{
    pv_newc_init(w, out);
    if (pv_newc_dir(w, PV_BOOT_FILES, 0755, 0, err) < 0 ||
        pv_suppl_put_files(w, suppl->files, suppl->n_files, err) < 0)
        return -1;
    return pv_newc_finish(w, err);
}

static int put_all(struct pv_newc *w, const struct pv_suppl *suppl, const struct modset *s,
                   const struct pv_newc *files, struct pv_err *err)
{
    size_t size = (size_t)(pv_agent_binary_end - pv_agent_binary);

    if (!suppl->initrd && put_console(w, err) < 0)
        return -1;
    if (pv_newc_bytes(w, PV_GUEST_INIT_PATH, 0755, pv_agent_binary, size, err) < 0 ||
        pv_newc_dir(w, PV_BOOT_DIR, 0755, 0, err) < 0 || put_conf(w, suppl, s, err) < 0 ||
        put_modules(w, s, err) < 0 || pv_newc_sums(w, files, err) < 0)
        return -1;
    return pv_newc_finish(w, err);
}

static int make_memory(struct pv_err *err)
{
    int fd = memfd_create("provium-initramfs", MFD_CLOEXEC);

    return fd < 0 ? pv_err_sys(err, errno, "cannot make memory for the initramfs") : fd;
}

static int put_initrd(const char *path, int out, struct pv_err *err)
{
    cleanup_close int in = pv_initrd_open(path, err);

    return in < 0 ? -1 : pv_initrd_copy(path, in, out, err);
}

int pv_suppl_build(const struct pv_suppl *suppl, int *memfd, uint64_t *injected, struct pv_err *err)
{
    __attribute__((cleanup(modset_fini))) struct modset s = {0};
    cleanup_newc struct pv_newc w = {0}, files = {0};
    cleanup_close int fd = make_memory(err), files_fd = -1;

    if (fd < 0 || collect_modules(suppl, &s, err) < 0 ||
        (suppl->initrd && put_initrd(suppl->initrd, fd, err) < 0))
        return -1;
    if (suppl->n_files && ((files_fd = make_memory(err)) < 0 || put_files(&files, files_fd, suppl, err) < 0))
        return -1;
    pv_newc_init(&w, fd);
    if (put_all(&w, suppl, &s, files_fd < 0 ? NULL : &files, err) < 0)
        return -1;
    if (files_fd >= 0 && pv_initrd_copy("injected files", files_fd, fd, err) < 0)
        return -1;
    if (injected)
        *injected = files_fd < 0 ? 0 : (uint64_t)lseek(files_fd, 0, SEEK_END);
    if (lseek(fd, 0, SEEK_SET) < 0)
        return pv_err_sys(err, errno, "cannot rewind the initramfs");
    *memfd = pv_steal_fd(&fd);
    return 0;
}
