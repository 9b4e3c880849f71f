/* SPDX-License-Identifier: MIT */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/decompress.h"
#include "image/image.h"
#include "image/magic.h"
#include "loop/loop.h"
#include "ports.h"
#include "rig.h"
#include "transport/stream.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"
#include "vhost/vhost.h"

enum { MODULE_MAX = 64 << 20 };

struct rig rig = {.console = -1};

void rig_fail(const char *fmt, ...)
{
    static char tail[4096];
    va_list ap;
    off_t end = lseek(rig.console, 0, SEEK_END);
    ssize_t n = pread(rig.console, tail, sizeof(tail) - 1, end > 4000 ? end - 4000 : 0);

    va_start(ap, fmt);
    fprintf(stderr, "FAIL: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n--- console ---\n%.*s\n", n > 0 ? (int)n : 0, tail);
    va_end(ap);
    if (rig.qemu > 0)
        kill(rig.qemu, SIGKILL);
    exit(1);
}

void rig_skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(77);
}

static void on_call_event(struct pv_stream *s, void *arg)
{
    uint64_t v;
    ssize_t r = pv_stream_read(s, &v, sizeof(v));

    (void)arg;
    if (r == -EAGAIN)
        return;
    if (r == sizeof(v)) {
        rig.called = v;
        rig.calls++;
    }
    pv_stream_close(s); /* from inside its own event */
}

static void accept_call(struct pv_vsock_device *v, struct pv_stream *s, unsigned guest_port, void *arg)
{
    (void)v;
    (void)guest_port;
    (void)arg;
    s->on_event = on_call_event;
}

static bool was_called(void *arg)
{
    return rig.calls >= *(unsigned *)arg;
}

void rig_wait_calls(unsigned n, const char *what)
{
    if (pv_loop_run(rig.loop, was_called, &n, rig.limit, NULL) != 0)
        rig_fail("%s: the guest did not call (ready %d, device: %s)", what, pv_vsock_device_ready(rig.vsock),
                 rig.vsock->error_text);
}

static void add_entry(struct archive *a, const char *path, unsigned mode, unsigned type, const void *data,
                      size_t n)
{
    struct archive_entry *e = archive_entry_new();

    archive_entry_set_pathname(e, path);
    archive_entry_set_mode(e, (mode_t)(type | mode));
    archive_entry_set_nlink(e, 1);
    if (type == AE_IFCHR) {
        archive_entry_set_rdevmajor(e, 5);
        archive_entry_set_rdevminor(e, 1);
    }
    archive_entry_set_size(e, (la_int64_t)n);
    if (archive_write_header(a, e) != ARCHIVE_OK || (n && archive_write_data(a, data, n) != (la_ssize_t)n))
        rig_fail("cannot write the initramfs: %s", archive_error_string(a));
    archive_entry_free(e);
}

static void add_file(struct archive *a, const char *path, unsigned mode, const char *from)
{
    struct stat st;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    void *p;

    if (fd < 0 || fstat(fd, &st) < 0)
        rig_fail("cannot open %s", from);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        rig_fail("cannot map %s", from);
    add_entry(a, path, mode, AE_IFREG, p, (size_t)st.st_size);
    munmap(p, (size_t)st.st_size);
    close(fd);
}

static int add_plain(void *arg, const void *data, size_t n, struct pv_err *err)
{
    (void)err;
    pv_buf_add(arg, data, n);
    return 0;
}

static void add_module(struct archive *a, const char *path, const char *from)
{
    cleanup_buf struct pv_buf packed = {0}, plain = {0};
    struct pv_err err = PV_ERR_INIT;
    enum pv_comp comp;

    if (pv_read_file(from, MODULE_MAX, &packed, &err) < 0)
        rig_fail("%s", err.text);
    comp = pv_magic_comp(packed.data, packed.len);
    if (comp != PV_COMP_NONE &&
        pv_decompress(comp, packed.data, packed.len, MODULE_MAX, add_plain, &plain, &err) < 0)
        rig_fail("%s: %s", from, err.text);
    add_entry(a, path, 0644, AE_IFREG, comp == PV_COMP_NONE ? packed.data : plain.data,
              comp == PV_COMP_NONE ? packed.len : plain.len);
}

