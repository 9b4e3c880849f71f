/* SPDX-License-Identifier: MIT */
/* Saving and resuming the default guest, in real VMs. */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guest/guest-state.h"
#include "guest/instance.h"
#include "guest/vm-test.h"
#include "vm/vm.h"

static struct pv_guest *boot_guest(const char *disk)
{
    struct pv_boot_opts o = {.transport = PV_TRANSPORT_SERIAL, .keep_disks = true};
    struct pv_guest_disk d = {.path = (char *)disk, .format = (char *)"raw"};
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = new_guest();

    if (disk) {
        o.disks = &d;
        o.n_disks = 1;
    }
    assert_no_err(pv_guest_boot(g, &o, &err), &err);
    return g;
}

static struct pv_snapshot *must_snapshot(struct pv_snapshot *s, const struct pv_err *err)
{
    if (!s)
        fail_msg("%s", err->text);
    return s;
}

static void saved_at_the_end(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = boot_guest(NULL), *a, *b;
    struct pv_snapshot *s;
    char first[64];
    struct timespec now;

    (void)state;
    sh(g, "echo one >/tmp/x; setsid sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/pid");
    s = must_snapshot(pv_guest_save(g, 0, &err), &err);
    assert_int_equal(pv_guest_state(g), PV_GUEST_SHUT_DOWN);
    a = resume_guest(s);
    b = resume_guest(s);
    assert_string_equal(sh(a, "cat /tmp/x; kill -0 $(cat /tmp/pid)"), "one");
    sh(a, "echo two >/tmp/x");
    assert_string_equal(sh(b, "cat /tmp/x"), "one");
    snprintf(first, sizeof(first), "%s", sh(a, "head -c 16 /dev/urandom | od -An -tx1"));
    assert_string_not_equal(first, sh(b, "head -c 16 /dev/urandom | od -An -tx1"));
    clock_gettime(CLOCK_REALTIME, &now);
    assert_in_range(atol(sh(a, "date +%s")), now.tv_sec - 1, now.tv_sec + 3);
    pv_guest_free(a);
    pv_guest_free(b);
    pv_guest_free(g);
    pv_snapshot_unref(s);
}

/* The memories of guests that nobody can write to any more, QEMU no more than this process. */
static int memories_sealed(void)
{
    enum { FDS = 1024, MEMORY_MIN = 32 << 20 };
    int n = 0;

    for (int fd = 3; fd < FDS; fd++) {
        int seals = fcntl(fd, F_GET_SEALS);
        struct stat st;

        if (seals < 0 || !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) || fstat(fd, &st) < 0 ||
            st.st_size < MEMORY_MIN)
            continue;
        assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
        assert_int_equal(pwrite(fd, "x", 1, 0), -1);
        n++;
    }
    return n;
}

/* After a snapshot the guest goes on; a resume brings back its disk and memory, also from a snapshot of a
 * resumed guest. */
static void restored_state(void **state)
{
    char disk[] = "/tmp/provium-test-XXXXXX", byte = 1;
    struct pv_err err = PV_ERR_INIT;
    int fd = mkstemp(disk);
    struct pv_snapshot *s, *t;
    struct pv_guest *g, *c;

    (void)state;
    assert_int_equal(ftruncate(fd, 8 << 20), 0);
    g = boot_guest(disk);
    sh(g, "echo before >/tmp/x; echo before | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null");
    assert_int_equal(memories_sealed(), 0);
    s = must_snapshot(pv_guest_snapshot(g, 0, &err), &err);
    assert_int_equal(memories_sealed(), 1);
    for (int i = 0; i < 3; i++) {
        sh(g, "test $(cat /tmp/x) = before; mkdir /tmp/m; mount -t tmpfs m /tmp/m; echo after >/tmp/x");
        sh(g, "echo after | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null");
        assert_string_equal(sh(g, "head -n 1 /dev/vda"), "after");
        assert_no_err(pv_guest_restore(g, s, NULL, &err), &err);
        assert_string_equal(sh(g, "cat /tmp/x; head -n 1 /dev/vda; ls -d /tmp/m 2>/dev/null || true"),
                            "before\nbefore");
    }
    sh(g, "echo third >/tmp/x; echo third | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null");
    t = must_snapshot(pv_guest_snapshot(g, 0, &err), &err);
    sh(g, "echo fourth >/tmp/x; echo fourth | dd of=/dev/vda conv=notrunc,fsync 2>/dev/null");
    c = resume_guest(t);
    assert_string_equal(sh(c, "cat /tmp/x; head -n 1 /dev/vda"), "third\nthird");
    assert_string_equal(sh(g, "cat /tmp/x; head -n 1 /dev/vda"), "fourth\nfourth");
    pv_snapshot_unref(t);
    t = must_snapshot(pv_guest_save(c, 0, &err), &err);
    pv_guest_free(c);
    c = resume_guest(t);
    assert_string_equal(sh(c, "cat /tmp/x; head -n 1 /dev/vda"), "third\nthird");
    pv_guest_free(c);
    pv_guest_free(g);
    pv_snapshot_unref(t);
    pv_snapshot_unref(s);
    assert_int_equal(pread(fd, &byte, 1, 0), 1); /* the host's file was never written to */
    assert_int_equal(byte, 0);
    close(fd);
    unlink(disk);
}

