/* SPDX-License-Identifier: MIT */
/* NICs of the default guest on a hub that the test plays: frames of each wire go to all others. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest/life.h"
#include "guest/nic.h"
#include "guest/vm-test.h"

enum { WIRES = 4, FRAME_MAX = 2048 };

struct wire {
    struct pv_nic_wire wire;
    struct pv_watch watch;
    int fd; /* -1: no QEMU */
    unsigned attached, frames;
};
static struct wire wires[WIRES];

static void wire_read(struct pv_watch *watch, uint32_t events)
{
    struct wire *w = PV_CONTAINER_OF(watch, struct wire, watch);
    char frame[FRAME_MAX];
    ssize_t n;

    (void)events;
    while ((n = recv(w->fd, frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
        w->frames++;
        for (int i = 0; i < WIRES; i++)
            if (&wires[i] != w && wires[i].fd >= 0)
                send(wires[i].fd, frame, (size_t)n, MSG_DONTWAIT);
    }
}

static void wire_attach(struct pv_nic_wire *wire, int fd)
{
    struct wire *w = PV_CONTAINER_OF(wire, struct wire, wire);
    struct pv_err err = PV_ERR_INIT;

    if (w->fd >= 0) {
        pv_loop_del(env.host.loop, &w->watch);
        pv_close(&w->fd);
    }
    w->fd = fd;
    w->attached += fd >= 0;
    w->watch.fn = wire_read;
    if (fd >= 0)
        assert_no_err(pv_loop_add(env.host.loop, &w->watch, fd, EPOLLIN, &err), &err);
}

static struct pv_guest_nic nic_of(unsigned i)
{
    struct pv_guest_nic nic = {.hw = {.mac = {0x52, 0x54, 0, 0, 0, (uint8_t)(i + 1)}, .mtu = 1500},
                               .wire = &wires[i].wire,
                               .ip = {10, 7, 0, (uint8_t)(i + 1)},
                               .n_ip = 4,
                               .prefix = 24};

    return nic;
}

static struct pv_guest *boot_guest(const struct pv_guest_nic *nic)
{
    struct pv_boot_opts o = {
        .transport = PV_TRANSPORT_SERIAL, .nics = (struct pv_guest_nic *)nic, .n_nics = nic != NULL};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = new_guest();

    assert_no_err(pv_guest_boot(g, &o, &err), &err);
    return g;
}

static void nic_is_set_up(struct pv_guest *g, const char *name, unsigned i)
{
    char cmd[256];

    snprintf(cmd, sizeof(cmd),
             "ip addr show dev %s | grep -q 52:54:00:00:00:%02x && ip addr show dev %s | "
             "grep -q 10.7.0.%u/24",
             name, i + 1, name, i + 1);
    sh(g, cmd);
}

/* Booted, plugged in, over a reset; carrier; unplugged. */
static void nics_come_and_go(void **state)
{
    struct pv_guest_nic first = nic_of(0), second = nic_of(1);
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *a, *b;

    (void)state;
    snprintf(first.name, sizeof(first.name), "lan0");
    first.mtu = 1400;
    a = boot_guest(&first);
    nic_is_set_up(a, "lan0", 0);
    assert_string_equal(sh(a, "cat /sys/class/net/lan0/mtu"), "1400");
    b = boot_guest(NULL);
    assert_no_err(pv_guest_plug(b, &second, 0, &err), &err);
    nic_is_set_up(b, "eth0", 1);
    sh(b, "ping -c 1 -W 20 10.7.0.1");
    assert_no_err(pv_guest_set_carrier(a, 0, false, &err), &err);
    assert_string_equal(sh(a, "sleep 0.2; cat /sys/class/net/lan0/carrier"), "0");
    assert_no_err(pv_guest_reset(a, 0, &err), &err);
    nic_is_set_up(a, "lan0", 0);
    assert_string_equal(sh(a, "cat /sys/class/net/lan0/carrier"), "0");
    assert_no_err(pv_guest_set_carrier(a, 0, true, &err), &err);
    sh(b, "ping -c 1 -W 20 10.7.0.1");
    assert_int_equal(wires[0].attached, 1);
    assert_no_err(pv_guest_unplug(b, 0, 0, &err), &err);
    assert_int_equal(wires[1].fd, -1);
    sh(b, "test ! -e /sys/class/net/eth0");
    assert_no_err(pv_guest_plug(b, &second, 0, &err), &err);
    sh(a, "ping -c 1 -W 20 10.7.0.2");
    pv_guest_free(a);
    assert_int_equal(wires[0].fd, -1);
    pv_guest_free(b);
}

/* A restore is the same machine on the network, a clone another one. */
static void nics_of_saved_guests(void **state)
{
    struct pv_guest_nic first = nic_of(0), second = nic_of(1), clones[PV_VM_NICS_MAX] = {nic_of(2)};
    struct pv_resume_opts o = {.nics = clones};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *a = boot_guest(&first), *b = boot_guest(&second), *c;
    struct pv_snapshot *s = pv_guest_snapshot(b, 0, &err);

    (void)state;
    assert_no_err(s ? 0 : -1, &err);
    sh(b, "ping -c 1 -W 20 10.7.0.1");
    c = pv_guest_resume(&env, s, &o, &err);
    assert_no_err(c ? 0 : -1, &err);
    nic_is_set_up(c, "eth0", 2);
    sh(c, "! ip addr show dev eth0 | grep -q 10.7.0.2/");
    /* The kernel makes its link-local address when it has noticed the carrier. */
    sh(c, "for i in $(seq 100); do ip addr show dev eth0 | grep -q 'inet6 fe80::5054:ff:fe00:3/' && exit 0; "
          "sleep "
          "0.2; done; ip addr; exit 1");
    sh(c, "ping -c 1 -W 20 10.7.0.1 && ping -c 1 -W 20 10.7.0.2");
    assert_no_err(pv_guest_reset(c, 0, &err), &err);
    nic_is_set_up(c, "eth0", 2);
    sh(c, "ping -c 1 -W 20 10.7.0.2");
    assert_no_err(pv_guest_restore(b, s, NULL, &err), &err);
    nic_is_set_up(b, "eth0", 1);
    sh(b, "ping -c 1 -W 20 10.7.0.1 && ping -c 1 -W 20 10.7.0.3");
    pv_guest_free(c);
    pv_guest_free(b);
    pv_guest_free(a);
    pv_snapshot_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nics_come_and_go),
        cmocka_unit_test(nics_of_saved_guests),
    };
    int r;

    for (int i = 0; i < WIRES; i++)
        wires[i] = (struct wire){.wire = {.attach = wire_attach}, .fd = -1};
    vm_test_begin();
    r = cmocka_run_group_tests(tests, NULL, NULL);
    vm_test_end();
    return r;
}