static void make_initrd(int fd, const char *guest, const char *modules)
{
    static const char *const names[] = {"virtio_pci", "vmw_vsock_virtio_transport"};
    struct pv_err err = PV_ERR_INIT;
    struct pv_modlist list = {0};
    struct archive *a = archive_write_new();

    archive_write_set_format_cpio_newc(a);
    if (archive_write_open_fd(a, fd) != ARCHIVE_OK)
        rig_fail("cannot write the initramfs");
    add_entry(a, "dev", 0755, AE_IFDIR, NULL, 0);
    add_entry(a, "dev/console", 0600, AE_IFCHR, NULL, 0);
    add_entry(a, "modules", 0755, AE_IFDIR, NULL, 0);
    add_file(a, "init", 0755, guest);
    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++)
        if (pv_modlist_add(&list, modules, names[i], &err) != 0)
            rig_fail("module %s: %s", names[i], err.text);
    for (size_t i = 0; i < list.paths.n; i++) {
        cleanup_free char *path = pv_xasprintf("modules/%02zu.ko", i);

        add_module(a, path, list.paths.v[i]);
    }
    pv_modlist_fini(&list);
    archive_write_close(a);
    archive_write_free(a);
}

static void qemu_start(const char *guest, const char *dir, const char *window)
{
    char *kernel = pv_xasprintf("%s/vmlinuz", dir), *modules = pv_xasprintf("%s/modules", dir);
    char *append = pv_xasprintf("console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests %s%s",
                                window ? "window=" : "", window ? window : "");
    int initrd = memfd_create("initrd", MFD_CLOEXEC);
    char *const argv[] = {"qemu-system-x86_64",
                          "-nodefaults",
                          "-no-user-config",
                          "-display",
                          "none",
                          "-machine",
                          "q35,accel=tcg,memory-backend=m",
                          "-object",
                          "memory-backend-memfd,id=m,size=256M,share=on",
                          "-m",
                          "256M",
                          "-kernel",
                          kernel,
                          "-initrd",
                          "/dev/fd/4",
                          "-append",
                          append,
                          "-serial",
                          "stdio",
                          "-chardev",
                          "socket,id=vu,fd=3",
                          "-device",
                          "vhost-user-vsock-pci,id=vsk,chardev=vu",
                          NULL};
    struct pv_spawn_fd fds[] = {{rig.console, 1}, {rig.console, 2}, {rig.vsock->qemu_fd, 3}, {initrd, 4}};
    struct pv_spawn sp = {.file = argv[0], .argv = argv, .fds = fds, .n_fds = PV_ARRAY_LEN(fds)};
    struct pv_err err = PV_ERR_INIT;

    if (access(kernel, R_OK) < 0 || access(modules, R_OK) < 0)
        rig_skip("no vmlinuz and modules/ in PROVIUM_GUEST_DIR");
    make_initrd(initrd, guest, modules);
    rig.qemu = pv_spawn(&sp, NULL, &err);
    if (rig.qemu < 0) {
        if (err.cls == PV_E_MISSING)
            rig_skip("qemu-system-x86_64 is not installed");
        rig_fail("%s", err.text);
    }
    pv_close(&rig.vsock->qemu_fd);
    close(initrd);
    free(kernel);
    free(modules);
    free(append);
}

void rig_boot(const char *guest, const char *dir, const char *window)
{
    struct pv_err err = PV_ERR_INIT;

    rig.console = memfd_create("console", MFD_CLOEXEC);
    rig.block = pv_xmalloc(RIG_BIG);
    for (size_t i = 0; i < RIG_BIG; i++)
        rig.block[i] = (uint8_t)(i * 13 + i / 251);
    rig.loop = pv_loop_new(&err);
    rig.vsock = rig.loop ? pv_vsock_device_new(rig.loop, RIG_CID, &err) : NULL;
    if (!rig.vsock || pv_vsock_device_listen(rig.vsock, HOST_PORT, accept_call, NULL) < 0)
        rig_fail("%s", err.text);
    qemu_start(guest, dir, window);
}

void rig_free(void)
{
    kill(rig.qemu, SIGKILL);
    waitpid(rig.qemu, NULL, 0);
    pv_vsock_device_free(rig.vsock);
    pv_loop_free(rig.loop);
    free(rig.block);
}
