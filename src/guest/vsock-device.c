/* SPDX-License-Identifier: MIT */
/*
 * None can be saved with the machine, so one of ours is hotplugged while the machine runs.  When boot or
 * resume of a VM with the option `vsock` returns, the device is there and its driver is up.
 */
#include "guest/vsock-device.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/agent.h"
#include "guest/guest-state.h"
#include "guest/guest.h"
#include "guest/instance.h"
#include "util/clock.h"
#include "util/log.h"
#include "vhost/vhost.h"
#include "vm/hotplug.h"

/* A hundred times the usual time; no longer, because a guest without the driver is silent. */
#define DRIVER_LIMIT (10 * PV_NSEC_PER_SEC)
#define ASK_LIMIT (2 * PV_NSEC_PER_SEC)

/* Vendor and device as in /proc/bus/pci/devices. */
#define PCI_ID "1af41053"

int pv_guest_attach_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    struct pv_instance *i = g->instance;
    struct pv_vsock_device *d = pv_vsock_device_new(g->env->host.loop, pv_instance_vsock_cid(i), err);

    if (!d)
        return pv_err_wrap(err, "cannot give %s a vsock device", g->name);
    pv_instance_set_vsock(i, d);
    if (pv_vm_hotplug_vsock(pv_instance_vm(i), d->qemu_fd, deadline, err) < 0) {
        pv_instance_set_vsock(i, NULL);
        return pv_err_wrap(err, "cannot give %s a vsock device", g->name);
    }
    pv_close(&d->qemu_fd);
    return 0;
}

int pv_guest_detach_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    if (!pv_instance_vsock(g->instance))
        return 0;
    if (pv_vm_unplug_vsock(pv_instance_vm(g->instance), deadline, err) < 0) {
        if (err && err->cls == PV_E_TIMEOUT)
            pv_guest_add_console(g, err);
        return -1;
    }
    pv_instance_set_vsock(g->instance, NULL);
    return 0;
}

/* ---- until the guest's driver is up ---- */

/* True when AF_VSOCK sockets can be made in the guest, and when it does not reply. */
static bool has_vsock_family(struct pv_guest *g)
{
    struct pv_syscall c = {.nr = SYS_socket, .args = {AF_VSOCK, SOCK_STREAM}, .timeout_ns = ASK_LIMIT};
    struct pv_sysret r = {0};
    bool has = pv_agent_syscall(pv_guest_agent(g), &c, &r, NULL) < 0 || r.value >= 0;

    pv_sysret_fini(&r);
    return has;
}

/* A text that names the missing feature of the guest. */
static const char *missing_for_vsock(struct pv_guest *g)
{
    cleanup_buf struct pv_buf devices = {0};

    if (!has_vsock_family(g))
        return "its kernel has no AF_VSOCK (CONFIG_VSOCKETS; module vsock; Linux before 5.5 has it only with "
               "a driver: CONFIG_VIRTIO_VSOCKETS; module vmw_vsock_virtio_transport)";
    if (pv_agent_mount_vfs(pv_guest_agent(g), ASK_LIMIT, NULL) < 0 ||
        pv_agent_read_file(pv_guest_agent(g), "/proc/bus/pci/devices", ASK_LIMIT, &devices, NULL) < 0)
        return "it can not be asked why";
    if (!devices.data || !strstr(devices.data, PCI_ID))
        return "its kernel did not see a PCI device that was plugged in while it ran "
               "(CONFIG_HOTPLUG_PCI_ACPI)";
    return "its kernel has no driver for it (CONFIG_VIRTIO_VSOCKETS; module vmw_vsock_virtio_transport)";
}

static bool driver_is_settled(void *arg)
{
    const struct pv_vsock_device *d = arg;

    return d->error || pv_vsock_device_ready(d);
}

int pv_guest_await_vsock(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    int64_t limit = pv_deadline(DRIVER_LIMIT), start = pv_now();
    struct pv_vsock_device *d = pv_instance_vsock(g->instance);
    int r;

    if (!d)
        return 0;
    r = pv_guest_wait(g, driver_is_settled, d, limit < deadline ? limit : deadline, err);
    if (r < 0)
        return -1;
    if (r == 0 && !d->error) {
        pv_debug(g->name, "vsock driver up after %.1f ms, CID %u", (double)(pv_now() - start) / 1e6, d->cid);
        return 0;
    }
    if (d->error)
        pv_err_set(err, PV_E_PROTOCOL, "the vsock device of %s broke: %s", g->name, d->error_text);
    else
        pv_err_set(err, PV_E_TIMEOUT,
                   "%s was given a vsock device (vsock = true) and did not take it into use in time: %s",
                   g->name, missing_for_vsock(g));
    pv_guest_add_console(g, err);
    return -1;
}
