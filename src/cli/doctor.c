/* SPDX-License-Identifier: MIT */
/*
 * `provium doctor`: checks the parts of this machine that a boot needs, one row each, with the command or
 * step that mends it.  It reads files and runs `qemu --version`; it starts no VM.
 */
#include "cli/cli.h"
#include "cli/options.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "config/guestdir.h"
#include "image/image.h"
#include "transport/channel.h"
#include "util/cachedir.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"
#include "vm/accel.h"
#include "vm/confine.h"
#include "vm/version.h"
#include "vm/virtiofsd.h"

enum status { OK, NOTE, BAD }; /* BAD: no VM can boot */

static const char *const status_names[] = {[OK] = "ok", [NOTE] = "note", [BAD] = "bad"};

struct row {
    enum status status;
    char found[512];
    char mend[256]; /* "" when there is nothing to mend */
};

struct doctor {
    char *guest_dir;
    char *qemu_version; /* found by look_qemu; NULL: there is no QEMU */
    bool no_seccomp;    /* of that QEMU */
    struct pv_config *config;
};

static void row_set(struct row *r, enum status status, const char *mend, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void row_set(struct row *r, enum status status, const char *mend, const char *fmt, ...)
{
    va_list ap;

    r->status = status;
    snprintf(r->mend, sizeof(r->mend), "%s", mend ? mend : "");
    va_start(ap, fmt);
    vsnprintf(r->found, sizeof(r->found), fmt, ap);
    va_end(ap);
}

static void look_qemu(struct doctor *d, struct row *r)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *qemu = pv_qemu_find(NULL, &err);
    const char *version = d->qemu_version = qemu ? pv_qemu_version(qemu, &err) : NULL;
    int major = 0, minor = 0;

    if (!version)
        row_set(r, BAD,
                err.cls == PV_E_USAGE ? "correct or unset PROVIUM_QEMU" : "apt install qemu-system-x86", "%s",
                err.text);
    else if (sscanf(version, "%d.%d", &major, &minor) != 2 || major * 100 + minor < 702)
        row_set(r, NOTE, "apt install qemu-system-x86", "version %s (%s); tested with 7.2 and newer", version,
                qemu);
    else
        row_set(r, OK, NULL, "version %s (%s)", version, qemu);
    d->no_seccomp = version && !pv_qemu_confines(qemu);
}

static void look_accel(struct doctor *d, struct row *r)
{
    struct pv_accel_probe probe;

    (void)d;
    pv_accel_probe_now(&probe);
    if (probe.kvm)
        row_set(r, OK, NULL, "kvm: %s", probe.why);
    else
        row_set(r, NOTE,
                access("/dev/kvm", F_OK) == 0 && access("/dev/kvm", R_OK | W_OK) < 0
                    ? "adduser $USER kvm (then log in anew)"
                    : "",
                "tcg: %s", probe.why);
}

static void look_vsock(struct doctor *d, struct row *r)
{
    const char *why = "";

    (void)d;
    if (pv_vsock_kernel_usable(&why))
        row_set(r, OK, NULL, "vhost-vsock: /dev/vhost-vsock of the host's kernel");
    else
        row_set(r, OK, NULL, "vhost-user-vsock: Provium's own device (%s)", why);
}

/* Software emulation of several CPUs (guest/emulation.h). */
static void look_smp(struct doctor *d, struct row *r)
{
    (void)d;
    row_set(
        r, NOTE, "use KVM; a thread for each CPU is tcg_thread = \"multi\" of a profile",
        "VMs without KVM run all their CPUs in one thread: with a thread for each, QEMU can lose changes of "
        "the kernel's code");
}

