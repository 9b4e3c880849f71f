/* SPDX-License-Identifier: MIT */
/*
 * A vsock device for the guest's own use in a machine that can be saved: one of ours, plugged in while the
 * machine runs, because none can be saved with it.  Who is handed a VM with the option `vsock` finds the
 * device there and its driver up, whether the VM was booted or resumed.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/internal.h"
#include "guest/machine.h"
#include "util/clock.h"
#include "util/log.h"
#include "vhost/vhost.h"
#include "vm/hotplug.h"

/* A hundred times what it takes; no longer, because a guest that lacks something is silent. */
#define DRIVER_LIMIT (10 * PV_NSEC_PER_SEC)
#define ASK_LIMIT (2 * PV_NSEC_PER_SEC)

/* Vendor and device as in /proc/bus/pci/devices. */
#define PCI_ID "1af41053"

unsigned pv_guest_random_cid(void)
{
    unsigned cid = 0;

    /* The number is seen by this guest alone; a random one keeps tests from relying on it. */
    if (getrandom(&cid, sizeof(cid), 0) != sizeof(cid))
        cid = (unsigned)getpid();
    return 0x1000 + cid % 0x3fffffff;
}

static void let_go(struct pv_guest *g)
{
    if (g->own_vsock)
        pv_vsock_device_free(g->own_vsock);
    g->own_vsock = NULL;
}

int pv_guest_plug(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    if (!g->own_cid)
        g->own_cid = pv_guest_random_cid();
    g->own_vsock = pv_vsock_device_new(g->env->host.loop, g->own_cid, err);
    if (g->own_vsock && pv_vm_hotplug_vsock(g->vm, g->own_vsock->qemu_fd, deadline, err) == 0) {
        pv_close(&g->own_vsock->qemu_fd);
        return 0;
    }
    let_go(g);
    return pv_err_wrap(err, "cannot give %s a vsock device", g->name);
}

int pv_guest_unplug(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    if (!g->own_vsock)
        return 0;
    if (pv_vm_unplug_vsock(g->vm, deadline, err) < 0) {
        if (err && err->cls == PV_E_TIMEOUT)
            pv_guest_add_console(g, err);
        return -1;
    }
    let_go(g);
    return 0;
}

/* ---- until the guest's driver is up ---- */

/* AF_VSOCK sockets can be made there. Of a guest that does not answer: true. */
static bool has_family(struct pv_guest *g)
{
    struct pv_syscall c = {.nr = SYS_socket, .args = {AF_VSOCK, SOCK_STREAM}, .timeout_ns = ASK_LIMIT};
    struct pv_sysret r = {0};
    bool has = pv_agent_syscall(&g->agent, &c, &r, NULL) < 0 || r.value >= 0;

    pv_sysret_fini(&r);
    return has;
}

/* What the guest lacks, as far as it can be told. */
static const char *what_is_missing(struct pv_guest *g)
{
    cleanup_buf struct pv_buf devices = {0};

    if (!has_family(g))
        return "its kernel has no AF_VSOCK (CONFIG_VSOCKETS; module vsock)";
    if (pv_agent_mount_vfs(&g->agent, ASK_LIMIT, NULL) < 0 ||
        pv_agent_read_file(&g->agent, "/proc/bus/pci/devices", ASK_LIMIT, &devices, NULL) < 0)
        return "it can not be asked why";
    if (!devices.data || !strstr(devices.data, PCI_ID))
        return "its kernel did not see a PCI device that was plugged in while it ran "
               "(CONFIG_HOTPLUG_PCI_ACPI)";
    return "its kernel has no driver for it (CONFIG_VIRTIO_VSOCKETS; module vmw_vsock_virtio_transport)";
}

static bool driver_settled(void *arg)
{
    struct pv_guest *g = arg;

    return g->own_vsock->error || pv_vsock_device_ready(g->own_vsock);
}

int pv_guest_plug_wait(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    int64_t limit = pv_deadline(DRIVER_LIMIT), start = pv_now();
    const char *missing;
    int r;

    if (!g->own_vsock)
        return 0;
    r = pv_guest_wait(g, driver_settled, g, limit < deadline ? limit : deadline, err);
    if (r < 0)
        return -1;
    if (g->own_vsock->error)
        pv_err_set(err, PV_E_PROTOCOL, "the vsock device of %s broke: %s", g->name, g->own_vsock->error_text);
    if (r == 0 && !g->own_vsock->error) {
        pv_debug(g->name, "vsock driver up after %.1f ms, CID %u", (double)(pv_now() - start) / 1e6,
                 g->own_cid);
        return 0;
    }
    if (r > 0) {
        missing = what_is_missing(g);
        pv_err_set(err, PV_E_TIMEOUT,
                   "%s was given a vsock device (vsock = true) and did not take it into use in time: %s",
                   g->name, missing);
    }
    pv_guest_add_console(g, err);
    return -1;
}

void pv_guest_plug_end(struct pv_guest *g)
{
    let_go(g);
    g->own_cid = 0;
}

void pv_guest_plug_move(struct pv_guest *from, struct pv_guest *to)
{
    to->own_vsock = from->own_vsock;
    to->own_cid = from->own_cid;
    from->own_vsock = NULL;
    from->own_cid = 0;
}
