/* SPDX-License-Identifier: MIT */
#include "cli/hand-net.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "guest/agent.h"
#include "guest/file-op.h"
#include "guest/guest.h"
#include "guest/nic-driver.h"
#include "testfile/nets.h"
#include "testfile/netuplink.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"

#define RESOLV "/etc/resolv.conf"
#define LIMIT (30 * PV_NSEC_PER_SEC)

int pv_hand_net_check(const struct pv_profile *p, struct pv_err *err)
{
    if (p->machine && strncmp(p->machine, "q35", 3) != 0 && strncmp(p->machine, "pc-q35", 6) != 0)
        return pv_err_set(err, PV_E_USAGE, "--net needs a q35 machine; profile '%s' has machine = \"%s\"",
                          p->name, p->machine);
    return pv_guest_check_nic_driver(p, err) < 0 ? pv_err_wrap(err, "--net") : 0;
}

/* Renamed into its place: the old one may be a link into a directory that systemd-resolved would make. */
static int resolv_write(struct pv_guest *g, const struct pv_ip *dns, struct pv_err *err)
{
    static const struct pv_file_op mkdir = {
        .op = PV_FILE_MKDIR, .name = "mkdir", .path = "/etc", .a = 0755, .b = 1};
    static const struct pv_file_op rename = {
        .op = PV_FILE_RENAME, .name = "rename", .path = RESOLV ".provium", .other = RESOLV};
    struct pv_agent *a = pv_guest_agent(g);
    char ip[PV_IP_TEXT];
    cleanup_free char *text = pv_xasprintf("nameserver %s\n", pv_ip_text(dns, ip));

    return pv_agent_file_op(a, &mkdir, LIMIT, err) < 0 ||
                   pv_agent_write_file(a, rename.path, text, strlen(text), 0644, 0, LIMIT, err) < 0 ||
                   pv_agent_file_op(a, &rename, LIMIT, err) < 0
               ? -1
               : 0;
}

/* Without a network or a nameserver the host has nothing to share. */
static void host_tell(void)
{
    if (!pv_host_has_network())
        fprintf(stderr, "provium: --net: the host has no network, so the VM reaches nothing\n");
    else if (!pv_host_has_nameserver())
        fprintf(stderr, "provium: --net: the host's " RESOLV " names no IPv4 nameserver: the VM resolves no "
                        "names\n");
}

int pv_hand_net(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err)
{
    struct tf_net *net = pv_tf_net_new(tf, "net", NULL, 0, TF_NET_MTU, err);
    struct tf_uplink *up = net ? pv_tf_uplink_new(net, &(struct tf_uplink_opts){.n = 0}, err) : NULL;
    struct pv_guest_nic nic = {.mtu = 0};

    if (!up || !pv_tf_net_add(net, g, &(struct tf_net_want){.ip = NULL}, &nic, err) ||
        pv_guest_plug(g, &nic, 0, err) < 0 || resolv_write(g, &up->dns, err) < 0)
        return pv_err_wrap(err, "--net");
    host_tell();
    return 0;
}
