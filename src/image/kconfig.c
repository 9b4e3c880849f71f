/* SPDX-License-Identifier: MIT */
#include "image/kconfig.h"

#include <string.h>
#include <sys/stat.h>

#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

enum { CONFIG_MAX = 4 << 20 };

#define NO_9P \
    "the root is a directory of the host, by 9p (by virtiofs: CONFIG_VIRTIO_FS); linux-image-amd64 has both"

static const struct {
    const char *option, *why;
    unsigned need; /* 0: each guest */
} needed[] = {
    {"CONFIG_64BIT", "provium's guests are x86-64", 0},
    {"CONFIG_BLK_DEV_INITRD", "guest init and its modules come in an initramfs", 0},
    {"CONFIG_BINFMT_ELF", "guest init is an ELF program", 0},
    {"CONFIG_PROC_FS", "guest init reads the kernel's command line there", 0},
    {"CONFIG_PCI", "all devices of the VM are on PCI", 0},
    {"CONFIG_VIRTIO_PCI", "all devices of the VM are virtio ones on PCI", 0},
    {"CONFIG_SERIAL_8250_CONSOLE", "the console is a serial port", 0},
    {"CONFIG_DEVTMPFS", "the root image is found in it", PV_KNEED_ROOT},
    {"CONFIG_VIRTIO_BLK", "the root image is a virtio disk", PV_KNEED_ROOT},
    {"CONFIG_OVERLAY_FS", "writes to the root image go to an overlay in RAM", PV_KNEED_ROOT},
    {"CONFIG_NET_9P_VIRTIO", NO_9P, PV_KNEED_9P},
    {"CONFIG_9P_FS", NO_9P, PV_KNEED_9P},
    {"CONFIG_VIRTIO_FS", "the root is a directory of the host, by virtiofs", PV_KNEED_VIRTIOFS},
    {"CONFIG_OVERLAY_FS", "writes to the host's directory go to an overlay in RAM", PV_KNEED_SHARE},
    {"CONFIG_VIRTIO_NET", "the VM has a NIC", PV_KNEED_NIC},
};

static bool config_has(const char *text, const char *option)
{
    size_t n = strlen(option);

    for (const char *at = text; (at = strstr(at, option)); at += n)
        if ((at == text || at[-1] == '\n') && at[n] == '=' && (at[n + 1] == 'y' || at[n + 1] == 'm'))
            return true;
    return false;
}

/* Takes path: returns it when it is a file, else frees it. */
static char *file_or_free(char *path)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return path;
    free(path);
    return NULL;
}

/* A configuration that was changed after the build is not the kernel's. */
static char *built_config(const char *kernel, const char *dir, const char *up)
{
    char *path = file_or_free(pv_xasprintf("%s/%s.config", dir, up));
    struct stat config, image;

    if (path && stat(path, &config) == 0 && stat(kernel, &image) == 0 && config.st_mtime <= image.st_mtime)
        return path;
    free(path);
    return NULL;
}

char *pv_kconfig_find(const char *kernel, const char *tree)
{
    static const char prefix[] = "vmlinuz-";
    const char *name = pv_path_basename(kernel);
    cleanup_free char *dir = pv_path_dirname(kernel);
    char *path = NULL;

    if (!strncmp(name, prefix, sizeof(prefix) - 1))
        path = file_or_free(pv_xasprintf("%s/config-%s", dir, name + sizeof(prefix) - 1));
    if (!path && tree)
        path = file_or_free(pv_xasprintf("%s/config", tree));
    if (!path)
        path = built_config(kernel, dir, "../../../");
    return path ? path : built_config(kernel, dir, "");
}

int pv_kconfig_has(const char *config, const char *option)
{
    cleanup_buf struct pv_buf text = {0};

    if (pv_read_file(config, CONFIG_MAX, &text, NULL) < 0 || !text.len)
        return -1;
    return config_has(text.data, option);
}

static void add_lack(struct pv_err *err, const char *config, bool *said, const char *option, const char *why)
{
    if (!*said)
        pv_err_set(err, PV_E_USAGE, "this kernel cannot run here, its configuration (%s) lacks:", config);
    *said = true;
    pv_err_append(err, "\n  %s: %s", option, why);
}

int pv_kconfig_check(const char *config, unsigned needs, struct pv_err *err)
{
    cleanup_buf struct pv_buf text = {0};
    bool said = false, vsock, serial;

    if (pv_read_file(config, CONFIG_MAX, &text, err) < 0)
        return -1;
    if (!text.len)
        return 0;
    for (size_t i = 0; i < PV_ARRAY_LEN(needed); i++)
        if ((!needed[i].need || needs & needed[i].need) && !config_has(text.data, needed[i].option))
            add_lack(err, config, &said, needed[i].option, needed[i].why);
    vsock = needs & PV_KNEED_VSOCK && config_has(text.data, "CONFIG_VIRTIO_VSOCKETS");
    serial = needs & PV_KNEED_SERIAL && config_has(text.data, "CONFIG_VIRTIO_CONSOLE");
    if (!vsock && !serial && needs & (PV_KNEED_VSOCK | PV_KNEED_SERIAL))
        add_lack(
            err, config, &said,
            !(needs & PV_KNEED_SERIAL)  ? "CONFIG_VIRTIO_VSOCKETS"
            : !(needs & PV_KNEED_VSOCK) ? "CONFIG_VIRTIO_CONSOLE"
                                        : "CONFIG_VIRTIO_VSOCKETS and CONFIG_VIRTIO_CONSOLE",
            !(needs & PV_KNEED_SERIAL)  ? "the agent reaches the host by it (or with transport = \"serial\")"
            : !(needs & PV_KNEED_VSOCK) ? "the agent reaches the host by it (or with transport = \"vsock\")"
                                        : "the agent needs one of them to reach the host");
    return said ? -1 : 0;
}
