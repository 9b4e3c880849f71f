/* SPDX-License-Identifier: MIT */
/*
 * libslirp asks for descriptors and a timeout (slirp_pollfds_fill), and wants to be told what came (slirp_pollfds_poll).
 * A *turn* does both, told first, at the end of the loop's round in which a descriptor was ready, a frame came or the
 * timeout passed; between turns the descriptors are watches of the loop.
 *
 * libslirp is not reentrant.  A frame that arrives while it sends one, from a port or a router that replied at once,
 * waits in the inbox for the next turn.
 */
#include "net/uplink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "loop/loop.h"
#include "net/answer.h"
#include "net/network.h"
#include "net/uplink-door.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/sock.h"

enum { INBOX_MAX = 256, ETHER = 14 };

/* A socket of libslirp. */
struct uplink_fd {
    struct pv_watch watch; /* fd -1 while libslirp waits for nothing there */
    struct pv_uplink *uplink;
    uint32_t wanted, came; /* EPOLL* */
    int fd;
    bool listens;
};

struct waiting {
    struct waiting *next;
    size_t n;
    uint8_t data[];
};

struct pv_uplink {
    Slirp *slirp;
    struct pv_loop *loop;
    struct pv_net_end *end;
    struct uplink_door door;
    uint32_t lease;
    unsigned n_leases;
    struct uplink_fd **fds; /* by descriptor, n_fds of them; NULL: none of libslirp's */
    unsigned n_fds, n_sockets, sockets_max;
    int newest; /* the descriptor that was registered last */
    struct pv_timer turn;
    bool busy; /* within libslirp */
    struct waiting *inbox, **inbox_end;
    unsigned n_inbox;
};

static uint32_t ip_number(const struct pv_ip *ip)
{
    uint32_t n;

    memcpy(&n, ip->addr, sizeof(n));
    return ntohl(n);
}

static struct in_addr ip_in(const struct pv_ip *ip)
{
    return (struct in_addr){.s_addr = htonl(ip_number(ip))};
}

static void turn_soon(struct pv_uplink *u)
{
    pv_timer_arm(u->loop, &u->turn, pv_now());
}

/* ---- descriptors ---- */

static const struct {
    int slirp;
    uint32_t epoll;
} poll_events[] = {{SLIRP_POLL_IN, EPOLLIN},
                   {SLIRP_POLL_OUT, EPOLLOUT},
                   {SLIRP_POLL_PRI, EPOLLPRI},
                   {SLIRP_POLL_ERR, EPOLLERR},
                   {SLIRP_POLL_HUP, EPOLLHUP}};

static void fd_ready(struct pv_watch *w, uint32_t events)
{
    struct uplink_fd *f = PV_CONTAINER_OF(w, struct uplink_fd, watch);

    f->came |= events;
    turn_soon(f->uplink);
}

static void fd_drop(struct pv_uplink *u, int fd)
{
    if ((unsigned)fd >= u->n_fds || !u->fds[fd])
        return;
    pv_loop_del(u->loop, &u->fds[fd]->watch);
    free(u->fds[fd]);
    u->fds[fd] = NULL;
    u->n_sockets--;
}

