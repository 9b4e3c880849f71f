/* SPDX-License-Identifier: MIT */
/*
 * The cache holds the outcome of the KVM probe and the TSC's rate, in one small text file that is replaced as
 * a whole.  /dev/kvm is opened each time: that is cheap, and permissions change without a reboot.
 *
 *     provium-accel 1
 *     boot 3c5a...            the host's boot ID: the file is stale under another one, but for steady_khz
 *     tsc 2596136
 *     kvm slow /dev/kvm is there but ...
 */
#include "vm/accel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/cachedir.h"
#include "util/err.h"
#include "util/host.h"
#include "util/log.h"
#include "util/mem.h"
#include "vm/accel-file.h"
#include "vm/tsc.h"

#define FILE_NAME "accel"
enum { CACHED_MAX = 1024, TSC_STEADY = 10000 };

static const char *const result_names[] = {
    [PV_KVM_FAST] = "fast", [PV_KVM_SLOW] = "slow", [PV_KVM_BROKEN] = "broken", [PV_KVM_ABSENT] = "unknown"};

bool pv_accel_file_parse(struct pv_accel_file *m, const char *text, size_t n, const char *boot_id)
{
    cleanup_free char *line = NULL;
    char boot[64], name[16];
    uint32_t khz = 0;
    int at = 0;

    *m = (struct pv_accel_file){.kvm = PV_KVM_ABSENT};
    if (!n || memchr(text, '\0', n) || text[n - 1] != '\n')
        return false;
    line = pv_xstrndup(text, n - 1);
    if (sscanf(line, "provium-accel 1\nboot %36s\ntsc %9" SCNu32 "\nkvm %15s %n", boot, &khz, name, &at) <
            3 ||
        !at || strpbrk(line + at, "\n\r\033"))
        return false;
    m->tsc_khz = khz;
    if (strcmp(boot, boot_id) != 0)
        return false;
    snprintf(m->why, sizeof(m->why), "%s", line + at);
    for (size_t i = 0; i < PV_ARRAY_LEN(result_names); i++)
        if (!strcmp(name, result_names[i])) {
            m->kvm = (enum pv_kvm_result)i;
            return true;
        }
    return false;
}

static bool cached_read(const struct pv_cachedir *dir, const char *id, struct pv_accel_file *m)
{
    cleanup_buf struct pv_buf text = {0};
    struct pv_err why = PV_ERR_INIT;

    if (pv_cachedir_read(dir, FILE_NAME, CACHED_MAX, &text, &why) < 0) {
        pv_debug("accel", "%s", why.text);
        text.len = 0;
    }
    return pv_accel_file_parse(m, text.data, text.len, id);
}

/* Without the file, the next process probes again. */
static void cached_write(const struct pv_cachedir *dir, const char *id, const struct pv_accel_file *m)
{
    cleanup_free char *text = pv_xasprintf("provium-accel 1\nboot %s\ntsc %" PRIu32 "\nkvm %s %s\n", id,
                                           m->tsc_khz, result_names[m->kvm], m->why);

    if (pv_replace_at(dir->fd, FILE_NAME, text, strlen(text)) < 0)
        pv_debug("accel", "cannot write '%s/" FILE_NAME "': %s", dir->path, strerror(errno));
}

/*
 * Two measurements of one host differ by some parts per million.  The rate is part of a fixture's key, so the earlier
 * measurement stays while the new one confirms it.
 */
static uint32_t steady_khz(uint32_t before, uint32_t now)
{
    uint32_t apart = before > now ? before - now : now - before;

    return apart <= now / TSC_STEADY ? before : now;
}

/* known: *m was read from the cache.  Probes the rest into it.  True if *m has changed. */
static bool accel_probe(struct pv_accel_probe *out, struct pv_accel_file *m, bool known)
{
    struct pv_tsc_sample start = pv_tsc_sample();
    enum pv_kvm_result now;
    bool changed = !known;
    int kvm = pv_kvm_open(&now, out->why, sizeof(out->why));

    out->kvm = out->works = false;
    if (kvm >= 0) {
        if (!known || m->kvm == PV_KVM_ABSENT) {
            m->kvm = pv_kvm_probe(kvm, m->why, sizeof(m->why));
            changed = true;
        }
        close(kvm);
        snprintf(out->why, sizeof(out->why), "%s", m->why);
        out->kvm = m->kvm == PV_KVM_FAST;
        out->works = m->kvm == PV_KVM_FAST || m->kvm == PV_KVM_SLOW;
    }
    if (!known)
        m->tsc_khz = steady_khz(m->tsc_khz, pv_tsc_khz_since(&start));
    out->tsc_khz = m->tsc_khz;
    pv_debug("accel", "%s; TSC %" PRIu32 " kHz%s", out->why, out->tsc_khz, known ? " (cached)" : "");
    return changed;
}

void pv_accel_probe_now(struct pv_accel_probe *out)
{
    struct pv_accel_file m = {.kvm = PV_KVM_ABSENT};

    memset(out, 0, sizeof(*out));
    accel_probe(out, &m, false);
}

void pv_accel_probe(struct pv_accel_probe *out)
{
    cleanup_cachedir struct pv_cachedir dir = PV_CACHEDIR_INIT;
    struct pv_err why = PV_ERR_INIT;
    struct pv_accel_file m = {.kvm = PV_KVM_ABSENT};
    char id[PV_BOOT_ID_LEN + 1];
    bool known;

    memset(out, 0, sizeof(*out));
    if (pv_cachedir_open(&dir, NULL, &why) < 0)
        pv_debug("accel", "no remembered probe: %s", why.text);
    if (dir.fd < 0 || !pv_boot_id(id)) {
        accel_probe(out, &m, false);
        return;
    }
    known = cached_read(&dir, id, &m);
    if (accel_probe(out, &m, known))
        cached_write(&dir, id, &m);
}

int pv_accel_fact_len(const struct pv_accel_probe *p)
{
    const char *rest = strstr(p->why, ": software");

    return (int)(rest ? (size_t)(rest - p->why) : strlen(p->why));
}
