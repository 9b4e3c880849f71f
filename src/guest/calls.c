/* SPDX-License-Identifier: MIT */
/*
 * Requests to the agent.  Each is: check the state, make sure of the conversation, encode, then wait while
 * the session hands over the frames of the answer.  A call that runs into its deadline is cancelled; when the
 * agent does not even acknowledge that, the conversation is dropped and the next call begins a new one.
 */
#include "guest/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "transport/stream.h"
#include "util/clock.h"
#include "vm/vm.h"

#define CONNECT_LIMIT (10 * PV_NSEC_PER_SEC)
#define CANCEL_LIMIT (3 * PV_NSEC_PER_SEC)
/* The agent itself ends a command at its timeout; the host's own clock is only the second line. */
#define EXEC_GRACE (5 * PV_NSEC_PER_SEC)

/* More than this from one command or file is taken for a guest that wants to fill the host's memory. */
static const size_t max_answer = (size_t)4 << 30;

struct call {
    struct pv_session *s;
    uint64_t value;       /* from OK */
    struct pv_err failed; /* from ERROR; class none while there was none */
    struct pv_buf *out, *err;
    struct pv_exec_result *exit; /* from EXIT */
    size_t echo_len;             /* PONG: what must come back */
    const void *echo;
    /* What is streamed to the guest. */
    enum pv_msg chunk_type;
    const char *data;
    size_t left;
    bool eof_due;
};

static bool call_done(void *arg)
{
    const struct call *c = arg;

    return c->s->state == PV_SESSION_BROKEN || (c->s->answered && pv_session_drained(c->s) && !c->eof_due);
}

/* Chunks of c->data, then an empty one. After the answer has come only the empty one is still sent. */
static bool call_chunk(void *arg, struct pv_session *s)
{
    struct call *c = arg;
    size_t n = c->left < PV_CHUNK ? c->left : PV_CHUNK;

    if (!c->eof_due)
        return false;
    if (s->answered)
        n = 0;
    pv_session_chunk(s, c->chunk_type, c->data, n);
    if (n == 0)
        c->eof_due = false;
    c->data += n;
    c->left -= n;
    return true;
}

static int add_data(struct pv_buf *buf, struct pv_dec *d, struct pv_err *err)
{
    size_t n;
    const void *p = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed data frame");
    if (n > max_answer - buf->len)
        return pv_err_set(err, PV_E_PROTOCOL, "the guest sent more than 4 GiB");
    pv_buf_add(buf, p, n);
    return 0;
}

static int on_exit_frame(struct call *c, struct pv_dec *d, struct pv_err *err)
{
    uint32_t code = pv_dec_u32(d), sig = pv_dec_u32(d), flags = pv_dec_u32(d);
    uint64_t duration = pv_dec_u64(d);

    if (!pv_dec_done(d) || code > 255 || sig > 64 || duration > INT64_MAX)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed EXIT");
    c->exit->exit_code = (int)code;
    c->exit->signal = (int)sig;
    c->exit->timed_out = flags & PV_EXIT_TIMED_OUT;
    c->exit->duration_ns = (int64_t)duration;
    return 1;
}

static int on_error_frame(struct call *c, struct pv_dec *d, struct pv_err *err)
{
    uint32_t number = pv_dec_u32(d);
    char what[PV_PATH_MAX + 64];

    pv_dec_str(d, what, sizeof(what));
    if (!pv_dec_done(d) || number > 4095)
        return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed ERROR");
    pv_err_set_at(&c->failed, PV_E_GUEST, (int)number, __FILE__, __LINE__, "%s", what);
    return 1;
}

static int on_pong(struct call *c, struct pv_dec *d, struct pv_err *err)
{
    size_t n;
    const void *p = pv_dec_bytes(d, &n);

    if (!pv_dec_done(d) || n != c->echo_len || (n && memcmp(p, c->echo, n) != 0))
        return pv_err_set(err, PV_E_PROTOCOL, "the agent echoed other bytes than it was sent");
    return 1;
}

static int on_frame(void *arg, enum pv_msg type, struct pv_dec *d, struct pv_err *err)
{
    struct call *c = arg;

    switch (type) {
    case PV_MSG_OK:
        c->value = pv_dec_u64(d);
        if (!pv_dec_done(d))
            return pv_err_set(err, PV_E_PROTOCOL, "the agent sent a malformed OK");
        if (c->exit || c->echo)
            break;
        return 1;
    case PV_MSG_ERROR:
        return on_error_frame(c, d, err);
    case PV_MSG_DATA:
    case PV_MSG_STDOUT:
        if (!c->out || (type == PV_MSG_STDOUT) != (c->exit != NULL))
            break;
        return add_data(c->out, d, err);
    case PV_MSG_STDERR:
        if (!c->err)
            break;
        return add_data(c->err, d, err);
    case PV_MSG_EXIT:
        if (!c->exit)
            break;
        return on_exit_frame(c, d, err);
    case PV_MSG_PONG:
        if (!c->echo)
            break;
        return on_pong(c, d, err);
    default:
        break;
    }
    return pv_err_set(err, PV_E_PROTOCOL, "the agent sent %s, which is no answer to this request",
                      pv_msg_name(type));
}

