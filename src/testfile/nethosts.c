/* SPDX-License-Identifier: MIT */
/* A line that Provium has written ends with MARK, and is replaced with all others of its kind. */
#include "testfile/nethosts.h"

#include <errno.h>
#include <string.h>

#include "guest/agent.h"
#include "guest/guest.h"
#include "guest/life.h"
#include "testfile/nets.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/log.h"
#include "util/mem.h"
#include "wire/proto.h"

#define HOSTS "/etc/hosts"
#define MARK "# provium"
#define LIMIT (30 * PV_NSEC_PER_SEC)

static void lines_keep(const struct pv_buf *old, struct pv_buf *text)
{
    const char *line = old->data ? old->data : "", *end = line + old->len;

    while (line < end) {
        const char *nl = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)((nl ? nl : end) - line), mark = sizeof(MARK) - 1;

        if (n < mark || memcmp(line + n - mark, MARK, mark) != 0) {
            pv_buf_add(text, line, n);
            pv_buf_addc(text, '\n');
        }
        line += n + 1;
    }
}

static void lines_add(const struct tf_net *net, struct pv_buf *text)
{
    char ip[PV_IP_TEXT];

    for (const struct tf_net_end *e = net->ends; e; e = e->next)
        if (e->end && e->vm && e->ip.n)
            pv_buf_addf(text, "%s\t%s\t" MARK "\n", pv_ip_text(&e->ip, ip), pv_net_end_name(e->end));
}

static int hosts_write(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err)
{
    cleanup_buf struct pv_buf old = {0}, text = {0};
    struct pv_agent *a = pv_guest_agent(g);
    struct pv_err why = PV_ERR_INIT;

    if (pv_agent_read_file(a, HOSTS, LIMIT, &old, &why) < 0) {
        if (why.cls != PV_E_GUEST || why.errnum != ENOENT) {
            *err = why;
            return -1;
        }
        pv_buf_adds(&old, "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
    }
    lines_keep(&old, &text);
    for (const struct tf_net *net = tf->nets; net; net = net->next)
        if (net->hosts && pv_tf_net_end_on(g, net, NULL))
            lines_add(net, &text);
    if (text.len == old.len && !memcmp(text.data, old.data, old.len))
        return 0;
    return pv_agent_write_file(a, HOSTS, text.data, text.len, PV_MODE_KEEP, 0, LIMIT, err) < 0 ? -1 : 0;
}

static bool shares_network(const struct pv_testfile *tf, const struct pv_guest *a, const struct pv_guest *b)
{
    for (const struct tf_net *net = tf->nets; net; net = net->next)
        if (net->hosts && pv_tf_net_end_on(a, net, NULL) && pv_tf_net_end_on(b, net, NULL))
            return true;
    return false;
}

int pv_tf_hosts_update(struct pv_testfile *tf, struct pv_guest *g, struct pv_err *err)
{
    struct tf_guest *next;

    if (!shares_network(tf, g, g))
        return 0;
    if (hosts_write(tf, g, err) < 0)
        return pv_err_wrap(err, "cannot write " HOSTS " of %s", pv_guest_name(g));
    for (struct tf_guest *other = tf->guests.first; other; other = next) {
        struct pv_err why = PV_ERR_INIT;

        other->n_holds++; /* over calls, in which other tasks may drop VMs */
        if (other->g != g && pv_guest_serves(other->g) && shares_network(tf, g, other->g) &&
            hosts_write(tf, other->g, &why) < 0)
            pv_debug(other->name, "cannot write " HOSTS ": %s", why.text);
        next = other->next;
        other->n_holds--;
    }
    return 0;
}

int pv_tf_hosts_set_up(struct pv_nic_wire *w, struct pv_guest *g, int64_t deadline, struct pv_err *err)
{
    const struct tf_net_end *e = pv_tf_net_end_of(w);

    (void)deadline;
    return e->net->hosts && e->vm ? pv_tf_hosts_update(e->net->tf, g, err) : 0;
}
