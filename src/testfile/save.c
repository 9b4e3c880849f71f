/* SPDX-License-Identifier: MIT */
#include "testfile/save.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "guest/nic.h"
#include "guest/snapshot.h"
#include "pvsave/pvsave.h"
#include "testfile/findings.h"
#include "testfile/limit.h"
#include "testfile/outname.h"
#include "testfile/testfile.h"
#include "util/clock.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/host.h"
#include "util/path.h"

#define VM_TIME (30 * PV_NSEC_PER_SEC)
#define WHOLE_TIME (90 * PV_NSEC_PER_SEC) /* the supervisor gives more, TF_SAVE_TIME */
#define FILE_MAX (UINT64_C(8) << 30)      /* compressed */
#define IMAGE_MAX (UINT64_C(16) << 30)    /* a disk image whose digest is made */

/* ---- facts ---- */

static void host_describe(struct pv_pvsave_host *h)
{
    struct utsname u = {.release = ""};

    uname(&u);
    h->kernel = pv_xstrdup(u.release);
    h->cpu = pv_cpu_fact("model name");
    h->flags = pv_cpu_fact("flags");
}

static void failure_describe(const struct pv_testfile *tf, const char *message, struct pv_pvsave_failure *f)
{
    const struct tf_tests *t = &tf->tests;
    time_t now = time(NULL);
    char text[40] = "";
    struct tm tm;

    if (gmtime_r(&now, &tm))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    f->version = pv_xstrdup(tf->env->version ? tf->env->version : "");
    f->file = pv_xstrdup(tf->path);
    f->message =
        t->n_open ? pv_xasprintf("test '%s': %s", t->open[t->n_open - 1].name, message) : pv_xstrdup(message);
    f->time = pv_xstrdup(text);
    host_describe(&f->host);
    pv_tf_journal_list(&tf->journal, &f->timeline);
}

/* ---- one VM ---- */

/* An image of the host that the machine reads: where it is resumed, it has to be the same. */
static int disk_describe(const char *path, struct pv_pvsave_disk *d, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    d->path = pv_xstrdup(path);
    d->digest = pv_xcalloc(1, PV_DIGEST_TEXT);
    if (fd < 0 || fstat(fd, &st) < 0)
        return pv_err_sys(err, errno, "cannot read its disk image '%s'", path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > IMAGE_MAX)
        return pv_err_set(err, PV_E_USAGE, "its disk '%s' is no file of at most 16G, which could be compared",
                          path);
    d->size = (uint64_t)st.st_size;
    return pv_digest_fd(fd, d->digest) < 0 ? pv_err_sys(err, errno, "cannot read its disk image '%s'", path)
                                           : 0;
}

static int disks_describe(struct pv_pvsave_vm *d, struct pv_err *err)
{
    json_t *j = json_loads(d->json, 0, NULL), *list = json_object_get(j, "disks");
    int r = 0;

    d->disks = pv_xcalloc(json_array_size(list) + 1, sizeof(*d->disks));
    for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
        const json_t *disk = json_array_get(list, i);
        const char *path = json_string_value(json_object_get(disk, "path"));

        /* The content of a served disk goes into the file. */
        if (path && *path && !json_is_true(json_object_get(disk, "served")))
            r = disk_describe(path, &d->disks[d->n_disks++], err);
    }
    json_decref(j);
    return r;
}

static struct pv_snapshot *vm_snapshot(struct tf_guest *g, struct pv_pvsave_vm *d, int64_t left,
                                       struct pv_err *err)
{
    struct pv_snapshot *s;

    if (pv_guest_state(g->g) != PV_GUEST_RUNNING) {
        pv_err_set(err, PV_E_USAGE, "it is %s", d->state);
        return NULL;
    }
    s = pv_guest_snapshot(g->g, left < VM_TIME ? left : VM_TIME, err);
    if (!s)
        return NULL;
    for (int i = 0; i < PV_VM_NICS_MAX; i++)
        if (pv_snapshot_nics(s)[i].hw.mtu)
            pv_err_set(err, PV_E_USAGE, "it has NICs, whose networks are in the process of its test");
    if (err->cls == PV_E_NONE && (d->json = pv_snapshot_machine(s, err)) && disks_describe(d, err) == 0)
        return s;
    pv_snapshot_unref(s);
    return NULL;
}