/* The saved files of a snapshot. */
struct store {
    struct pv_saved_file *files;
    size_t n;
};

static int store_find(const char *name, void *arg)
{
    const struct store *st = arg;

    for (size_t i = 0; i < st->n; i++)
        if (!strcmp(st->files[i].name, name))
            return st->files[i].fd;
    return -1;
}

static void saved_files(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = boot_guest(NULL), *a;
    struct pv_snapshot *s, *l;
    struct store st;
    char *machine;
    int memory;

    (void)state;
    s = must_snapshot(pv_guest_save(g, 0, &err), &err);
    pv_guest_free(g);
    g = resume_guest(s);
    sh(g, "echo nested >/tmp/x");
    pv_snapshot_unref(s);
    s = must_snapshot(pv_guest_save(g, 0, &err), &err);
    pv_guest_free(g);
    machine = pv_snapshot_machine(s, &err);
    pv_snapshot_files(s, &st.files, &st.n);
    assert_int_equal(st.files[0].fd, -1); /* the memory has no file yet */
    memory = memfd_create("memory", MFD_CLOEXEC);
    assert_no_err(pv_snapshot_write_file(s, "memory", memory, &err), &err);
    st.files[0].fd = memory;
    l = must_snapshot(pv_snapshot_load(machine, store_find, &st, config, &err), &err);
    pv_snapshot_unref(s);
    a = resume_guest(l);
    assert_string_equal(sh(a, "cat /tmp/x"), "nested");
    pv_guest_free(a);
    pv_snapshot_unref(l);
    assert_null(pv_snapshot_load("{\"version\":1}", store_find, &st, config, &err));
    close(memory);
    free(st.files);
    free(machine);
}

/* ---- a death before READY ---- */

struct killer {
    struct pv_timer t;
    struct pv_guest *g;
};

/* Kills QEMU once a session exists: the machine runs, and READY has not come. */
static void kill_unmet(struct pv_timer *t)
{
    struct killer *k = PV_CONTAINER_OF(t, struct killer, t);
    struct pv_instance *i = k->g->instance;

    if (i && pv_instance_session(i))
        kill(pv_vm_pid(pv_instance_vm(i)), SIGKILL);
    else
        pv_timer_arm(env.host.loop, t, pv_deadline(PV_NSEC_PER_MSEC));
}

static void dies_before_ready(void **state)
{
    struct pv_err err = PV_ERR_INIT;
    struct pv_guest *g = boot_guest(NULL);
    struct pv_snapshot *s = must_snapshot(pv_guest_save(g, 0, &err), &err);
    struct killer k = {.t.fn = kill_unmet, .g = g};

    (void)state;
    for (int i = 0; i < 2; i++) {
        pv_timer_arm(env.host.loop, &k.t, pv_now());
        assert_int_equal(pv_guest_restore(g, s, NULL, &err), -1);
        assert_int_equal(err.cls, PV_E_GUEST_DIED);
        assert_non_null(strstr(err.text, "SIGKILL"));
        assert_int_equal(pv_guest_state(g), PV_GUEST_DEAD);
    }
    assert_no_err(pv_guest_restore(g, s, NULL, &err), &err);
    assert_int_equal(pv_guest_state(g), PV_GUEST_RUNNING);
    pv_guest_free(g);
    pv_snapshot_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_before_ready),
        cmocka_unit_test(saved_at_the_end),
        cmocka_unit_test(restored_state),
        cmocka_unit_test(saved_files),
    };
    int r;

    vm_test_begin();
    r = cmocka_run_group_tests(tests, NULL, NULL);
    vm_test_end();
    return r;
}
