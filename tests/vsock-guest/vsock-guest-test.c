/* SPDX-License-Identifier: MIT */
/*
 * Our vsock device against a real kernel's driver, in a real QEMU (software emulation).
 *
 *     PROVIUM_GUEST_DIR=DIR vsock-guest-test GUEST [bench [WINDOW]]
 *
 * DIR holds vmlinuz and modules/ (a /lib/modules/VERSION tree); GUEST is the static program guest.c.  Exits
 * 77 with the reason where these or QEMU are missing.  `bench` measures instead of testing.
 */
#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "ports.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"
#include "util/spawn.h"
#include "vhost/vhost.h"

enum { CID = 77, BIG = 16 * 1024 * 1024, MANY = 40, STEP_S = 40 };

static struct pv_loop *loop;
static struct pv_vsock_device *vsock;
static pid_t qemu;
static int console = -1;
static uint8_t *block;  /* BIG bytes */
static uint64_t called; /* what the guest last called HOST_PORT with */
static unsigned calls;
static int64_t limit; /* of this step */

static void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *fmt, ...)
{
    static char tail[4096];
    va_list ap;
    off_t end = lseek(console, 0, SEEK_END);
    ssize_t n = pread(console, tail, sizeof(tail) - 1, end > 4000 ? end - 4000 : 0);

    va_start(ap, fmt);
    fprintf(stderr, "FAIL: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n--- console ---\n%.*s\n", n > 0 ? (int)n : 0, tail);
    va_end(ap);
    if (qemu > 0)
        kill(qemu, SIGKILL);
    exit(1);
}

static void skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(77);
}

/* ---- a stream, used as if it blocked ---- */

struct peer {
    struct pv_stream *s;
    bool event;
};

static void on_event(struct pv_stream *s, void *arg)
{
    (void)s;
    ((struct peer *)arg)->event = true;
}

static bool has_event(void *arg)
{
    return ((struct peer *)arg)->event;
}

static void wait_event(struct peer *p, const char *what)
{
    if (pv_loop_run(loop, has_event, p, limit, NULL) != 0)
        fail("%s: nothing happened (device: %s)", what, vsock->error_text);
    p->event = false;
}

/* 0, or the errno of the connection. */
static int try_dial(struct peer *p, unsigned port)
{
    struct pv_err err = PV_ERR_INIT;

    *p = (struct peer){.s = pv_vsock_device_connect(vsock, port, &err)};
    if (!p->s)
        fail("connect: %s", err.text);
    p->s->on_event = on_event;
    p->s->arg = p;
    while (p->s->connecting)
        wait_event(p, "connect");
    if (p->s->error) {
        int error = p->s->error;

        pv_stream_close(p->s);
        return error;
    }
    return 0;
}

static void dial(struct peer *p, unsigned port)
{
    int error = try_dial(p, port);

    if (error)
        fail("port %u: %s", port, strerror(error));
}

static void send_all(struct peer *p, const void *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t r;

        p->event = false;
        r = pv_stream_write(p->s, (const char *)data + done, n - done);
        if (r > 0) {
            done += (size_t)r;
            continue;
        }
        if (r != -EAGAIN)
            fail("write: %s", strerror((int)-r));
        pv_stream_want_write(p->s, true);
        wait_event(p, "write");
        pv_stream_want_write(p->s, false);
    }
}

/* Bytes read: n, or fewer at the end of the stream. */
static size_t recv_some(struct peer *p, void *data, size_t n)
{
    size_t done = 0;

    while (done < n) {
        ssize_t r;

        p->event = false;
        r = pv_stream_read(p->s, (char *)data + done, n - done);
        if (r == 0)
            break;
        if (r > 0)
            done += (size_t)r;
        else if (r == -EAGAIN)
            wait_event(p, "read");
        else
            fail("read: %s", strerror((int)-r));
    }
    return done;
}

static void recv_all(struct peer *p, void *data, size_t n)
{
    size_t got = recv_some(p, data, n);

    if (got != n)
        fail("the stream ended after %zu of %zu bytes", got, n);
}

static uint64_t recv_u64(struct peer *p)
{
    uint64_t v;

    recv_all(p, &v, sizeof(v));
    return v;
}

/* ---- the guest ---- */

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
        fail("cannot write the initramfs: %s", archive_error_string(a));
    archive_entry_free(e);
}

static void add_file(struct archive *a, const char *path, unsigned mode, const char *from)
{
    struct stat st;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    void *p;

    if (fd < 0 || fstat(fd, &st) < 0)
        fail("cannot open %s", from);
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        fail("cannot map %s", from);
    add_entry(a, path, mode, AE_IFREG, p, (size_t)st.st_size);
    munmap(p, (size_t)st.st_size);
    close(fd);
}

