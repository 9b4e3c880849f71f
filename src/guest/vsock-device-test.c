/* SPDX-License-Identifier: MIT */
/* Savable VMs with a vsock device of their own: real VMs of the default guest. */
#include <errno.h>
#include <linux/vm_sockets.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/saved.h"
#include "guest/standby.h"
#include "guest/vm-test.h"
#include "transport/channel.h"
#include "transport/stream.h"
#include "vhost/vsock.h"
#include "vm/vm.h"

enum { O_RDWR_GUEST = 2, PORT = 1234 };

static struct pv_snapshot *s; /* of the default guest, booted once */

/* A system call with at most one buffer, which is in and out. */
static int64_t guest_syscall(struct pv_guest *g, uint64_t nr, uint64_t a, uint64_t b, uint64_t c,
                             unsigned slot, void *buf, size_t n)
{
    struct pv_sys_buf in = {slot, buf, n};
    struct pv_syscall sc = {.nr = nr, .args = {a, b, c}, .bufs = &in, .n_bufs = buf ? 1 : 0};
    struct pv_sysret r = {0};
    struct pv_err err = PV_ERR_INIT;
    int64_t value;

    assert_no_err(pv_agent_syscall(pv_guest_agent(g), &sc, &r, &err), &err);
    if (buf) {
        assert_int_equal(r.out[0].len, n);
        memcpy(buf, r.out[0].data, n);
    }
    value = r.value;
    pv_sysret_fini(&r);
    return value;
}

/* The CID as the guest's kernel sees it. */
static unsigned guest_cid(struct pv_guest *g)
{
    char path[] = "/dev/vsock";
    unsigned cid = 0;
    int64_t fd = guest_syscall(g, SYS_open, 0, O_RDWR_GUEST, 0, 0, path, sizeof(path));

    if (fd < 0)
        fail_msg("cannot open /dev/vsock: %s", strerror((int)-fd));
    assert_int_equal(
        guest_syscall(g, SYS_ioctl, (uint64_t)fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, 0, 2, &cid, sizeof(cid)),
        0);
    guest_syscall(g, SYS_close, (uint64_t)fd, 0, 0, 0, NULL, 0);
    return cid;
}

static int guest_connect_host(struct pv_guest *g)
{
    struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = PORT};
    int64_t fd = guest_syscall(g, SYS_socket, AF_VSOCK, SOCK_STREAM, 0, 0, NULL, 0), r;

    assert_true(fd >= 0);
    r = guest_syscall(g, SYS_connect, (uint64_t)fd, 0, sizeof(to), 1, &to, sizeof(to));
    guest_syscall(g, SYS_close, (uint64_t)fd, 0, 0, 0, NULL, 0);
    return (int)-r;
}

/* Asserts that the device works with the instance's CID, and that the host refuses a connection at once. */
static void assert_vsock_works(struct pv_guest *g)
{
    int64_t start = pv_now();

    assert_non_null(pv_instance_vsock(g->instance));
    assert_int_equal(guest_cid(g), pv_instance_vsock_cid(g->instance));
    assert_int_equal(guest_connect_host(g), ECONNRESET);
    assert_true(pv_now() - start < 5 * PV_NSEC_PER_SEC);
}

static struct pv_guest *boot_guest(const char *append, int64_t timeout_ns, struct pv_err *err)
{
    struct pv_boot_opts o = {.transport = PV_TRANSPORT_SERIAL,
                             .vsock = true,
                             .memory = 256 << 20,
                             .timeout_ns = timeout_ns,
                             .append = (char *)append};
    struct pv_guest *g = new_guest();

    if (pv_guest_boot(g, &o, err) == 0)
        return g;
    pv_guest_free(g);
    return NULL;
}

static struct pv_snapshot *take_snapshot(struct pv_guest *g)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_snapshot *t = pv_guest_snapshot(g, 0, &err);

    assert_no_err(t ? 0 : -1, &err);
    assert_int_equal(t->dirty.n_runs, 0); /* no dirty pages: the file is the whole memory */
    return t;
}

/* A hash over every byte of the snapshot's memory. */
static uint64_t memory_hash(const struct pv_snapshot *of)
{
    struct stat st;
    const uint64_t *p;
    uint64_t h = 0;

    assert_int_equal(fstat(of->memory, &st), 0);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, of->memory, 0);
    assert_true(p != MAP_FAILED);
    for (size_t i = 0; i < (size_t)st.st_size / sizeof(*p); i++)
        h = (h ^ p[i]) * UINT64_C(0x9e3779b97f4a7c15) + (h >> 29);
    munmap((void *)p, (size_t)st.st_size);
    return h;
}