/* The last PV_PVSAVE_CONSOLE_MAX bytes of its console log. */
static void console_read(const struct tf_guest *g, struct pv_buf *out)
{
    const char *path = pv_guest_log_path(g->g);
    cleanup_close int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = size > PV_PVSAVE_CONSOLE_MAX ? size - PV_PVSAVE_CONSOLE_MAX : 0;
    ssize_t n =
        size > 0 ? pv_pread_all(fd, pv_buf_reserve(out, (size_t)(size - from)), (size_t)(size - from), from)
                 : 0;

    if (n > 0)
        out->len += (size_t)n;
}

static void vm_describe(const struct tf_guest *g, struct pv_pvsave_vm *d)
{
    const struct pv_profile *p = pv_guest_profile(g->g);

    d->name = pv_xstrdup(g->name);
    d->state = pv_xstrdup(pv_guest_state_name(pv_guest_state(g->g)));
    d->profile = pv_xstrdup(p->name);
    d->machine = p->machine ? pv_xstrdup(p->machine) : NULL;
    d->cpu = p->cpu ? pv_xstrdup(p->cpu) : NULL;
    d->kernel = p->kernel ? pv_xstrdup(p->kernel) : NULL;
    for (size_t i = 0; i < p->qemu_args.n; i++)
        pv_strv_add(&d->qemu_args, p->qemu_args.v[i]);
    console_read(g, &d->console);
}

/* A file made for the saved one: the memory of a resumed VM, whose pages are of two, or the content of a served disk. */
static int made_add(struct pv_pvsave_writer *w, const char *entry, const char *name,
                    const struct pv_snapshot *s, struct pv_err *err)
{
    cleanup_close int fd = pv_temp_file_open(err);

    if (fd < 0)
        return -1;
    return pv_snapshot_write_file(s, name, fd, err) < 0 ? -1 : pv_pvsave_add_file(w, entry, fd, err);
}

static int state_add(struct pv_pvsave_writer *w, unsigned number, const struct pv_snapshot *s,
                     struct pv_err *err)
{
    struct pv_saved_file *files = NULL;
    size_t n = 0;
    int r = 0;

    pv_snapshot_files(s, &files, &n);
    for (size_t i = 0; r == 0 && i < n; i++) {
        char entry[96];

        snprintf(entry, sizeof(entry), "%u/state/%s", number, files[i].name);
        r = files[i].fd < 0 ? made_add(w, entry, files[i].name, s, err)
                            : pv_pvsave_add_file(w, entry, files[i].fd, err);
    }
    free(files);
    return r;
}

/* *summary gets its part of the line for the user. */
static int vm_add(struct pv_pvsave_writer *w, unsigned number, struct tf_guest *g, int64_t deadline,
                  struct pv_buf *summary, struct pv_err *err)
{
    struct pv_pvsave_vm d = {0};
    struct pv_err why = PV_ERR_INIT;
    cleanup_free char *text = NULL;
    struct pv_snapshot *s;
    char entry[32];
    int r;

    vm_describe(g, &d);
    s = vm_snapshot(g, &d, pv_left(deadline), &why);
    if (!s) {
        pv_err_drop_console(&why);
        free(pv_steal(&d.json));
        d.reason = pv_xstrdup(why.text);
    }
    text = pv_pvsave_vm_encode(&d);
    snprintf(entry, sizeof(entry), "%u/machine.json", number);
    r = pv_pvsave_add_text(w, entry, text, strlen(text), err);
    snprintf(entry, sizeof(entry), "%u/console", number);
    if (r == 0)
        r = pv_pvsave_add_text(w, entry, d.console.data, d.console.len, err);
    if (r == 0 && s)
        r = state_add(w, number, s, err);
    pv_buf_addf(summary, "%s%s%s%s", summary->len ? "; " : "", s ? "" : "not ", d.name, s ? "" : ": ");
    if (!s)
        pv_buf_add(summary, d.reason, strcspn(d.reason, "\n"));
    pv_snapshot_unref(s);
    pv_pvsave_vm_fini(&d);
    return r;
}