/* The path of NAME.ko below dir, or NULL. */
static char *find_module(const char *dir, const char *name)
{
    char *paths[] = {(char *)dir, NULL};
    char *file = pv_xasprintf("%s.ko", name), *found = NULL;
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_COMFOLLOW, NULL);

    for (FTSENT *e; fts && !found && (e = fts_read(fts));)
        if (e->fts_info == FTS_F && strcmp(e->fts_name, file) == 0)
            found = pv_xstrdup(e->fts_path);
    if (fts)
        fts_close(fts);
    free(file);
    return found;
}

static void make_initrd(int fd, const char *guest, const char *modules)
{
    static const char *const names[] = {
        "virtio_ring",
        "virtio",
        "virtio_pci_modern_dev",
        "virtio_pci_legacy_dev",
        "virtio_pci",
        "vsock",
        "vmw_vsock_virtio_transport_common",
        "vmw_vsock_virtio_transport",
    };
    struct archive *a = archive_write_new();
    int n = 0;

    archive_write_set_format_cpio_newc(a);
    if (archive_write_open_fd(a, fd) != ARCHIVE_OK)
        fail("cannot write the initramfs");
    add_entry(a, "dev", 0755, AE_IFDIR, NULL, 0);
    add_entry(a, "dev/console", 0600, AE_IFCHR, NULL, 0);
    add_entry(a, "modules", 0755, AE_IFDIR, NULL, 0);
    add_file(a, "init", 0755, guest);
    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++) {
        char *from = find_module(modules, names[i]), path[32];

        if (!from)
            continue; /* built in */
        snprintf(path, sizeof(path), "modules/%02d.ko", n++);
        add_file(a, path, 0644, from);
        free(from);
    }
    archive_write_close(a);
    archive_write_free(a);
}

static void start_qemu(const char *guest, const char *dir, const char *window)
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
    struct pv_spawn_fd fds[] = {{console, 1}, {console, 2}, {vsock->qemu_fd, 3}, {initrd, 4}};
    struct pv_spawn sp = {.file = argv[0], .argv = argv, .fds = fds, .n_fds = PV_ARRAY_LEN(fds)};
    struct pv_err err = PV_ERR_INIT;

    if (access(kernel, R_OK) < 0 || access(modules, R_OK) < 0)
        skip("no vmlinuz and modules/ in PROVIUM_GUEST_DIR");
    make_initrd(initrd, guest, modules);
    qemu = pv_spawn(&sp, NULL, &err);
    if (qemu < 0) {
        if (err.cls == PV_E_MISSING)
            skip("qemu-system-x86_64 is not installed");
        fail("%s", err.text);
    }
    pv_close(&vsock->qemu_fd);
    close(initrd);
    free(kernel);
    free(modules);
    free(append);
}

