/* SPDX-License-Identifier: MIT */
#include "util/test.h"

#include "guest/fake-agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/instance.h"
#include "loop/loop.h"
#include "transport/channel.h"
#include "transport/stream.h"
#include "util/path.h"
#include "vm/spec.h"

enum { SCRIPTS_MAX = 8, LIFETIME = 20 };

static struct {
    struct pv_guest_env env;
    struct pv_profile profile;
    struct pv_channel channel;
    fake_script scripts[SCRIPTS_MAX];
    pid_t pids[SCRIPTS_MAX];
    size_t n, used;
    char qemu[32];
    bool unready;
} fake;

void fake_check(int ok, const char *what)
{
    if (ok)
        return;
    dprintf(2, "the agent's side: %s is false\n", what);
    _exit(1);
}

static bool read_all(int fd, void *buf, size_t n)
{
    while (n) {
        ssize_t r = read(fd, buf, n);

        if (r <= 0)
            return false;
        buf = (char *)buf + r;
        n -= (size_t)r;
    }
    return true;
}

void fake_get(int fd, struct fake_req *r)
{
    uint8_t header[PV_FRAME_HEADER];
    uint32_t n;

    if (!read_all(fd, header, sizeof(header)))
        _exit(0);
    FAKE_CHECK(pv_frame_header(header, &r->type, &n));
    r->payload = pv_xmalloc(n + 1);
    if (!read_all(fd, r->payload, n))
        _exit(0);
    r->d = (struct pv_dec){.p = r->payload, .n = n};
    r->id = pv_dec_u32(&r->d);
}

void fake_expect(int fd, struct fake_req *r, unsigned type)
{
    fake_get(fd, r);
    fake_check(r->type == type, pv_msg_name(type));
}

struct pv_enc fake_begin(unsigned type, uint32_t id)
{
    static uint8_t frame[PV_FRAME_HEADER + PV_FRAME_MAX];
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, id);
    return e;
}

void fake_send(int fd, struct pv_enc *e)
{
    size_t n = pv_enc_end(e);

    FAKE_CHECK(n > 0);
    if (pv_write_all(fd, e->p, n) < 0)
        _exit(0); /* the host has closed the connection */
}

void fake_ok(int fd, uint32_t id, uint64_t value)
{
    struct pv_enc e = fake_begin(PV_MSG_OK, id);

    pv_enc_u64(&e, value);
    fake_send(fd, &e);
}

void fake_error(int fd, uint32_t id, uint32_t number, const char *what)
{
    struct pv_enc e = fake_begin(PV_MSG_ERROR, id);

    pv_enc_u32(&e, number);
    pv_enc_bytes(&e, what, strlen(what));
    fake_send(fd, &e);
}

void fake_serve_pings(int fd)
{
    for (;;) {
        struct fake_req r;
        struct pv_enc e;
        const void *p;
        size_t n;

        fake_get(fd, &r);
        if (r.type == PV_MSG_PING) {
            p = pv_dec_bytes(&r.d, &n);
            e = fake_begin(PV_MSG_PONG, r.id);
            pv_enc_bytes(&e, p, n);
            fake_send(fd, &e);
        }
        free(r.payload);
    }
}

static void run_script(int fd, size_t i)
{
    uint8_t buf[64];
    struct pv_enc e = {.p = buf, .cap = sizeof(buf)};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    alarm(LIFETIME);
    fcntl(fd, F_SETFL, 0);
    pv_enc_begin(&e, PV_MSG_READY);
    pv_enc_u32(&e, PV_WIRE_MAGIC);
    pv_enc_u32(&e, PV_WIRE_VERSION);
    pv_enc_u32(&e, 100 + (uint32_t)i);
    pv_enc_bytes(&e, "fake", 4);
    fake_send(fd, &e);
    fake.scripts[i](fd);
    _exit(0);
}

static struct pv_stream *fake_connect(struct pv_channel *c, unsigned port, struct pv_err *err)
{
    int sp[2];

    (void)c;
    (void)port;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sp), 0);
    if (fake.used < fake.n) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            close(sp[0]);
            run_script(sp[1], fake.used);
        }
        fake.pids[fake.used++] = pid;
    }
    close(sp[1]);
    return pv_stream_take_fd(fake.env.host.loop, sp[0], false, err);
}

static bool fake_ready(struct pv_channel *c)
{
    (void)c;
    return !fake.unready;
}

void fake_set_ready(bool ready)
{
    fake.unready = !ready;
}

static const char *fake_describe(struct pv_channel *c)
{
    (void)c;
    return "the fake is silent";
}

static void fake_channel_free(struct pv_channel *c)
{
    (void)c;
}

/* Writes the shell script that stands in for QEMU; it removes itself, so that a killed test leaves no file. */
static void write_qemu(const char *script)
{
    int fd;

    snprintf(fake.qemu, sizeof(fake.qemu), "/tmp/pv-fake-XXXXXX");
    fd = mkstemp(fake.qemu);
    assert_true(fd >= 0);
    assert_true(dprintf(fd, "#!/bin/sh\nrm -f \"$0\"\n%s\n", script) > 0);
    fchmod(fd, 0700);
    close(fd);
}

static struct pv_instance *start_instance(void)
{
    struct pv_vm_spec spec = {.name = "fake",
                              .qemu = fake.qemu,
                              .kernel = "/k",
                              .append = "",
                              .initrd_fd = -1,
                              .memory.size = 1 << 20,
                              .cpus = 1,
                              .unconfined = true};
    struct pv_instance *i = pv_instance_new(fake.env.host.loop, NULL);
    struct pv_err err = PV_ERR_INIT;

    pv_instance_set_channel(i, &fake.channel);
    if (pv_instance_start(i, &spec, NULL, &err) < 0)
        fail_msg("%s", err.text);
    return i;
}

struct pv_guest *fake_new_on(const char *qemu, const fake_script *scripts, size_t n)
{
    static const struct pv_channel_ops ops = {
        .connect = fake_connect, .ready = fake_ready, .describe = fake_describe, .free = fake_channel_free};
    struct pv_guest *g;

    assert_true(n <= SCRIPTS_MAX);
    memset(&fake, 0, sizeof(fake));
    for (size_t i = 0; i < n; i++)
        fake.scripts[i] = scripts[i];
    fake.n = n;
    fake.env.host.loop = pv_loop_new(NULL);
    fake.profile.name = (char *)"fake";
    fake.channel = (struct pv_channel){.ops = &ops,
                                       .cid = 3,
                                       .qemu_fd = open("/dev/null", O_RDWR | O_CLOEXEC),
                                       .kind = PV_CHANNEL_VHOST_VSOCK};
    write_qemu(qemu);
    g = pv_guest_new(&fake.env, &fake.profile);
    pv_guest_begin(g);
    pv_guest_adopt(g, start_instance());
    pv_guest_set_running(g);
    return g;
}

struct pv_guest *fake_new(const fake_script *scripts, size_t n)
{
    return fake_new_on("exec sleep 20", scripts, n);
}

void fake_free(struct pv_guest *g)
{
    int bad = 0, status;

    pv_guest_free(g);
    unlink(fake.qemu);
    for (size_t i = 0; i < fake.used; i++) {
        assert_int_equal(waitpid(fake.pids[i], &status, 0), fake.pids[i]);
        bad |= status;
    }
    pv_loop_free(fake.env.host.loop);
    assert_int_equal(bad, 0);
}