/* libslirp has opened a socket: it must block nothing and reach no program that the process starts. */
static void fd_register(int fd, void *arg)
{
    struct pv_uplink *u = arg;

    fd_drop(u, fd);
    pv_set_nonblocking(fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if ((unsigned)fd >= u->n_fds) {
        unsigned n = (unsigned)fd + 64;

        u->fds = pv_xrealloc(u->fds, n * sizeof(struct uplink_fd *));
        memset(u->fds + u->n_fds, 0, (n - u->n_fds) * sizeof(struct uplink_fd *));
        u->n_fds = n;
    }
    u->fds[fd] = pv_xcalloc(1, sizeof(struct uplink_fd));
    *u->fds[fd] = (struct uplink_fd){.watch = {.fd = -1, .fn = fd_ready}, .uplink = u, .fd = fd};
    u->newest = fd;
    u->n_sockets++;
    turn_soon(u);
}

static void fd_unregister(int fd, void *arg)
{
    fd_drop(arg, fd);
}

/* For slirp_pollfds_fill; the descriptor itself is the index. */
static int fd_want(int fd, int events, void *arg)
{
    struct pv_uplink *u = arg;

    if ((unsigned)fd >= u->n_fds || !u->fds[fd])
        fd_register(fd, u);
    for (size_t i = 0; i < PV_ARRAY_LEN(poll_events); i++)
        if (events & poll_events[i].slirp)
            u->fds[fd]->wanted |= poll_events[i].epoll;
    return fd;
}

static int fd_came(int fd, void *arg)
{
    const struct pv_uplink *u = arg;
    int events = 0;

    if ((unsigned)fd >= u->n_fds || !u->fds[fd])
        return 0;
    for (size_t i = 0; i < PV_ARRAY_LEN(poll_events); i++)
        if (u->fds[fd]->came & poll_events[i].epoll)
            events |= poll_events[i].slirp;
    return events;
}

static void fd_watch(struct uplink_fd *f)
{
    struct pv_err err = PV_ERR_INIT;

    if (!f->wanted || (f->listens && f->uplink->n_sockets >= f->uplink->sockets_max))
        pv_loop_del(f->uplink->loop, &f->watch);
    else if (f->watch.fd >= 0)
        pv_loop_set(f->uplink->loop, &f->watch, f->wanted);
    else if (pv_loop_add(f->uplink->loop, &f->watch, f->fd, f->wanted, &err) < 0)
        pv_debug("net", "uplink: %s", err.text);
}

/* ---- frames and turns ---- */

static void frame_input(struct pv_uplink *u, const uint8_t *frame, size_t n)
{
    u->busy = true;
    slirp_input(u->slirp, frame, (int)n);
    u->busy = false;
    turn_soon(u);
}

static void uplink_deliver(void *arg, const uint8_t *frame, size_t n)
{
    struct pv_uplink *u = arg;
    enum uplink_frame kind = uplink_judge(&u->door, frame, &n);
    struct waiting *w;

    if (kind == UPLINK_REFUSED || (kind == UPLINK_OPENS && u->n_sockets >= u->sockets_max))
        return;
    if (!u->busy) {
        frame_input(u, frame, n);
        return;
    }
    if (u->n_inbox == INBOX_MAX)
        return;
    w = pv_xmalloc(sizeof(*w) + n);
    *w = (struct waiting){.n = n};
    memcpy(w->data, frame, n);
    *u->inbox_end = w;
    u->inbox_end = &w->next;
    u->n_inbox++;
}

/* Takes the frames that wait now; what comes meanwhile waits for the next turn. */
static void inbox_empty(struct pv_uplink *u, bool input)
{
    struct waiting *w = u->inbox;

    u->inbox = NULL;
    u->inbox_end = &u->inbox;
    u->n_inbox = 0;
    while (w) {
        struct waiting *next = w->next;

        if (input)
            frame_input(u, w->data, w->n);
        free(w);
        w = next;
    }
}

static void uplink_turn(struct pv_timer *t)
{
    struct pv_uplink *u = PV_CONTAINER_OF(t, struct pv_uplink, turn);
    uint32_t timeout = UINT32_MAX;

    inbox_empty(u, true);
    u->busy = true;
    slirp_pollfds_poll(u->slirp, 0, fd_came, u);
    for (unsigned i = 0; i < u->n_fds; i++)
        if (u->fds[i])
            u->fds[i]->wanted = u->fds[i]->came = 0;
    slirp_pollfds_fill(u->slirp, &timeout, fd_want, u);
    u->busy = false;
    for (unsigned i = 0; i < u->n_fds; i++)
        if (u->fds[i])
            fd_watch(u->fds[i]);
    pv_timer_arm(u->loop, &u->turn,
                 u->inbox                ? pv_now()
                 : timeout == UINT32_MAX ? PV_FOREVER
                                         : pv_deadline(timeout * PV_NSEC_PER_MSEC));
}

/* libslirp's DHCP server counts PV_UPLINK_LEASES addresses from the first on, whether they are for it or not. */
static bool lease_is_foreign(const struct pv_uplink *u, const uint8_t *frame, size_t n)
{
    const uint8_t *ip = frame + ETHER, *udp, *bootp;
    uint32_t yours;

    if (n < ETHER + 20 || frame[12] != 8 || frame[13] != 0 || ip[9] != IPPROTO_UDP)
        return false;
    udp = ip + (ip[0] & 15) * 4;
    bootp = udp + 8;
    if (bootp + 20 > frame + n || udp[0] != 0 || udp[1] != 67)
        return false;
    memcpy(&yours, bootp + 16, sizeof(yours));
    yours = ntohl(yours);
    return yours != 0 && yours != INADDR_BROADCAST && yours - u->lease >= u->n_leases;
}

static ssize_t slirp_send(const void *frame, size_t n, void *arg)
{
    struct pv_uplink *u = arg;

    if (u->end && !lease_is_foreign(u, frame, n))
        pv_net_send(u->end, frame, n);
    return (ssize_t)n;
}

/* ---- libslirp's other calls ---- */

static void guest_error(const char *text, void *arg)
{
    (void)arg;
    pv_debug("net", "uplink: %s", text);
}

static void log_write(const gchar *domain, GLogLevelFlags level, const gchar *text, gpointer arg)
{
    (void)domain;
    (void)level;
    guest_error(text, arg);
}

static int64_t clock_ns(void *arg)
{
    (void)arg;
    return pv_now();
}

/* Its one timer is for router advertisements, and IPv6 is off. */
static void *timer_new(SlirpTimerCb cb, void *cb_arg, void *arg)
{
    (void)cb;
    (void)cb_arg;
    return arg;
}

static void timer_free(void *timer, void *arg)
{
    (void)timer;
    (void)arg;
}

static void timer_mod(void *timer, int64_t ms, void *arg)
{
    (void)timer;
    (void)ms;
    (void)arg;
}

static void slirp_notify(void *arg)
{
    turn_soon(arg);
}

/* ---- its life ---- */

static unsigned sockets_max(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur / 4 > PV_UPLINK_SOCKETS)
        return PV_UPLINK_SOCKETS;
    return (unsigned)(r.rlim_cur / 4);
}

