/* SPDX-License-Identifier: MIT */
/* Finding a disk's device in the guest, by the serial number that sysfs shows. */
#include <stdio.h>
#include <string.h>

#include "guest/agent.h"
#include "guest/disks.h"
#include "guest/file-op.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#define DEVICE_LIMIT (30 * PV_NSEC_PER_SEC)
#define RETRIES_LIMIT (5 * PV_NSEC_PER_SEC)
#define DEVICE_PAUSE (50 * PV_NSEC_PER_MSEC)

/* Page 0x80 has four bytes in front of the number; NVMe pads it with blanks. */
static bool serial_is(const char *data, size_t n, size_t skip, const char *name)
{
    if (n < skip)
        return false;
    data += skip, n -= skip;
    while (n && (data[n - 1] == ' ' || data[n - 1] == '\n' || data[n - 1] == '\0'))
        n--;
    return n == strlen(name) && !memcmp(data, name, n);
}

static bool device_has_serial(struct pv_guest *g, const char *device, const char *name, int64_t timeout)
{
    static const struct {
        const char *leaf;
        size_t skip;
    } files[] = {{"serial", 0}, {"device/serial", 0}, {"device/vpd_pg80", 4}};

    for (size_t i = 0; i < PV_ARRAY_LEN(files); i++) {
        cleanup_free char *path = pv_xasprintf("/sys/block/%s/%s", device, files[i].leaf);
        cleanup_buf struct pv_buf data = {0};

        if (pv_agent_read_file(&g->agent, path, timeout, &data, NULL) == 0)
            return serial_is(data.data, data.len, files[i].skip, name);
    }
    return false;
}

static bool is_disk(const char *name)
{
    return !strncmp(name, "vd", 2) || !strncmp(name, "sd", 2) || !strncmp(name, "nvme", 4);
}

/* 1: *path is the device; 0: it is not there. */
static int device_look(struct pv_guest *g, const char *name, int64_t timeout, char **path, struct pv_err *err)
{
    struct pv_file_names names = {0};
    int r = pv_agent_list(&g->agent, "/sys/block", timeout, &names, err);

    for (size_t i = 0; r == 0 && i < names.n; i++) {
        struct pv_file_stat st;

        if (!is_disk(names.v[i]) || strchr(names.v[i], '/') ||
            !device_has_serial(g, names.v[i], name, timeout))
            continue;
        *path = pv_xasprintf("/dev/%s", names.v[i]);
        r = pv_agent_stat(&g->agent, *path, true, timeout, &st, NULL) == 1 ? 1 : 0;
        if (r == 0)
            free(pv_steal(path));
        break;
    }
    pv_file_names_fini(&names);
    return r;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

char *pv_guest_disk_device(struct pv_guest *g, const char *name, int64_t timeout_ns, struct pv_err *err)
{
    int64_t deadline = pv_guest_deadline(g, timeout_ns ? timeout_ns : DEVICE_LIMIT);
    char *path = NULL;

    if (pv_guest_disk_check_name(g, name, err) < 0 || pv_guest_check_running(g, "look for a disk", err) < 0 ||
        pv_agent_mount_vfs(&g->agent, timeout_ns, err) < 0)
        return NULL;
    for (;;) {
        int64_t left = deadline - pv_now(), pause = pv_deadline(DEVICE_PAUSE);
        int r = left > 0 ? device_look(g, name, left, &path, err) : 0;

        if (r)
            return r > 0 ? path : NULL;
        if (left <= 0)
            break;
        if (pv_guest_wait(g, never, NULL, pause < deadline ? pause : deadline, err) < 0)
            return NULL;
    }
    pv_err_set(
        err, PV_E_TIMEOUT,
        "%s has no device for disk '%s' in /sys/block: does its kernel have the driver (virtio_blk, nvme, "
        "or virtio_scsi and sd_mod)?",
        g->name, name);
    pv_guest_add_console(g, err);
    return NULL;
}

/* ---- retries ---- */

/* SCSI's driver tries a failed request five more times: a rule with times = 1 would show nothing. */
static void scsi_retries_off(struct pv_guest *g, const char *name, int64_t timeout)
{
    cleanup_free char *device = pv_guest_disk_device(g, name, timeout, NULL), *dir = NULL;
    struct pv_file_names names = {0};

    if (!device)
        return;
    dir = pv_xasprintf("/sys/block/%s/device/scsi_disk", device + strlen("/dev/"));
    if (pv_agent_list(&g->agent, dir, timeout, &names, NULL) == 0)
        for (size_t i = 0; i < names.n; i++) {
            cleanup_free char *path = pv_xasprintf("%s/%s/max_retries", dir, names.v[i]);

            pv_agent_write_file(&g->agent, path, "0\n", 2, 0644, 0, timeout, NULL);
        }
    pv_file_names_fini(&names);
}

void pv_guest_disk_retries_off(struct pv_guest *g, const char *name, enum pv_vm_bus bus)
{
    static const char path[] = "/sys/module/nvme_core/parameters/max_retries";

    if (bus == PV_VM_BUS_SCSI)
        scsi_retries_off(g, name, RETRIES_LIMIT);
    else if (bus == PV_VM_BUS_NVME && pv_agent_mount_vfs(&g->agent, RETRIES_LIMIT, NULL) == 0)
        pv_agent_write_file(&g->agent, path, "0\n", 2, 0644, 0, RETRIES_LIMIT, NULL);
}