/* Begins a call: the encoder is ready for the request's fields. */
static int call_begin(struct pv_guest *g, struct call *c, enum pv_msg type, const char *what,
                      struct pv_enc *e, struct pv_err *err)
{
    if (pv_guest_check_running(g, what, err) < 0)
        return -1;
    if (g->session && g->session->state != PV_SESSION_OPEN) {
        pv_session_free(g->session);
        g->session = NULL;
    }
    if (pv_guest_connect(g, pv_deadline(CONNECT_LIMIT), err) < 0)
        return -1;
    c->s = g->session;
    pv_session_begin(c->s, e, type);
    c->s->on_frame = on_frame;
    c->s->arg = c;
    return 0;
}

/* The deadline passed: cancel, and if even that is not answered drop the conversation. */
static int give_up(struct pv_guest *g, struct call *c, const char *what, int64_t timeout_ns,
                   struct pv_err *err)
{
    int r;

    c->eof_due = false;
    pv_session_cancel(c->s);
    r = pv_guest_wait(g, call_done, c, pv_deadline(CANCEL_LIMIT), err);
    if (r < 0)
        return -1;
    pv_err_set(err, PV_E_TIMEOUT, "%s on %s: no answer within %.3g s", what, g->name,
               (double)timeout_ns / 1e9);
    if (r > 0) {
        pv_session_break(c->s, err);
        pv_guest_add_console(g, err);
    }
    return -1;
}

/* Sends and waits. timeout_ns 0: no limit of its own. */
static int call_finish(struct pv_guest *g, struct call *c, struct pv_enc *e, const char *what,
                       int64_t timeout_ns, struct pv_err *err)
{
    int r;

    if (g->env->phase)
        g->env->phase(g->name, what, g->env->arg);
    if (c->eof_due)
        c->s->next_chunk = call_chunk;
    if (pv_session_send(c->s, e, err) < 0)
        return pv_err_wrap(err, "%s", what);
    r = pv_guest_wait(g, call_done, c, timeout_ns ? pv_deadline(timeout_ns) : PV_FOREVER, err);
    if (r > 0)
        r = give_up(g, c, what, timeout_ns, err);
    else if (r == 0 && c->s->state == PV_SESSION_BROKEN) {
        if (err)
            *err = c->s->err;
        pv_err_wrap(err, "%s on %s", what, g->name);
        pv_guest_add_console(g, err);
        r = -1;
    }
    if (g->session) /* gone when the guest died */
        pv_session_end(g->session);
    if (r < 0)
        return -1;
    if (c->failed.cls != PV_E_NONE) {
        if (err)
            *err = c->failed;
        return -1;
    }
    return 0;
}

static void enc_str(struct pv_enc *e, const char *s)
{
    pv_enc_bytes(e, s, strlen(s));
}

/* The environment of a command: defaults, then the profile's, then the call's; a later KEY replaces. */
static void put_env(struct pv_strv *env, const char *entry)
{
    size_t key = strcspn(entry, "=") + 1;

    for (size_t i = 0; i < env->n; i++)
        if (!strncmp(env->v[i], entry, key)) {
            free(env->v[i]);
            env->v[i] = pv_xstrdup(entry);
            return;
        }
    pv_strv_add(env, entry);
}

static void make_env(const struct pv_guest *g, const struct pv_exec *x, struct pv_strv *env)
{
    static const char *const defaults[] = {
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb",
        "LANG=C.UTF-8"};

    for (size_t i = 0; i < PV_ARRAY_LEN(defaults); i++)
        put_env(env, defaults[i]);
    for (size_t i = 0; i < g->profile->env.n; i++)
        put_env(env, g->profile->env.v[i]);
    for (size_t i = 0; i < x->env.n; i++)
        put_env(env, x->env.v[i]);
}

void pv_exec_result_fini(struct pv_exec_result *r)
{
    pv_buf_free(&r->out);
    pv_buf_free(&r->err);
}