static void each_its_own(void **state)
{
    uint64_t before = memory_hash(s);
    struct pv_guest *a = resume_guest(s), *b = resume_guest(s);
    struct pv_err err = PV_ERR_INIT;
    unsigned cid;

    (void)state;
    assert_vsock_works(a);
    assert_vsock_works(b);
    assert_int_not_equal(pv_instance_vsock_cid(a->instance), pv_instance_vsock_cid(b->instance));
    sh(a, "echo a >/tmp/x; head -c 20000000 /dev/urandom >/tmp/big");
    sh(b, "test $(cat /tmp/x) = one");
    cid = pv_instance_vsock_cid(a->instance);
    for (int i = 0; i < 3; i++) {
        assert_no_err(pv_guest_restore(a, s, NULL, &err), &err);
        sh(a, "test $(cat /tmp/x) = one && test ! -e /tmp/big");
        assert_vsock_works(a);
        assert_int_not_equal(pv_instance_vsock_cid(a->instance), cid);
    }
    pv_guest_free(a);
    pv_guest_free(b);
    assert_true(memory_hash(s) == before);
}

/* A snapshot of a resumed guest: the guest has its device again, and a clone has a device of its own. */
static void saved_again(void **state)
{
    struct pv_guest *a = resume_guest(s), *b, *c;
    unsigned cid = pv_instance_vsock_cid(a->instance);
    struct pv_snapshot *t, *u;
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    sh(a, "echo two >/tmp/x");
    t = take_snapshot(a);
    assert_vsock_works(a);
    assert_int_equal(pv_instance_vsock_cid(a->instance), cid);
    sh(a, "echo three >/tmp/x");
    b = resume_guest(t);
    sh(b, "test $(cat /tmp/x) = two");
    assert_vsock_works(b);
    u = pv_guest_save(b, 0, &err);
    assert_no_err(u ? 0 : -1, &err);
    pv_guest_free(b);
    c = resume_guest(u);
    sh(c, "test $(cat /tmp/x) = two");
    assert_vsock_works(c);
    assert_int_not_equal(pv_instance_vsock_cid(c->instance), cid);
    sh(a, "test $(cat /tmp/x) = three");
    assert_vsock_works(a);
    pv_guest_free(c);
    pv_guest_free(a);
    pv_snapshot_unref(u);
    pv_snapshot_unref(t);
}

/* A guest may remove the device at any time; a save succeeds nevertheless. */
static void removed_by_guest(void **state)
{
    struct pv_guest *a = resume_guest(s);
    struct pv_snapshot *t;

    (void)state;
    sh(a,
       "for d in /sys/bus/pci/devices/*; do test $(cat $d/device) = 0x1053 && echo 1 >$d/remove; done; true");
    assert_int_equal(guest_connect_host(a), ENODEV);
    t = take_snapshot(a); /* removed by the guest's kernel, still plugged in for QEMU */
    assert_vsock_works(a);
    pv_snapshot_unref(t);
    sh(a, "for s in /sys/bus/pci/slots/*; do test $(cat $s/address) = 0000:01:00 && echo 0 >$s/power; done; "
          "true");
    assert_int_equal(guest_connect_host(a), ENODEV);
    t = take_snapshot(a);
    assert_vsock_works(a);
    pv_guest_free(a);
    a = resume_guest(t);
    assert_vsock_works(a);
    pv_guest_free(a);
    pv_snapshot_unref(t);
}

/* A guest's broken device does not hinder a save, and works again afterwards. */
static void broken_device(void **state)
{
    struct pv_guest *a = resume_guest(s);
    struct vsock_dev *d = PV_CONTAINER_OF(pv_instance_vsock(a->instance), struct vsock_dev, v);
    struct pv_snapshot *t;

    (void)state;
    pv_vsock_enter(d);
    pv_vsock_break(d, EIO, "as if by the guest");
    pv_vsock_leave(d);
    sh(a, "true");
    t = take_snapshot(a);
    assert_vsock_works(a);
    pv_snapshot_unref(t);
    pv_guest_free(a);
}

/* A guest that does not complete the unplug: the save fails, and a later one succeeds. */
static void unplug_times_out(void **state)
{
    struct pv_guest *a = resume_guest(s);
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_no_err(pv_vm_stop(pv_instance_vm(a->instance), pv_deadline(5 * PV_NSEC_PER_SEC), &err), &err);
    assert_null(pv_guest_snapshot(a, PV_NSEC_PER_SEC / 2, &err));
    assert_int_equal(err.cls, PV_E_TIMEOUT);
    assert_non_null(strstr(err.text, "does not let go of its vsock device"));
    assert_null(pv_guest_snapshot(a, PV_NSEC_PER_SEC / 2, &err));
    assert_int_equal(err.cls, PV_E_TIMEOUT);
    assert_no_err(pv_vm_cont(pv_instance_vm(a->instance), pv_deadline(5 * PV_NSEC_PER_SEC), &err), &err);
    pv_snapshot_unref(take_snapshot(a));
    assert_vsock_works(a);
    pv_guest_free(a);
}

static bool standby_is_ready(void *arg)
{
    return pv_standby_ready(env.standby_pool, arg);
}