static void look_confinement(struct doctor *d, struct row *r)
{
    int version = pv_confine_landlock();

    if (d->no_seccomp)
        row_set(r, NOTE, "use a QEMU that is built with seccomp",
                "this QEMU has no seccomp%s; no core dumps, an environment of its own",
                version ? ", but opens only the files of its VM (Landlock)"
                        : ", and this kernel no Landlock");
    else if (version)
        row_set(
            r, OK, NULL,
            "QEMU opens only the files of its VM (Landlock %d%s); seccomp, no core dumps, an environment of "
            "its own",
            version, version < 3 ? ", which does not keep files from being cut" : "");
    else
        row_set(
            r, NOTE, "use a kernel with Landlock (5.13 or newer, lsm=landlock,...)",
            "QEMU may open what you can: this kernel has no Landlock; seccomp, no core dumps, an environment "
            "of its own");
}

/* provium run --rootfs DIR */
static void look_shared(struct doctor *d, struct row *r)
{
    struct pv_virtiofsd_program program;
    struct pv_err err = PV_ERR_INIT;

    (void)d;
    if (pv_virtiofsd_find(&program, &err) == 0)
        row_set(r, OK, NULL, "virtiofs, by %s; 9p for kernels without it", program.path);
    else
        row_set(r, NOTE, err.cls == PV_E_USAGE ? "correct or unset PROVIUM_VIRTIOFSD" : "",
                "9p, not the faster virtiofs: %s", err.text);
    pv_virtiofsd_program_fini(&program);
}

/* The transport of savable VMs. */
static void look_saved(struct doctor *d, struct row *r)
{
    (void)d;
    row_set(r, OK, NULL, "virtio-serial: a vhost-user device can not be saved");
}

static void look_guest(struct doctor *d, struct row *r)
{
    struct pv_err why = PV_ERR_INIT;

    if (d->guest_dir) {
        row_set(r, OK, NULL, "%s", d->guest_dir);
        return;
    }
    pv_err_set(&why, PV_E_MISSING, "there is no default guest");
    pv_guest_advise(&why);
    row_set(r, BAD, pv_guest_command(), "%s", why.text);
}

static void look_config(struct doctor *d, struct row *r)
{
    struct pv_err err = PV_ERR_INIT;

    d->config = pv_config_load(NULL, d->guest_dir, &err);
    if (!d->config)
        row_set(r, BAD, "correct the file", "%s", err.text);
    else if (d->config->path)
        row_set(r, OK, NULL, "%s, %zu profiles", d->config->path, d->config->n_profiles);
    else
        row_set(r, OK, NULL, "no provium.toml here or above; the profile \"default\" is there");
}

static void look_kernel(struct doctor *d, struct row *r)
{
    struct pv_err err = PV_ERR_INIT;
    const struct pv_profile *p = d->config ? pv_config_profile(d->config, "default", &err) : NULL;
    struct pv_kernel k = {0};
    const char *readable = "this kernel cannot be read: sudo chmod a+r KERNEL, or name another one";

    if (!p) {
        row_set(r, BAD, pv_guest_command(), "%s", d->config ? err.text : "provium.toml could not be read");
        return;
    }
    if (pv_kernel_open(p->kernel, false, &k, &err) < 0)
        row_set(r, BAD, err.errnum == EACCES ? readable : pv_guest_command(), "%s", err.text);
    else
        row_set(r, OK, NULL, "%s (%s)", p->kernel, k.release ? k.release : "version not told");
    pv_kernel_fini(&k);
}

static void look_cache(struct doctor *d, struct row *r)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_cachedir struct pv_cachedir cache = PV_CACHEDIR_INIT;

    (void)d;
    if (pv_cachedir_open(&cache, NULL, &err) == 0)
        row_set(r, OK, NULL, "%s", cache.path);
    else
        row_set(r, NOTE, "export XDG_CACHE_HOME=DIR of a directory that you can write",
                "%s; kernels are not kept unpacked, boots are slower", err.text);
}