static Slirp *slirp_start(struct pv_uplink *u, const struct pv_uplink_opts *o)
{
    static const SlirpCb calls = {.send_packet = slirp_send,
                                  .guest_error = guest_error,
                                  .clock_get_ns = clock_ns,
                                  .timer_new = timer_new,
                                  .timer_free = timer_free,
                                  .timer_mod = timer_mod,
                                  .register_poll_fd = fd_register,
                                  .unregister_poll_fd = fd_unregister,
                                  .notify = slirp_notify};
    SlirpConfig config = {.version = 4,
                          .restricted = o->restricted,
                          .in_enabled = true,
                          .vnetwork.s_addr = htonl(u->door.subnet),
                          .vnetmask.s_addr = htonl(u->door.mask),
                          .vhost = ip_in(&o->gateway),
                          .vnameserver = ip_in(&o->nameserver),
                          .vdhcp_start.s_addr = htonl(u->lease),
                          .if_mtu = o->mtu,
                          .if_mru = o->mtu,
                          .disable_host_loopback = true,
                          .disable_dhcp = o->n_leases == 0};

    return slirp_new(&config, &calls, u);
}

struct pv_uplink *pv_uplink_new(struct pv_net *net, const struct pv_uplink_opts *o, struct pv_err *err)
{
    static bool logs;
    struct pv_uplink *u = pv_xcalloc(1, sizeof(*u));
    struct pv_answerer self = {.mac = {0x52, 0x55}, .ip = o->gateway}; /* libslirp's MAC for an address */
    uint8_t frame[PV_ANNOUNCE_MAX];

    if (!logs)
        g_log_set_handler("Slirp", G_LOG_LEVEL_MASK | G_LOG_FLAG_FATAL | G_LOG_FLAG_RECURSION, log_write,
                          NULL);
    logs = true;
    u->loop = pv_net_loop(net);
    u->turn.fn = uplink_turn;
    u->inbox_end = &u->inbox;
    u->sockets_max = sockets_max();
    u->door.mask = UINT32_MAX << (32 - o->prefix);
    u->door.gateway = ip_number(&o->gateway);
    u->door.nameserver = ip_number(&o->nameserver);
    u->door.subnet = u->door.gateway & u->door.mask;
    u->lease = ip_number(&o->lease);
    u->n_leases = o->n_leases;
    memcpy(self.mac + 2, o->gateway.addr, 4);
    u->slirp = slirp_start(u, o);
    if (!u->slirp)
        pv_err_set(err, PV_E_HOST, "libslirp %s refuses its configuration", slirp_version_string());
    else
        u->end = pv_net_attach(net, o->name, self.mac, uplink_deliver, u, err);
    if (!u->end) {
        pv_uplink_free(u);
        return NULL;
    }
    pv_net_send(u->end, frame, pv_announce(&self, frame));
    turn_soon(u);
    return u;
}

void pv_uplink_free(struct pv_uplink *u)
{
    if (!u)
        return;
    pv_net_detach(u->end);
    u->end = NULL;
    if (u->slirp)
        slirp_cleanup(u->slirp);
    pv_timer_cancel(u->loop, &u->turn);
    inbox_empty(u, false);
    for (unsigned i = 0; i < u->n_fds; i++)
        fd_drop(u, (int)i);
    free(u->fds);
    free(u);
}

struct pv_net_end *pv_uplink_end(const struct pv_uplink *u)
{
    return u->end;
}

unsigned pv_uplink_sockets(const struct pv_uplink *u)
{
    return u->n_sockets;
}

int pv_uplink_forward(struct pv_uplink *u, struct pv_ip_port *host, const struct pv_ip_port *guest,
                      struct pv_err *err)
{
    char ip[PV_IP_TEXT];
    struct sockaddr_in at;
    socklen_t n = sizeof(at);
    uint32_t timeout = UINT32_MAX;
    int why = 0;

    errno = 0;
    if (slirp_add_hostfwd(u->slirp, 0, ip_in(&host->ip), host->port, ip_in(&guest->ip), guest->port) < 0)
        why = errno;
    u->newest = -1;
    slirp_pollfds_fill(u->slirp, &timeout, fd_want, u); /* which registers the descriptor */
    if (!why && getsockname(u->newest, (struct sockaddr *)&at, &n) < 0)
        why = errno;
    if (why)
        return pv_err_sys(err, why, "cannot forward from port %s:%u of the host%s", pv_ip_text(&host->ip, ip),
                          host->port, why == EADDRINUSE ? ", which is taken (port 0 takes a free one)" : "");
    u->fds[u->newest]->listens = true;
    host->port = ntohs(at.sin_port);
    return 0;
}