/* A standby VM has a device too, whose rings are stopped together with its vCPUs. */
static void standby_vms(void **state)
{
    struct pv_guest *g[3];
    struct pv_snapshot *t;
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    env.standby_pool = pv_standby_pool_new(&env);
    for (int i = 0; i < 3; i++) {
        pv_standby_prepare(env.standby_pool, s);
        assert_no_err(
            pv_loop_run(env.host.loop, standby_is_ready, s, pv_deadline(60 * PV_NSEC_PER_SEC), &err) ? -1 : 0,
            &err);
        g[i] = resume_guest(s);
        assert_vsock_works(g[i]);
        sh(g[i], "test $(cat /tmp/x) = one; echo changed >/tmp/x");
        assert_true(i == 0 ||
                    pv_instance_vsock_cid(g[i]->instance) != pv_instance_vsock_cid(g[i - 1]->instance));
    }
    t = take_snapshot(g[1]);
    assert_vsock_works(g[1]);
    assert_no_err(pv_guest_restore(g[2], t, NULL, &err), &err);
    sh(g[2], "test $(cat /tmp/x) = changed");
    assert_vsock_works(g[2]);
    pv_standby_pool_free(env.standby_pool);
    env.standby_pool = NULL;
    for (int i = 0; i < 3; i++)
        pv_guest_free(g[i]);
    pv_snapshot_unref(t);
}

static int saved_file(const char *name, void *arg)
{
    const struct pv_snapshot *of = arg;

    return !strcmp(name, "memory") ? of->memory : !strcmp(name, "state") ? of->vmstate : -1;
}

/* The saved description names the hotplug port; a description without that member is an error. */
static void saved_description(void **state)
{
    static const char old[] = "{\"version\":1,\"profile\":\"default\",\"memory\":268435456,\"cpus\":1,"
                              "\"kvm\":false,\"disks\":[]}";
    struct pv_err err = PV_ERR_INIT;
    char *machine = pv_snapshot_machine(s, &err);
    struct pv_snapshot *l = pv_snapshot_load(machine, saved_file, s, config, &err);
    struct pv_guest *g;

    (void)state;
    assert_non_null(strstr(machine, "\"hotplug_port\":true"));
    assert_no_err(l ? 0 : -1, &err);
    g = resume_guest(l);
    assert_vsock_works(g);
    pv_guest_free(g);
    pv_snapshot_unref(l);
    free(machine);
    assert_null(pv_snapshot_load(old, saved_file, s, config, &err));
    assert_int_equal(err.cls, PV_E_HOST);
    assert_non_null(strstr(err.text, "makes no sense"));
}

static void guest_without_driver(void **state)
{
    static const struct {
        const char *append, *what;
    } lacks[] = {
        {"module_blacklist=vmw_vsock_virtio_transport", "no driver for it"},
        {"module_blacklist=vsock", "no AF_VSOCK"},
        {"acpiphp.disable=1", "CONFIG_HOTPLUG_PCI_ACPI"},
    };

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(lacks); i++) {
        struct pv_err err = PV_ERR_INIT;

        /* The agent answers within 12 s, unless the host has much else to do. */
        assert_null(boot_guest(lacks[i].append, 12 * PV_NSEC_PER_SEC, &err));
        if (!strstr(err.text, lacks[i].what)) {
            err = (struct pv_err)PV_ERR_INIT;
            assert_null(boot_guest(lacks[i].append, 60 * PV_NSEC_PER_SEC, &err));
        }
        if (!strstr(err.text, lacks[i].what) || !strstr(err.text, "console of"))
            fail_msg("%s", err.text);
        assert_int_equal(err.cls, PV_E_TIMEOUT);
    }
}

/* The option `vsock` changes nothing on the transport vsock. */
static void on_transport_vsock(void **state)
{
    struct pv_boot_opts o = {.transport = PV_TRANSPORT_VSOCK, .vsock = true};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = new_guest();

    (void)state;
    assert_no_err(pv_guest_boot(g, &o, &err), &err);
    assert_no_err(pv_agent_mount_vfs(pv_guest_agent(g), 0, &err), &err);
    assert_null(pv_instance_vsock(g->instance));
    assert_int_equal(guest_cid(g), pv_instance_channel(g->instance)->cid);
    pv_guest_free(g);
}

static int make_snapshot(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = boot_guest(NULL, 0, &err);

    (void)state;
    assert_no_err(g ? 0 : -1, &err);
    assert_no_err(pv_agent_mount_vfs(pv_guest_agent(g), 0, &err), &err);
    assert_vsock_works(g);
    sh(g, "echo one >/tmp/x");
    pv_snapshot_unref(take_snapshot(g));
    assert_vsock_works(g);
    s = pv_guest_save(g, 0, &err);
    assert_no_err(s ? 0 : -1, &err);
    pv_guest_free(g);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_its_own),         cmocka_unit_test(saved_again),
        cmocka_unit_test(removed_by_guest),     cmocka_unit_test(broken_device),
        cmocka_unit_test(unplug_times_out),     cmocka_unit_test(standby_vms),
        cmocka_unit_test(saved_description),    cmocka_unit_test(on_transport_vsock),
        cmocka_unit_test(guest_without_driver),
    };
    int r;

    vm_test_begin();
    r = cmocka_run_group_tests(tests, make_snapshot, NULL);
    pv_snapshot_unref(s);
    vm_test_end();
    return r;
}