/* ---- the whole ---- */

static char *file_save(struct pv_testfile *tf, const char *message, struct pv_buf *summary,
                       struct pv_err *err)
{
    int64_t deadline = pv_deadline(WHOLE_TIME);
    cleanup_free char *name = pv_tf_outname(tf->path), *text = NULL;
    struct pv_pvsave_writer *w = pv_pvsave_begin(tf->env->save_dir, name, FILE_MAX, deadline, err);
    struct pv_pvsave_failure failure = {0};
    char *path = NULL;
    unsigned n = 0;
    int r;

    if (!w)
        return NULL;
    failure_describe(tf, message, &failure);
    if (tf->guests.first)
        failure.host.qemu = pv_guest_qemu_version(pv_guest_profile(tf->guests.first->g));
    text = pv_pvsave_failure_encode(&failure);
    r = pv_pvsave_add_text(w, "failure.json", text, strlen(text), err);
    for (struct tf_guest *g = tf->guests.first; r == 0 && g && n < PV_PVSAVE_VMS; g = g->next) {
        g->n_holds++; /* a task may drop its handle meanwhile */
        r = vm_add(w, ++n, g, deadline, summary, err);
        g->n_holds--;
    }
    if (r == 0)
        path = pv_pvsave_commit(w, err);
    pv_pvsave_failure_fini(&failure);
    pv_pvsave_writer_free(w);
    return path;
}

static void save_run(struct pv_testfile *tf, const char *message)
{
    cleanup_buf struct pv_buf summary = {0};
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *path = NULL, *notice = NULL;

    tf->save.done = true;
    if (!tf->guests.first)
        return;
    pv_result_saving(tf->env->result, true);
    pv_tf_limit_pause(tf);
    tf->guest_env.until = 0; /* the limit of the sub-test may be what has failed it */
    pv_tf_findings_sync(tf); /* the consoles, too */
    path = file_save(tf, message, &summary, &err);
    pv_tf_limit_resume(tf);
    pv_result_saving(tf->env->result, false);
    if (path) {
        pv_result_saved(tf->env->result, path, summary.data ? summary.data : "");
        return;
    }
    notice = pv_xasprintf("--save-failed: the VMs of %s were not saved: %s", tf->path, err.text);
    pv_result_notice(tf->env->result, notice);
}

static bool save_is_due(const struct pv_testfile *tf)
{
    return tf->env->save_dir && !tf->builder && !tf->save.done;
}

void pv_tf_save_failed(struct pv_testfile *tf, const char *message)
{
    const struct tf_tests *t = &tf->tests;

    if (!save_is_due(tf))
        return;
    if (t->n_open && (t->open[t->n_open - 1].expect_fail || t->open[t->n_open - 1].retries))
        return;
    save_run(tf, message);
}

void pv_tf_save_reported(struct pv_testfile *tf)
{
    uint32_t id = pv_tf_test_id(&tf->tests);

    if (!save_is_due(tf))
        return;
    pv_tf_findings_sync(tf);
    for (const struct tf_finding *f = tf->findings.first; f; f = f->next)
        if (f->test_id == id && f->fails && !f->handled && !f->met && f->panic != TF_PANIC_NO) {
            cleanup_free char *message = pv_xasprintf("the kernel of %s: %s", f->vm, f->headline);

            save_run(tf, message);
            return;
        }
    if (pv_tf_deaths_unmet(tf, id))
        save_run(tf, "a VM died while no call waited for it");
}