static void on_call_event(struct pv_stream *s, void *arg)
{
    uint64_t v;
    ssize_t r = pv_stream_read(s, &v, sizeof(v));

    (void)arg;
    if (r == -EAGAIN)
        return;
    if (r == sizeof(v)) {
        called = v;
        calls++;
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
    return calls >= *(unsigned *)arg;
}

static void wait_calls(unsigned n, const char *what)
{
    if (pv_loop_run(loop, was_called, &n, limit, NULL) != 0)
        fail("%s: the guest did not call (ready %d, device: %s)", what, pv_vsock_device_ready(vsock),
             vsock->error_text);
}

/* ---- tests ---- */

static uint64_t sum_of_nothing;

static void test_echo(void)
{
    static uint8_t back[300000];
    struct peer p;

    dial(&p, ECHO_PORT);
    for (size_t n = 1; n < sizeof(back); n = n * 3 + 1) {
        size_t sent = 0, got = 0;

        /* Both ways at once: neither side could hold all of it. */
        while (got < n) {
            ssize_t r;

            p.event = false;
            r = sent < n ? pv_stream_write(p.s, block + sent, n - sent) : -EAGAIN;
            if (r > 0)
                sent += (size_t)r;
            pv_stream_want_write(p.s, sent < n);
            r = pv_stream_read(p.s, back + got, n - got);
            if (r > 0)
                got += (size_t)r;
            else if (r != -EAGAIN)
                fail("echo of %zu bytes: %zd", n, r);
            else
                wait_event(&p, "echo");
        }
        if (memcmp(back, block, n) != 0)
            fail("echo of %zu bytes came back changed", n);
    }
    pv_stream_close(p.s);
}

static void test_bulk(unsigned port)
{
    struct peer p;
    uint64_t n = BIG;

    dial(&p, port);
    send_all(&p, &n, sizeof(n));
    send_all(&p, block, n);
    sum_of_nothing = recv_u64(&p);
    pv_stream_close(p.s);
}

static void test_source(void)
{
    uint8_t *in = pv_xmalloc(BIG);
    struct peer p;
    uint64_t n = BIG;

    dial(&p, SOURCE_PORT);
    send_all(&p, &n, sizeof(n));
    recv_all(&p, in, n);
    for (size_t i = 0; i < n; i++)
        if (in[i] != (uint8_t)((i % (1 << 20)) * 7))
            fail("byte %zu from the guest is wrong", i);
    pv_stream_close(p.s);
    free(in);
}

static void test_half_close(void)
{
    unsigned before = calls;
    struct peer p;
    char word[4];
    uint64_t n;

    dial(&p, COUNT_PORT);
    send_all(&p, block, 1000000);
    pv_stream_shutdown_write(p.s);
    n = recv_u64(&p);
    if (n != 1000000)
        fail("the guest counted %llu bytes before the end", (unsigned long long)n);
    if (recv_some(&p, word, 1) != 0)
        fail("no end after the guest closed");
    if (pv_stream_write(p.s, "x", 1) != -EPIPE)
        fail("a write after shutdown_write was taken");
    pv_stream_close(p.s);

    dial(&p, BYE_PORT);
    if (recv_some(&p, word, 4) != 3 || memcmp(word, "bye", 3) != 0)
        fail("no \"bye\" and end");
    send_all(&p, block, 500000);
    pv_stream_close(p.s); /* closes with bytes on their way */
    wait_calls(before + 1, "half-close");
    if (called != 500000)
        fail("the guest got %llu bytes after its own half was closed", (unsigned long long)called);
}

static void test_refused(void)
{
    struct peer p;
    int error = try_dial(&p, NOBODY_PORT);

    if (error != ECONNREFUSED)
        fail("a port without listener gave %s", strerror(error));
}

/* The guest closes with unread bytes: writing ends with an error, and soon. */
static void test_drop(void)
{
    struct peer p;
    ssize_t r;

    dial(&p, DROP_PORT);
    for (;;) {
        p.event = false;
        r = pv_stream_write(p.s, block, BIG);
        if (r > 0)
            continue;
        if (r != -EAGAIN)
            break;
        pv_stream_want_write(p.s, true);
        wait_event(&p, "drop");
    }
    if (r != -EPIPE && r != -ECONNRESET)
        fail("writing to a closed socket gave %zd", r);
    pv_stream_close(p.s);
}

static void test_many(void)
{
    struct peer p[MANY];
    uint8_t back[5000];

    for (int i = 0; i < MANY; i++)
        dial(&p[i], ECHO_PORT);
    for (int i = 0; i < MANY; i++)
        send_all(&p[i], block + i, sizeof(back));
    for (int i = MANY - 1; i >= 0; i--) {
        recv_all(&p[i], back, sizeof(back));
        if (memcmp(back, block + i, sizeof(back)) != 0)
            fail("connection %d of %d got another's bytes", i, MANY);
        pv_stream_close(p[i].s);
    }
}

/* More packets than the rings' 16-bit indices count. */
static void test_wrap(void)
{
    struct peer p;

    dial(&p, ECHO_PORT);
    for (int i = 0; i < 70000; i += 100) {
        uint8_t back[100];

        for (int j = 0; j < 100; j++)
            send_all(&p, block + i + j, 1);
        recv_all(&p, back, sizeof(back));
        if (memcmp(back, block + i, sizeof(back)) != 0)
            fail("echo after %d packets came back changed", i);
    }
    pv_stream_close(p.s);
}

static void test_restart(void)
{
    struct peer p, other;
    unsigned before = calls;
    char c;

    dial(&other, ECHO_PORT);
    dial(&p, RESTART_PORT);
    for (;;) {
        ssize_t r = pv_stream_read(other.s, &c, 1);

        if (r == -ECONNRESET)
            break;
        if (r != -EAGAIN)
            fail("a connection into a rebooting guest gave %zd", r);
        wait_event(&other, "reset of the guest");
    }
    if (pv_vsock_device_ready(vsock))
        fail("the device of a guest in reset is ready");
    pv_stream_close(other.s);
    pv_stream_close(p.s);
    wait_calls(before + 1, "after the reboot");
    test_echo();
}

/* ---- measuring ---- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void bench_round_trip(void)
{
    enum { N = 5000, WARM = 500 };
    static int64_t t[N];
    uint8_t in[64];
    struct peer p;

    dial(&p, ECHO_PORT);
    for (int i = -WARM; i < N; i++) {
        int64_t start = pv_now();

        send_all(&p, block, sizeof(in));
        recv_all(&p, in, sizeof(in));
        if (i >= 0)
            t[i] = pv_now() - start;
    }
    pv_stream_close(p.s);
    qsort(t, N, sizeof(t[0]), by_value);
    printf("round trip of 64 bytes: p50 %.3f ms, p99 %.3f ms, max %.3f ms\n", (double)t[N / 2] / 1e6,
           (double)t[N * 99 / 100] / 1e6, (double)t[N - 1] / 1e6);
}

static void bench_throughput(size_t size, int runs)
{
    double to[64], from[64];
    uint64_t n = size;
    struct peer p;

    dial(&p, SINK_PORT);
    for (int i = 0; i < runs; i++) {
        int64_t start = pv_now();

        send_all(&p, &n, sizeof(n));
        send_all(&p, block, size);
        recv_u64(&p);
        to[i] = (double)size / 1e6 / ((double)(pv_now() - start) / 1e9);
    }
    pv_stream_close(p.s);
    dial(&p, SOURCE_PORT);
    for (int i = 0; i < runs; i++) {
        int64_t start = pv_now();

        send_all(&p, &n, sizeof(n));
        recv_all(&p, block, size);
        from[i] = (double)size / 1e6 / ((double)(pv_now() - start) / 1e9);
    }
    pv_stream_close(p.s);
    printf("%zu MiB, MB/s to guest:", size >> 20);
    for (int i = 0; i < runs; i++)
        printf(" %.0f", to[i]);
    printf("; from guest:");
    for (int i = 0; i < runs; i++)
        printf(" %.0f", from[i]);
    printf("\n");
}

static void bench(void)
{
    bench_round_trip();
    bench_throughput(1 << 20, 10);
    bench_throughput(BIG, 6);
    bench_round_trip();
}

static void step(const char *name, void (*fn)(void))
{
    int64_t start = pv_now();

    limit = pv_deadline(STEP_S * PV_NSEC_PER_SEC);
    fn();
    if (vsock->error)
        fail("%s: the device broke: %s", name, vsock->error_text);
    printf("%-12s ok  %6.0f ms\n", name, (double)(pv_now() - start) / 1e6);
    fflush(stdout);
}

static void test_sink(void)
{
    test_bulk(SINK_PORT);
}

static void test_slow(void)
{
    test_bulk(SLOW_PORT);
}

static void test_boot(void)
{
    wait_calls(1, "boot");
    if (called != HELLO)
        fail("the guest called with %llu", (unsigned long long)called);
    if (!pv_vsock_device_ready(vsock))
        fail("the guest called, but the device is not ready");
}

static void run_tests(void)
{
    step("boot", test_boot);
    step("echo", test_echo);
    step("sink", test_sink);
    step("slow sink", test_slow);
    step("source", test_source);
    step("half-close", test_half_close);
    step("refused", test_refused);
    step("drop", test_drop);
    step("many", test_many);
    step("wrap", test_wrap);
    step("restart", test_restart);
}

int main(int argc, char **argv)
{
    const char *dir = getenv("PROVIUM_GUEST_DIR");
    struct pv_err err = PV_ERR_INIT;

    if (!dir)
        skip("PROVIUM_GUEST_DIR does not say where vmlinuz and modules/ are");
    if (argc < 2)
        return 2;
    pv_log_init();
    limit = pv_deadline(STEP_S * PV_NSEC_PER_SEC);
    console = memfd_create("console", MFD_CLOEXEC);
    block = pv_xmalloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        block[i] = (uint8_t)(i * 13 + i / 251);
    loop = pv_loop_new(&err);
    vsock = loop ? pv_vsock_device_new(loop, CID, &err) : NULL;
    if (!vsock || pv_vsock_device_listen(vsock, HOST_PORT, accept_call, NULL) < 0)
        fail("%s", err.text);
    start_qemu(argv[1], dir, argc > 3 ? argv[3] : NULL);
    if (argc > 2) {
        test_boot();
        limit = PV_FOREVER;
        bench();
    } else {
        run_tests();
    }
    kill(qemu, SIGKILL);
    waitpid(qemu, NULL, 0);
    pv_vsock_device_free(vsock);
    pv_loop_free(loop);
    free(block);
    return 0;
}
