/* SPDX-License-Identifier: MIT */
#include "vm/qmp.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/sock.h"

enum { READ_SIZE = 65536, READS_AT_ONCE = 16, ARGUMENTS_MAX = 1 << 20, TEXT_MAX = 512, POSTS = 3 };

enum state {
    QMP_GREETING,    /* waits for the greeting */
    QMP_NEGOTIATING, /* waits for the reply to qmp_capabilities */
    QMP_READY,
    QMP_BROKEN
};

struct pv_qmp {
    struct pv_loop *loop;
    struct pv_watch watch;
    int fd;
    int passed; /* descriptor for the next bytes sent, or -1; borrowed */
    enum state state;
    bool was_ready; /* stays true when it breaks later */
    bool ended;     /* broken because the peer closed */
    char fault[TEXT_MAX];

    struct pv_buf in, out;
    size_t scanned; /* bytes of `in` that hold no newline */

    json_int_t next_id;
    json_int_t waiting; /* id of the call that waits, 0: none */
    json_t *reply;      /* the whole message that replies to it */

    struct {
        json_int_t id; /* of a pv_qmp_post whose reply is due, 0: none */
        pv_qmp_reply_fn *on_reply;
    } posted[POSTS];

    pv_qmp_event_fn *on_event;
    void *arg;
};

static void json_cleanup(json_t **j)
{
    json_decref(*j);
}
#define cleanup_json __attribute__((cleanup(json_cleanup)))

static void qmp_break(struct pv_qmp *q, bool ended, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void qmp_break(struct pv_qmp *q, bool ended, const char *fmt, ...)
{
    va_list ap;

    if (q->state == QMP_BROKEN)
        return;
    va_start(ap, fmt);
    vsnprintf(q->fault, sizeof(q->fault), fmt, ap);
    va_end(ap);
    pv_debug("qmp", "ends: %s", q->fault);
    q->state = QMP_BROKEN;
    q->ended = ended;
    pv_loop_del(q->loop, &q->watch);
    pv_close(&q->fd);
    pv_buf_free(&q->in);
    pv_buf_free(&q->out);
}

/* ---- sending ---- */

/* SCM_RIGHTS goes with the first byte. */
static ssize_t output_send(struct pv_qmp *q)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = "";
    struct iovec iov = {q->out.data, q->out.len};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (q->passed >= 0) {
        struct cmsghdr *c;

        m.msg_control = control;
        m.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &q->passed, sizeof(int));
    }
    n = sendmsg(q->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        q->passed = -1;
    return n;
}

