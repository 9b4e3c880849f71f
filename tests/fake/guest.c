/* SPDX-License-Identifier: MIT */
/* The guest: its end of the multiplexed channel, and an agent that replies at once. */
#include "tests/fake/qemu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/codec.h"
#include "wire/mux.h"
#include "wire/proto.h"

enum { FRAME_CAP = PV_FRAME_HEADER + PV_FRAME_MAX };

/* An open channel of the multiplexer: one session of the agent. */
static struct channel {
    bool open;
    uint8_t *in; /* FRAME_CAP bytes */
    size_t len;
    uint32_t consumed; /* bytes that no CREDIT was sent for */
    uint64_t written;  /* by the WRITE_FILE whose WDATA frames come */
} channels[PV_MUX_CHANNELS + 1];

static uint16_t current; /* the channel whose frame is handled */
static bool reboots;     /* after the packet that is handled */
static bool gone;        /* the agent: nothing is sent, and what comes is not read */
static bool restarts;    /* a new agent serves from the host's next HELLO on */
static size_t in_len;    /* bytes of the port that are no whole packet yet */

/* ---- packets ---- */

static void packet_send(unsigned type, uint16_t channel, const void *payload, uint32_t n)
{
    uint8_t head[PV_MUX_HEADER];

    fault_point(pv_mux_name(type));
    if (gone || (type == PV_MUX_DATA && !channels[channel].open))
        return;
    pv_mux_put_header(head, type, channel, n);
    fault_write(FD_AGENT, head, sizeof(head));
    fault_write(FD_AGENT, payload, n);
}

static void frame_send(struct pv_enc *e)
{
    size_t n = pv_enc_end(e);

    for (size_t at = 0; at < n; at += PV_MUX_MAX)
        packet_send(PV_MUX_DATA, current, e->p + at, (uint32_t)(n - at < PV_MUX_MAX ? n - at : PV_MUX_MAX));
}

static struct pv_enc frame_begin(unsigned type, uint32_t id)
{
    static uint8_t frame[FRAME_CAP];
    struct pv_enc e = {.p = frame, .cap = sizeof(frame)};

    pv_enc_begin(&e, type);
    pv_enc_u32(&e, id);
    return e;
}

static void send_bytes(unsigned type, uint32_t id, const void *data, size_t n)
{
    struct pv_enc e = frame_begin(type, id);

    pv_enc_bytes(&e, data, n);
    frame_send(&e);
}

static void send_ok(uint32_t id, uint64_t value)
{
    struct pv_enc e = frame_begin(PV_MSG_OK, id);

    pv_enc_u64(&e, value);
    frame_send(&e);
}

static void send_ready(void)
{
    struct pv_enc e = frame_begin(PV_MSG_READY, PV_WIRE_MAGIC);

    pv_enc_u32(&e, PV_WIRE_VERSION);
    pv_enc_u32(&e, 100 + current);
    pv_enc_bytes(&e, "fake", 4);
    frame_send(&e);
}

/* ---- requests ---- */

static void on_ping(uint32_t id, struct pv_dec *d)
{
    size_t n;
    const void *p = pv_dec_bytes(d, &n);

    send_bytes(PV_MSG_PONG, id, p, n);
}

/* The command "flood N" prints N MiB on the console. */
static void exec_flood(const char *command, size_t len)
{
    static char text[65536];
    const char *at = memmem(command, len, "flood ", 6);
    char number[16] = "";
    unsigned long n;

    if (!at)
        return;
    snprintf(number, sizeof(number), "%.*s", (int)(command + len - at - 6), at + 6);
    n = strtoul(number, NULL, 10) * (1 << 20) / sizeof(text);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 64 == 63 ? '\n' : 'x';
    for (unsigned long i = 0; i < n; i++)
        fault_write(FD_CONSOLE, text, sizeof(text));
}

