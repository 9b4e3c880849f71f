/* SPDX-License-Identifier: MIT */
#include "testfile/netreport.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/capture.h"
#include "net/describe.h"
#include "testfile/nets.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/mem.h"
#include "util/path.h"

/* ---- the last frames ---- */

static void frame_add(void *arg, int64_t wall_ns, const void *frame, size_t n, const char *comment)
{
    static const char prefix[] = "provium: ";
    time_t seconds = (time_t)(wall_ns / PV_NSEC_PER_SEC);
    struct pv_buf *out = arg;
    struct tm tm;

    localtime_r(&seconds, &tm);
    pv_buf_addf(out, "%02d:%02d:%02d.%06d ", tm.tm_hour, tm.tm_min, tm.tm_sec,
                (int)(wall_ns % PV_NSEC_PER_SEC / 1000));
    pv_frame_describe(frame, n, out);
    if (!strncmp(comment, prefix, sizeof(prefix) - 1))
        comment += sizeof(prefix) - 1;
    pv_buf_addf(out, " (%.200s)\n", comment);
}

/* -1 with errno. */
static int file_write(const char *path, const struct pv_buf *data)
{
    cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    return fd < 0 ? -1 : pv_write_all(fd, data->data, data->len);
}

static void net_keep(struct pv_testfile *tf, struct tf_net *net, uint32_t test_id)
{
    const char *name = pv_net_name(net->net);
    cleanup_free char *track = pv_xasprintf(PV_NETWORK_LOG "%s", name), *path = NULL;
    cleanup_buf struct pv_buf file = {0}, words = {0};

    if (net->frames_kept == pv_net_frames(net->net) || !pv_net_kept(net->net, &file))
        return;
    net->frames_kept = pv_net_frames(net->net);
    pv_net_kept_each(net->net, TF_NET_FRAMES_SHOWN, frame_add, &words);
    if (words.len)
        pv_result_console(tf->env->result, test_id, track, words.data);
    if (!tf->env->log_dir || net->n_kept == TF_NET_KEPT_FILES)
        return;
    path = net->n_kept++ ? pv_xasprintf("%s/%s-%u.pcapng", tf->env->log_dir, name, net->n_kept)
                         : pv_xasprintf("%s/%s.pcapng", tf->env->log_dir, name);
    if (file_write(path, &file) < 0)
        pv_debug("net", "cannot keep '%s': %s", path, strerror(errno));
    else
        pv_result_log(tf->env->result, track, path);
}

void pv_tf_nets_keep(struct pv_testfile *tf, uint32_t test_id)
{
    for (struct tf_net *net = tf->nets; net; net = net->next)
        net_keep(tf, net, test_id);
}

/* ---- the track ---- */

/* A partition or an impairment that holds. */
struct tf_net_mark {
    bool partition;
    struct pv_net_end *from, *to;
    uint32_t step;
    struct tf_net_mark *next;
};

static uint32_t step_begin(struct tf_net *net, const char *text)
{
    cleanup_free char *track = pv_xasprintf(PV_NETWORK_LOG "%s", pv_net_name(net->net));

    return pv_result_step_begin(net->tf->env->result, track, PV_STEP_NETWORK, text);
}

static void mark_add(struct tf_net *net, const struct tf_net_mark *m, const char *text)
{
    struct tf_net_mark *kept = pv_xcalloc(1, sizeof(*kept));

    *kept = *m;
    kept->step = step_begin(net, text);
    kept->next = net->marks;
    net->marks = kept;
}

/* Frames that did not arrive as they were sent. */
struct losses {
    uint64_t lost, partitioned, dropped, corrupted;
};

static void losses_add(void *arg, const char *from, const char *to, const struct pv_net_stats *s)
{
    struct losses *l = arg;

    (void)from;
    (void)to;
    l->lost += s->lost;
    l->partitioned += s->partitioned;
    l->dropped += s->dropped;
    l->corrupted += s->corrupted;
}

static void losses_tell(struct tf_net *net)
{
    struct losses l = {0};
    cleanup_buf struct pv_buf text = {0};
    uint64_t sum;

    pv_net_each(net->net, losses_add, &l);
    sum = l.lost + l.partitioned + l.dropped + l.corrupted;
    if (sum == net->losses_told)
        return;
    net->losses_told = sum;
    pv_buf_addf(&text, "so far: %llu frames lost, %llu partitioned, %llu dropped, %llu corrupted",
                (unsigned long long)l.lost, (unsigned long long)l.partitioned, (unsigned long long)l.dropped,
                (unsigned long long)l.corrupted);
    pv_result_step_end(net->tf->env->result, step_begin(net, text.data), true);
}

static void marks_end(struct tf_net *net, bool partition, const struct pv_net_end *from,
                      const struct pv_net_end *to, bool all)
{
    bool ended = false;

    for (struct tf_net_mark **at = &net->marks, *m; (m = *at);) {
        if (m->partition != partition || (!all && (m->from != from || m->to != to))) {
            at = &m->next;
            continue;
        }
        pv_result_step_end(net->tf->env->result, m->step, true);
        *at = m->next;
        free(m);
        ended = true;
    }
    if (ended)
        losses_tell(net);
}

static const char *end_name(const struct pv_net_end *end)
{
    return end ? pv_net_end_name(end) : "any";
}

void pv_tf_net_partition(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to)
{
    struct tf_net_mark m = {.partition = true, .from = from, .to = to};
    cleanup_free char *text = pv_xasprintf("partition: %s > %s", end_name(from), end_name(to));

    marks_end(net, true, from, to, false);
    pv_net_partition(net->net, from, to);
    mark_add(net, &m, text);
}

void pv_tf_net_impair(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to,
                      const struct pv_impair *i)
{
    const struct {
        const char *name;
        double value;
    } chances[] = {
        {"loss", i->loss}, {"duplicate", i->duplicate}, {"reorder", i->reorder}, {"corrupt", i->corrupt}};
    struct tf_net_mark m = {.from = from, .to = to};
    cleanup_buf struct pv_buf text = {0};

    pv_buf_addf(&text, "impairment: %s > %s", end_name(from), end_name(to));
    for (size_t n = 0; n < PV_ARRAY_LEN(chances); n++)
        if (chances[n].value > 0)
            pv_buf_addf(&text, ", %s %g", chances[n].name, chances[n].value);
    if (i->latency || i->jitter)
        pv_buf_addf(&text, ", latency %g ms ± %g ms", (double)i->latency / 1e6, (double)i->jitter / 1e6);
    if (i->rate)
        pv_buf_addf(&text, ", rate %g Mbit/s", (double)i->rate / 1e6);
    marks_end(net, false, from, to, false);
    pv_net_impair(net->net, from, to, i);
    mark_add(net, &m, text.data);
}

void pv_tf_net_heal(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to)
{
    pv_net_heal(net->net, from, to);
    marks_end(net, true, from, to, false);
}

void pv_tf_net_clear(struct tf_net *net, struct pv_net_end *from, struct pv_net_end *to)
{
    pv_net_clear(net->net, from, to);
    marks_end(net, false, from, to, false);
}

void pv_tf_net_heal_all(struct tf_net *net)
{
    pv_net_heal_all(net->net);
    marks_end(net, true, NULL, NULL, true);
}

void pv_tf_net_clear_all(struct tf_net *net)
{
    pv_net_clear_all(net->net);
    marks_end(net, false, NULL, NULL, true);
}

void pv_tf_net_end_track(struct tf_net *net)
{
    marks_end(net, true, NULL, NULL, true);
    marks_end(net, false, NULL, NULL, true);
}