static void output_flush(struct pv_qmp *q)
{
    while (q->state != QMP_BROKEN && q->out.len) {
        ssize_t n = output_send(q);

        if (n > 0) {
            pv_buf_consume(&q->out, (size_t)n);
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            /* The socket still holds what QEMU sent before its end; the reader sees that end. */
            q->out.len = 0;
            break;
        }
        qmp_break(q, false, "cannot write to QEMU's monitor: %s", strerror(errno));
    }
    if (q->state != QMP_BROKEN)
        pv_loop_set(q->loop, &q->watch, q->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* `arguments` may be NULL.  Returns the id that the command was sent with. */
static json_int_t command_send(struct pv_qmp *q, const char *command, json_t *arguments)
{
    json_int_t id = ++q->next_id;
    cleanup_json json_t *message =
        json_pack("{s:s, s:O*, s:I}", "execute", command, "arguments", arguments, "id", id);
    char *text = json_dumps(message, JSON_COMPACT);

    pv_debug("qmp", "-> %.400s", text);
    pv_buf_adds(&q->out, text);
    pv_buf_addc(&q->out, '\n');
    free(text);
    output_flush(q);
    return id;
}

bool pv_qmp_post(struct pv_qmp *q, const char *command, const char *arguments, pv_qmp_reply_fn *on_reply)
{
    cleanup_json json_t *args = arguments ? json_loads(arguments, 0, NULL) : NULL;
    size_t i = 0;

    while (i < POSTS && q->posted[i].id)
        i++;
    if (q->state != QMP_READY || i == POSTS)
        return false;
    q->posted[i].on_reply = on_reply;
    q->posted[i].id = command_send(q, command, args);
    return true;
}

/* ---- receiving ---- */

static void on_reply_message(struct pv_qmp *q, json_t *message)
{
    const json_t *id = json_object_get(message, "id");
    const json_t *error = json_object_get(message, "error");

    if (q->state == QMP_NEGOTIATING) {
        if (error)
            qmp_break(q, false, "QEMU's monitor refuses qmp_capabilities");
        else
            q->state = QMP_READY;
        q->was_ready = !error;
        return;
    }
    if (q->waiting && json_is_integer(id) && json_integer_value(id) == q->waiting) {
        q->waiting = 0;
        q->reply = json_incref(message);
        return;
    }
    for (size_t i = 0; json_is_integer(id) && i < POSTS; i++)
        if (q->posted[i].id && json_integer_value(id) == q->posted[i].id) {
            q->posted[i].id = 0;
            q->posted[i].on_reply(q->arg, json_object_get(message, "return"));
            return;
        }
    pv_debug("qmp", "dropped a reply without a call");
}

static void on_message(struct pv_qmp *q, json_t *message)
{
    const json_t *event = json_object_get(message, "event"), *data = json_object_get(message, "data");

    if (q->state == QMP_GREETING) {
        if (!json_is_object(json_object_get(message, "QMP"))) {
            qmp_break(q, false, "QEMU's monitor does not begin with a greeting");
            return;
        }
        q->state = QMP_NEGOTIATING;
        command_send(q, "qmp_capabilities", NULL);
    } else if (json_is_string(event)) {
        if (q->on_event)
            q->on_event(q->arg, json_string_value(event), json_is_object(data) ? data : NULL);
    } else if (json_object_get(message, "return") || json_is_object(json_object_get(message, "error"))) {
        on_reply_message(q, message);
    } else {
        qmp_break(q, false, "QEMU's monitor sent a message that is no reply and no event");
    }
}

static void on_line(struct pv_qmp *q, const char *line, size_t n)
{
    json_error_t why;
    cleanup_json json_t *message = NULL;

    while (n && (line[n - 1] == '\r' || line[n - 1] == ' '))
        n--;
    if (!n)
        return;
    pv_debug("qmp", "<- %.*s", n > 400 ? 400 : (int)n, line);
    message = json_loadb(line, n, 0, &why);
    if (!json_is_object(message))
        qmp_break(q, false, "QEMU's monitor sent a line that is no JSON object: %.200s",
                  message ? "another value" : why.text);
    else
        on_message(q, message);
}

/* Handles all whole lines in `in`. */
static void lines_take(struct pv_qmp *q)
{
    size_t at = 0;

    while (q->state != QMP_BROKEN && q->scanned < q->in.len) {
        char *nl = memchr(q->in.data + q->scanned, '\n', q->in.len - q->scanned);
        size_t end;

        if (!nl) {
            q->scanned = q->in.len;
            break;
        }
        end = (size_t)(nl - q->in.data);
        q->scanned = end + 1;
        on_line(q, q->in.data + at, end - at);
        at = end + 1;
    }
    if (q->state == QMP_BROKEN)
        return;
    pv_buf_consume(&q->in, at);
    q->scanned -= at;
    if (q->in.len > PV_QMP_LINE_MAX)
        qmp_break(q, false, "QEMU's monitor sent a line longer than %d bytes", PV_QMP_LINE_MAX);
}

void pv_qmp_drain(struct pv_qmp *q)
{
    for (int i = 0; q->state != QMP_BROKEN && i < READS_AT_ONCE; i++) {
        ssize_t n = pv_recv(q->fd, pv_buf_reserve(&q->in, READ_SIZE), READ_SIZE);

        if (n > 0) {
            q->in.len += (size_t)n;
            lines_take(q);
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else {
            qmp_break(q, true, "QEMU has closed its monitor");
        }
    }
}

static void on_socket(struct pv_watch *w, uint32_t events)
{
    struct pv_qmp *q = PV_CONTAINER_OF(w, struct pv_qmp, watch);

    if (events & EPOLLOUT)
        output_flush(q);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        pv_qmp_drain(q);
}

/* ---- the owner's side ---- */

struct pv_qmp *pv_qmp_take_fd(struct pv_loop *loop, int fd, pv_qmp_event_fn *on_event, void *arg,
                              struct pv_err *err)
{
    struct pv_qmp *q = pv_xcalloc(1, sizeof(*q));

    q->loop = loop;
    q->fd = fd;
    q->on_event = on_event;
    q->arg = arg;
    q->passed = -1;
    q->watch.fd = -1;
    q->watch.fn = on_socket;
    if (pv_loop_add(loop, &q->watch, fd, EPOLLIN, err) < 0) {
        pv_qmp_free(q);
        return NULL;
    }
    return q;
}

void pv_qmp_free(struct pv_qmp *q)
{
    if (!q)
        return;
    pv_loop_del(q->loop, &q->watch);
    pv_close(&q->fd);
    pv_buf_free(&q->in);
    pv_buf_free(&q->out);
    json_decref(q->reply);
    free(q);
}

bool pv_qmp_was_ready(const struct pv_qmp *q)
{
    return q->was_ready;
}

const char *pv_qmp_fault(const struct pv_qmp *q)
{
    return q->state == QMP_BROKEN ? q->fault : NULL;
}

static bool negotiation_is_over(void *arg)
{
    const struct pv_qmp *q = arg;

    return q->state == QMP_READY || q->state == QMP_BROKEN;
}

static bool call_is_over(void *arg)
{
    const struct pv_qmp *q = arg;

    return q->reply || q->state == QMP_BROKEN;
}

static int fail_qmp_broken(const struct pv_qmp *q, const char *command, struct pv_err *err)
{
    return pv_err_set(err, q->ended ? PV_E_GUEST_DIED : PV_E_PROTOCOL, "QMP command '%s': %s", command,
                      q->fault);
}

/* *arguments stays NULL for none. */
static int arguments_parse(const char *command, const char *text, json_t **arguments, struct pv_err *err)
{
    json_error_t why;

    if (!text)
        return 0;
    if (strlen(text) > ARGUMENTS_MAX)
        return pv_err_set(err, PV_E_USAGE, "QMP command '%s': its arguments are longer than %d bytes",
                          command, ARGUMENTS_MAX);
    *arguments = json_loads(text, 0, &why);
    if (!json_is_object(*arguments))
        return pv_err_set(err, PV_E_USAGE, "QMP command '%s': its arguments are no JSON object: %s", command,
                          *arguments ? "another value" : why.text);
    return 0;
}

static int reply_read(const json_t *message, const char *command, char **reply, struct pv_err *err)
{
    const json_t *error = json_object_get(message, "error");
    const char *desc = json_string_value(json_object_get(error, "desc"));

    if (error)
        return pv_err_set(err, PV_E_HOST, "QMP command '%s': QEMU says: %.1000s", command,
                          desc ? desc : "(nothing)");
    if (reply) {
        char *text = json_dumps(json_object_get(message, "return"), JSON_COMPACT | JSON_ENCODE_ANY);

        *reply = pv_xstrdup(text ? text : "null");
        free(text);
    }
    return 0;
}

/* A command that takes a descriptor along. */
static int call_with_fd(struct pv_qmp *q, const char *command, const char *arguments, int fd,
                        int64_t deadline, struct pv_err *err)
{
    int r = pv_loop_run(q->loop, negotiation_is_over, q, deadline, err);

    if (r < 0)
        return -1;
    if (r == 0 && q->state == QMP_READY) {
        q->passed = fd;
        r = pv_qmp_call(q, command, arguments, NULL, deadline, err);
        q->passed = -1;
        return r;
    }
    return q->state == QMP_BROKEN
               ? fail_qmp_broken(q, command, err)
               : pv_err_set(err, PV_E_TIMEOUT, "QMP command '%s': QEMU did not reply in time", command);
}

int pv_qmp_pass(struct pv_qmp *q, int fd, const char *name, int64_t deadline, struct pv_err *err)
{
    cleanup_free char *arguments = pv_xasprintf("{\"fdname\":\"%s\"}", name);

    return call_with_fd(q, "getfd", arguments, fd, deadline, err);
}

int pv_qmp_add_fd(struct pv_qmp *q, int fd, unsigned set, int64_t deadline, struct pv_err *err)
{
    cleanup_free char *arguments = pv_xasprintf("{\"fdset-id\":%u}", set);

    return call_with_fd(q, "add-fd", arguments, fd, deadline, err);
}

int pv_qmp_call(struct pv_qmp *q, const char *command, const char *arguments, char **reply, int64_t deadline,
                struct pv_err *err)
{
    cleanup_json json_t *args = NULL, *message = NULL;
    int r;

    if (arguments_parse(command, arguments, &args, err) < 0)
        return -1;
    r = pv_loop_run(q->loop, negotiation_is_over, q, deadline, err);
    if (r == 0 && q->state == QMP_READY) {
        q->waiting = command_send(q, command, args);
        r = pv_loop_run(q->loop, call_is_over, q, deadline, err);
    }
    q->waiting = 0;
    message = pv_steal(&q->reply);
    if (r < 0)
        return -1;
    if (message)
        return reply_read(message, command, reply, err);
    if (q->state == QMP_BROKEN)
        return fail_qmp_broken(q, command, err);
    return pv_err_set(err, PV_E_TIMEOUT, "QMP command '%s': QEMU did not reply in time", command);
}