static void on_exec(uint32_t id, struct pv_dec *d)
{
    struct pv_enc e;

    exec_flood((const char *)d->p, d->n);
    if (memmem(d->p, d->n, "hang", 4)) /* a command without an end */
        return;
    send_bytes(PV_MSG_STDOUT, id, "ok\n", 3);
    e = frame_begin(PV_MSG_EXIT, id);
    pv_enc_u32(&e, 0);
    pv_enc_u32(&e, 0);
    pv_enc_u32(&e, 0);
    pv_enc_u64(&e, 1000);
    frame_send(&e);
}

static void on_read(uint32_t id, struct pv_dec *d)
{
    (void)d;
    send_bytes(PV_MSG_DATA, id, "content", 7);
    send_ok(id, 7);
}

static void on_dmesg(uint32_t id, struct pv_dec *d)
{
    size_t n;
    const char *log = kernel_log(&n);

    (void)d;
    send_bytes(PV_MSG_DATA, id, log, n);
    send_ok(id, n);
}

static void on_write(uint32_t id, struct pv_dec *d)
{
    (void)id;
    (void)d;
    channels[current].written = 0;
}

static void on_wdata(uint32_t id, struct pv_dec *d)
{
    size_t n;

    pv_dec_bytes(d, &n);
    channels[current].written += n;
    if (!n)
        send_ok(id, channels[current].written);
}