int pv_guest_exec(struct pv_guest *g, const struct pv_exec *x, struct pv_exec_result *r, struct pv_err *err)
{
    struct call c = {.out = &r->out, .err = &r->err, .exit = r, .chunk_type = PV_MSG_STDIN};
    cleanup_strv struct pv_strv env = {0};
    struct pv_enc e;

    if (x->argv.n == 0)
        return pv_err_set(err, PV_E_USAGE, "exec: the command is empty");
    if (x->argv.n > PV_ARGS_MAX)
        return pv_err_set(err, PV_E_USAGE, "exec: more than %d arguments", PV_ARGS_MAX);
    if (call_begin(g, &c, PV_MSG_EXEC, "exec", &e, err) < 0)
        return -1;
    make_env(g, x, &env);
    pv_enc_u32(&e, x->in ? PV_EXEC_STDIN : 0);
    pv_enc_u64(&e, (uint64_t)((x->timeout_ns + PV_NSEC_PER_MSEC - 1) / PV_NSEC_PER_MSEC));
    enc_str(&e, x->cwd ? x->cwd : "");
    pv_enc_u32(&e, (uint32_t)x->argv.n);
    for (size_t i = 0; i < x->argv.n; i++)
        enc_str(&e, x->argv.v[i]);
    pv_enc_u32(&e, (uint32_t)env.n);
    for (size_t i = 0; i < env.n; i++)
        enc_str(&e, env.v[i]);
    if (x->in) {
        c.data = x->in;
        c.left = x->in_len;
        c.eof_due = true;
    }
    return call_finish(g, &c, &e, "exec", x->timeout_ns ? x->timeout_ns + EXEC_GRACE : 0, err);
}

static int check_path(const char *path, struct pv_err *err)
{
    if (path[0] == '\0' || strlen(path) >= PV_PATH_MAX)
        return pv_err_set(err, PV_E_USAGE, "a guest path must have 1 to %d bytes, this one has %zu",
                          PV_PATH_MAX - 1, strlen(path));
    return 0;
}

int pv_guest_read_file(struct pv_guest *g, const char *path, int64_t timeout_ns, struct pv_buf *out,
                       struct pv_err *err)
{
    struct call c = {.out = out};
    struct pv_enc e;

    if (check_path(path, err) < 0 || call_begin(g, &c, PV_MSG_READ_FILE, "read_file", &e, err) < 0)
        return -1;
    enc_str(&e, path);
    if (call_finish(g, &c, &e, "read_file", timeout_ns, err) < 0)
        return -1;
    if (c.value != out->len)
        return pv_err_set(err, PV_E_PROTOCOL, "read_file '%s': the agent says %" PRIu64 " bytes and sent %zu",
                          path, c.value, out->len);
    return 0;
}

int pv_guest_write_file(struct pv_guest *g, const char *path, const void *data, size_t n, uint32_t mode,
                        int64_t timeout_ns, struct pv_err *err)
{
    struct call c = {.chunk_type = PV_MSG_WDATA, .data = data, .left = n, .eof_due = true};
    struct pv_enc e;

    if (check_path(path, err) < 0 || call_begin(g, &c, PV_MSG_WRITE_FILE, "write_file", &e, err) < 0)
        return -1;
    pv_enc_u32(&e, mode);
    enc_str(&e, path);
    if (call_finish(g, &c, &e, "write_file", timeout_ns, err) < 0)
        return -1;
    if (c.value != n)
        return pv_err_set(err, PV_E_GUEST, "write_file '%s': only %" PRIu64 " of %zu bytes were written",
                          path, c.value, n);
    return 0;
}

int pv_guest_mount_vfs(struct pv_guest *g, int64_t timeout_ns, struct pv_err *err)
{
    struct call c = {0};
    struct pv_enc e;

    if (call_begin(g, &c, PV_MSG_MOUNT_VFS, "mount_vfs", &e, err) < 0)
        return -1;
    return call_finish(g, &c, &e, "mount_vfs", timeout_ns, err);
}

int pv_guest_ask_shutdown(struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    struct call c = {0};
    struct pv_enc e;
    int64_t left;

    if (call_begin(g, &c, PV_MSG_SHUTDOWN, "shutdown", &e, err) < 0)
        return -1;
    pv_enc_u32(&e, PV_SHUTDOWN_POWEROFF);
    left = deadline - pv_now();
    return call_finish(g, &c, &e, "shutdown", left > CANCEL_LIMIT ? left - CANCEL_LIMIT : 1, err);
}

int pv_guest_ping(struct pv_guest *g, const void *data, size_t n, int64_t timeout_ns, struct pv_err *err)
{
    struct call c = {.echo = data, .echo_len = n};
    struct pv_enc e;

    if (call_begin(g, &c, PV_MSG_PING, "ping", &e, err) < 0)
        return -1;
    pv_enc_bytes(&e, data, n);
    return call_finish(g, &c, &e, "ping", timeout_ns, err);
}