static void look_memory(struct doctor *d, struct row *r)
{
    cleanup_buf struct pv_buf b = {0};
    const char *at;
    uint64_t kib = 0;

    (void)d;
    if (pv_read_file("/proc/meminfo", 1 << 20, &b, NULL) == 0 && (at = strstr(b.data, "MemAvailable:")))
        sscanf(at, "MemAvailable: %" SCNu64, &kib);
    if (!kib)
        row_set(r, NOTE, NULL, "cannot be told");
    else if (kib < 512 * 1024)
        row_set(r, BAD, "free some memory", "%" PRIu64 " MiB available; a VM takes 512 MiB", kib / 1024);
    else
        row_set(r, OK, NULL, "%" PRIu64 " MiB available, %ld CPUs", kib / 1024,
                sysconf(_SC_NPROCESSORS_ONLN));
}

static const struct {
    const char *name;
    void (*look)(struct doctor *d, struct row *r);
} parts[] = {
    {"QEMU", look_qemu},
    {"accelerator", look_accel},
    {"emulated SMP", look_smp},
    {"vsock", look_vsock},
    {"confinement", look_confinement},
    {"saved VMs", look_saved},
    {"directories", look_shared},
    {"default guest", look_guest},
    {"configuration", look_config},
    {"kernel", look_kernel},
    {"cache", look_cache},
    {"memory", look_memory},
};

static void print_json(const struct row *rows, bool can_boot)
{
    json_t *list = json_array(), *top;
    char *text;

    for (size_t i = 0; i < PV_ARRAY_LEN(parts); i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "part", parts[i].name, "status",
                                              status_names[rows[i].status], "found", rows[i].found, "mend",
                                              rows[i].mend));
    top = json_pack("{s:i, s:b, s:o}", "version", 1, "can_boot", can_boot, "parts", list);
    text = json_dumps(top, JSON_INDENT(2));
    puts(text ? text : "{}");
    free(text);
    json_decref(top);
}

static const struct pv_opt opts[] = {{"json", 0, NULL, "print JSON"}, {NULL}};

static int doctor_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    struct row rows[PV_ARRAY_LEN(parts)];
    struct doctor d = {0};
    bool json = false, can_boot = true;
    const char *value;
    struct pv_err err;
    int o;

    while ((o = pv_opt_next(&p, &value, &err)) == 0)
        json = true;
    if (o == PV_OPT_HELP) {
        pv_command_usage(&pv_command_doctor);
        return PV_EXIT_OK;
    }
    if (o == PV_OPT_WORD)
        pv_err_set(&err, PV_E_USAGE, "doctor: takes no arguments, got '%s'", value);
    if (o != PV_OPT_END)
        return pv_cli_error(&err);
    d.guest_dir = pv_guest_dir();
    for (size_t i = 0; i < PV_ARRAY_LEN(parts); i++) {
        rows[i] = (struct row){0};
        parts[i].look(&d, &rows[i]);
        if (rows[i].status == BAD)
            can_boot = false;
    }
    if (json) {
        print_json(rows, can_boot);
    } else {
        for (size_t i = 0; i < PV_ARRAY_LEN(parts); i++) {
            printf("%-4s  %-13s  %s\n", status_names[rows[i].status], parts[i].name, rows[i].found);
            if (rows[i].mend[0])
                printf("      %-13s  -> %s\n", "", rows[i].mend);
        }
        printf("\n%s\n", can_boot ? "VMs can boot." : "No VM can boot until what is marked bad is mended.");
    }
    pv_config_free(d.config);
    free(d.qemu_version);
    free(d.guest_dir);
    return can_boot ? 0 : 1;
}

const struct pv_command pv_command_doctor = {
    .name = "doctor",
    .run = doctor_main,
    .help = "look at this machine: can VMs boot here",
    .usage = "doctor [options]",
    .about = "Tells what VMs would boot with on this machine, and what would mend what is\n"
             "missing. Exit code 1 if none could boot.",
    .opts = opts,
    .words = NULL,
    .group = NULL,
};