static void on_resume(uint32_t id, struct pv_dec *d)
{
    struct timespec now;

    (void)d;
    clock_gettime(CLOCK_REALTIME, &now);
    send_ok(id, (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
}

static void on_status(uint32_t id, struct pv_dec *d)
{
    struct pv_enc e = frame_begin(PV_MSG_JOB_STATE, id);

    (void)d;
    for (int i = 0; i < 3; i++)
        pv_enc_u32(&e, 0);
    frame_send(&e);
}

static void on_shutdown(uint32_t id, struct pv_dec *d)
{
    reboots = pv_dec_u32(d) == PV_SHUTDOWN_REBOOT;
    send_ok(id, 0);
    if (!reboots)
        monitor_shutdown("guest-shutdown");
}

static void on_spawn(uint32_t id, struct pv_dec *d)
{
    struct pv_enc e = frame_begin(PV_MSG_WORKER, id);

    (void)d;
    pv_enc_u32(&e, PV_AGENT_PORT + 1);
    pv_enc_u32(&e, 200);
    frame_send(&e);
}

static void on_nothing(uint32_t id, struct pv_dec *d)
{
    (void)id;
    (void)d;
}

static const struct {
    unsigned type;
    void (*fn)(uint32_t id, struct pv_dec *d);
} requests[] = {
    {PV_MSG_PING, on_ping},     {PV_MSG_EXEC, on_exec},         {PV_MSG_READ_FILE, on_read},
    {PV_MSG_WDATA, on_wdata},   {PV_MSG_WRITE_FILE, on_write},  {PV_MSG_RESUME, on_resume},
    {PV_MSG_STATUS, on_status}, {PV_MSG_SHUTDOWN, on_shutdown}, {PV_MSG_CANCEL, on_nothing},
    {PV_MSG_SPAWN, on_spawn},   {PV_MSG_DMESG, on_dmesg},
};

static void send_refusal(uint32_t id, unsigned type)
{
    struct pv_enc e = frame_begin(PV_MSG_ERROR, id);
    const char *name = pv_msg_name(type);

    pv_enc_u32(&e, ENOSYS);
    pv_enc_bytes(&e, name, strlen(name));
    frame_send(&e);
}

static void on_frame(unsigned type, const uint8_t *payload, uint32_t n)
{
    struct pv_dec d = {.p = payload, .n = n};
    uint32_t id = pv_dec_u32(&d);

    fault_point(pv_msg_name(type));
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        if (requests[i].type == type) {
            requests[i].fn(id, &d);
            return;
        }
    send_refusal(id, type);
}

/* ---- the channel ---- */

static void channel_data(struct channel *c, const uint8_t *data, uint32_t n)
{
    uint8_t credit[4];
    unsigned type;
    uint32_t len;

    memcpy(c->in + c->len, data, n);
    c->len += n;
    c->consumed += n;
    if (c->consumed >= PV_MUX_GRANT) {
        pv_mux_put_u32(credit, c->consumed);
        c->consumed = 0;
        packet_send(PV_MUX_CREDIT, current, credit, 4);
    }
    while (c->open && !gone && c->len >= PV_FRAME_HEADER) {
        if (!pv_frame_header(c->in, &type, &len))
            exit(96);
        if (c->len - PV_FRAME_HEADER < len)
            break;
        on_frame(type, c->in + PV_FRAME_HEADER, len);
        c->len -= PV_FRAME_HEADER + len;
        memmove(c->in, c->in + PV_FRAME_HEADER + len, c->len);
    }
}

static void channel_close(struct channel *c)
{
    free(c->in);
    *c = (struct channel){0};
}

static void on_packet(const struct pv_mux_header *h, const uint8_t *payload)
{
    struct channel *c = &channels[h->channel];

    gone = gone && !(restarts && h->type == PV_MUX_HELLO);
    if (gone)
        return;
    current = h->channel;
    if (h->type != PV_MUX_DATA)
        fault_point(pv_mux_name(h->type));
    switch ((enum pv_mux_type)h->type) {
    case PV_MUX_HELLO:
        for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
            channel_close(&channels[i]);
        packet_send(PV_MUX_HELLO, 0, payload, h->length);
        break;
    case PV_MUX_OPEN:
        channel_close(c);
        *c = (struct channel){.open = true, .in = malloc(2 * FRAME_CAP)};
        packet_send(PV_MUX_OPENED, current, NULL, 0);
        send_ready();
        break;
    case PV_MUX_DATA:
        if (c->open)
            channel_data(c, payload, h->length);
        break;
    case PV_MUX_CLOSE:
        if (c->open)
            packet_send(PV_MUX_CLOSE, current, NULL, 0);
        channel_close(c);
        break;
    case PV_MUX_QUIESCE:
        packet_send(PV_MUX_QUIESCED, 0, payload + 4, 4);
        break;
    default:
        break;
    }
}

void guest_agent_ends(bool anew)
{
    gone = true;
    restarts = anew;
    monitor_event("VSERPORT_CHANGE", "{\"id\":\"agent\",\"open\":false}");
    if (anew)
        monitor_event("VSERPORT_CHANGE", "{\"id\":\"agent\",\"open\":true}");
}

void guest_sessions_end(void)
{
    for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
        if (channels[i].open) {
            packet_send(PV_MUX_CLOSE, (uint16_t)i, NULL, 0);
            channels[i].open = false; /* its buffer may be in use */
        }
}

void guest_reset(void)
{
    for (size_t i = 1; i <= PV_MUX_CHANNELS; i++)
        channel_close(&channels[i]);
    in_len = 0;
    reboots = gone = false;
}

void guest_read(void)
{
    static uint8_t in[2 * (PV_MUX_HEADER + PV_MUX_MAX)];
    ssize_t n = recv(FD_AGENT, in + in_len, sizeof(in) - in_len, 0);
    struct pv_mux_header h;

    if (n <= 0) {
        close(FD_AGENT);
        return;
    }
    in_len += (size_t)n;
    while (machine_runs && in_len >= PV_MUX_HEADER) {
        if (pv_mux_header(in, &h))
            exit(95);
        if (in_len - PV_MUX_HEADER < h.length)
            break;
        on_packet(&h, in + PV_MUX_HEADER);
        if (reboots) {
            monitor_reset("true", "guest-reset");
            return;
        }
        in_len -= PV_MUX_HEADER + h.length;
        memmove(in, in + PV_MUX_HEADER + h.length, in_len);
    }
}
