/* SPDX-License-Identifier: MIT */
#include "cli/kernel.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/kernel-package.h"
#include "image/kconfig.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/parse.h"
#include "util/path.h"

enum { KERNELS_MAX = 100 };

void pv_hand_kernel_fini(struct hand_kernel *k)
{
    free(k->image);
    free(k->modules);
    free(k->config);
    *k = (struct hand_kernel){0};
}

bool pv_hand_is_kind(const char *path, mode_t kind)
{
    struct stat st;

    return stat(path, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

char *pv_hand_path_if(char *path, mode_t kind)
{
    if (pv_hand_is_kind(path, kind))
        return path;
    free(path);
    return NULL;
}

/* ---- directories ---- */

char *pv_hand_image_versioned(const char *dir)
{
    struct dirent **list;
    char *found = NULL;
    int n = scandir(dir, &list, NULL, versionsort);

    for (int i = n - 1; i >= 0; i--) {
        if (!found && !strncmp(list[i]->d_name, "vmlinuz-", 8))
            found = pv_hand_path_if(pv_path_join(dir, list[i]->d_name), S_IFREG);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return found;
}

/* A build tree: its modules are used where they lie, if they were built. */
static bool kernel_of_tree(const char *dir, struct hand_kernel *k)
{
    k->image = pv_hand_path_if(pv_xasprintf("%s/arch/x86/boot/bzImage", dir), S_IFREG);
    if (!k->image)
        return false;
    k->config = pv_hand_path_if(pv_xasprintf("%s/.config", dir), S_IFREG);
    cleanup_free char *order = pv_hand_path_if(pv_xasprintf("%s/modules.order", dir), S_IFREG);

    if (order)
        k->modules = pv_xstrdup(dir);
    return true;
}

static int kernel_of_dir(const char *dir, struct hand_kernel *k, struct pv_err *err)
{
    cleanup_free char *boot = pv_xasprintf("%s/boot", dir);
    cleanup_free char *source = pv_hand_path_if(pv_xasprintf("%s/Kbuild", dir), S_IFREG);

    if (kernel_of_tree(dir, k))
        return 0;
    k->image = pv_hand_path_if(pv_xasprintf("%s/vmlinuz", dir), S_IFREG);
    if (!k->image)
        k->image = pv_hand_image_versioned(dir);
    if (!k->image)
        k->image = pv_hand_image_versioned(boot);
    if (k->image) {
        k->config = pv_kconfig_find(k->image, NULL);
        return 0;
    }
    if (source) /* that was not built: the likeliest mistake */
        return pv_err_set(err, PV_E_USAGE,
                          "--kernel '%s' is a kernel's source without arch/x86/boot/bzImage: build it with "
                          "`make bzImage modules`",
                          dir);
    return pv_err_set(err, PV_E_USAGE,
                      "--kernel '%s': the directory has no arch/x86/boot/bzImage (a build tree), vmlinuz, "
                      "vmlinuz-VERSION or boot/vmlinuz-VERSION",
                      dir);
}

/* ---- versions ---- */

static int kernel_unknown(const char *spec, struct pv_err *err)
{
    struct dirent **list;
    const char *names[KERNELS_MAX + 1] = {NULL}, *near;
    size_t n_names = 0;
    int n = scandir("/boot", &list, NULL, versionsort);

    for (int i = n - 1; i >= 0; i--)
        if (!strncmp(list[i]->d_name, "vmlinuz-", 8) && n_names < KERNELS_MAX)
            names[n_names++] = list[i]->d_name + 8;
    near = pv_nearest(spec, names);
    pv_err_set(err, PV_E_USAGE,
               "--kernel '%.200s' is no file, no directory and no version of a kernel in /boot", spec);
    if (near)
        pv_err_append(err, " (did you mean '%s'?)", near);
    pv_err_append(err, n_names ? "; /boot has:" : "; /boot has none");
    for (size_t i = 0; i < n_names; i++)
        pv_err_append(err, " %s", names[i]);
    for (int i = 0; i < n; i++)
        free(list[i]);
    if (n >= 0)
        free(list);
    return -1;
}

int pv_hand_kernel(const char *spec, struct hand_kernel *k, struct pv_err *err)
{
    cleanup_free char *real = pv_realpath(spec);
    size_t n = strlen(spec);

    *k = (struct hand_kernel){0};
    if (real && pv_hand_is_kind(real, S_IFDIR))
        return kernel_of_dir(real, k, err);
    if (real && n > 4 && !strcmp(spec + n - 4, ".deb"))
        return pv_hand_kernel_of_package(real, k, err);
    if (real) {
        k->image = pv_steal(&real);
        k->config = pv_kconfig_find(k->image, NULL);
        return 0;
    }
    if (!strchr(spec, '/'))
        k->image = pv_hand_path_if(pv_xasprintf("/boot/vmlinuz-%s", spec), S_IFREG);
    if (!k->image && pv_hand_debian_version(spec))
        return pv_hand_kernel_of_debian(spec, k, err);
    if (!k->image)
        return kernel_unknown(spec, err);
    k->config = pv_kconfig_find(k->image, NULL);
    return 0;
}

int pv_hand_kernel_check(const struct hand_kernel *k, bool disk, struct pv_err *err)
{
    return k->config ? pv_kconfig_check(k->config,
                                        PV_KNEED_SERIAL | PV_KNEED_VSOCK | (disk ? PV_KNEED_ROOT : 0), err)
                     : 0;
}
