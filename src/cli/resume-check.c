/* SPDX-License-Identifier: MIT */
/* The file may be anyone's: what it says of QEMU's command line and of files of the host is believed only here. */
#include "cli/resume-check.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "config/config.h"
#include "guest/guest.h"
#include "pvsave/pvsave.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/host.h"
#include "util/path.h"
#include "vm/accel.h"
#include "vm/qcow2.h"
#include "vm/spec.h"

enum { MODEL_MAX = 512 };

/* ---- the host ---- */

static bool has_word(const char *list, const char *word, size_t n)
{
    for (const char *p = list; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");

        if (len == n && !memcmp(p, word, n))
            return true;
        p += len;
    }
    return false;
}

/* The words of `then` that `now` does not have, at most eight of them. */
static size_t missing_words(const char *then, const char *now, struct pv_buf *out)
{
    size_t n = 0;

    for (const char *p = then; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");

        if (len && len < 40 && !has_word(now, p, len) && n++ < 8)
            pv_buf_addf(out, " %.*s", (int)len, p);
        p += len;
    }
    if (n > 8)
        pv_buf_addf(out, " and %zu more", n - 8);
    return n;
}

static void note_difference(struct pv_buf *notes, const char *what, const char *then, const char *now)
{
    if (strcmp(then, now) != 0)
        pv_buf_addf(notes, "%s: it was '%.200s', here it is '%.200s'\n", what, then, now);
}

static bool is_host_model(const char *cpu)
{
    return !cpu || !strncmp(cpu, "host", 4) || !strncmp(cpu, "max", 3);
}

/* Under KVM the guest uses the host's CPU. */
static int cpu_check(const struct pv_pvsave_host *then, const struct pv_pvsave_vm *vm, struct pv_buf *notes,
                     struct pv_err *err)
{
    cleanup_free char *model = pv_cpu_fact("model name"), *flags = pv_cpu_fact("flags");
    cleanup_buf struct pv_buf missing = {0};
    struct pv_accel_probe probe;
    struct utsname u = {.release = ""};

    pv_accel_probe(&probe);
    if (!probe.works)
        return pv_err_set(err, PV_E_MISSING, "%s ran under KVM, and there is none here: %.*s", vm->name,
                          pv_accel_fact_len(&probe), probe.why);
    if (!probe.kvm)
        pv_buf_addf(notes, "%.*s\n", pv_accel_fact_len(&probe), probe.why);
    uname(&u);
    note_difference(notes, "the host's kernel", then->kernel, u.release);
    note_difference(notes, "the host's CPU", then->cpu, model);
    if (!missing_words(then->flags, flags, &missing))
        return 0;
    if (is_host_model(vm->cpu))
        return pv_err_set(
            err, PV_E_MISSING,
            "%s ran on its host's CPU, which has what this one lacks:%s; resume it on such a CPU, or give "
            "the profile a `cpu` that both have before it is saved",
            vm->name, missing.data);
    pv_buf_addf(notes, "the host's CPU lacks:%s\n", missing.data);
    return 0;
}

static int qemu_check(const struct pv_pvsave_host *then, const struct pv_pvsave_vm *vm, struct pv_profile *p,
                      struct pv_buf *notes, struct pv_err *err)
{
    cleanup_free char *now = pv_guest_qemu_version(p);
    int then_major = 0, then_minor = 0, major = 0, minor = 0;
    const char *machine = p->machine ? p->machine : PV_VM_MACHINE;

    if (!*now)
        return pv_err_set(err, PV_E_MISSING,
                          "there is no QEMU here that says its version; 'provium doctor' says more");
    note_difference(notes, "QEMU", then->qemu, now);
    if (sscanf(then->qemu, "%d.%d", &then_major, &then_minor) != 2 ||
        sscanf(now, "%d.%d", &major, &minor) != 2 || (then_major == major && then_minor == minor))
        return 0;
    if (major < then_major || (major == then_major && minor < then_minor))
        return pv_err_set(
            err, PV_E_MISSING,
            "%s was saved by QEMU %.20s, whose state an older one (%s) cannot read; PROVIUM_QEMU "
            "names another program",
            vm->name, then->qemu, now);
    if (!strncmp(machine, "q35", 3) && (!machine[3] || machine[3] == ',')) {
        char *versioned = pv_xasprintf("pc-q35-%d.%d%s", then_major, then_minor, machine + 3);

        free(p->machine);
        p->machine = versioned;
    }
    return 0;
}

/* ---- QEMU's command line ---- */

/* A model with its properties: no path, nothing that makes QEMU open a file. */
static int model_check(const char *key, const char *value, char **to, struct pv_err *err)
{
    if (!value)
        return 0;
    if (strlen(value) > MODEL_MAX ||
        strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,"
                      "=_+-") != strlen(value))
        return pv_err_set(err, PV_E_USAGE, "its %s is '%.100s', which is no plain model with properties", key,
                          value);
    *to = pv_xstrdup(value);
    return 0;
}

/* Arguments of QEMU can run programs, so the user's own configuration has to have the same ones. */
static int args_check(const struct pv_pvsave_vm *vm, const struct pv_config *config, struct pv_profile *p,
                      struct pv_err *err)
{
    const struct pv_profile *own = NULL;
    bool same;

    for (size_t i = 0; config && i < config->n_profiles; i++)
        if (!strcmp(config->profiles[i].name, vm->profile))
            own = &config->profiles[i];
    same = own ? own->qemu_args.n == vm->qemu_args.n : vm->qemu_args.n == 0;
    for (size_t i = 0; same && i < vm->qemu_args.n; i++)
        same = !strcmp(own->qemu_args.v[i], vm->qemu_args.v[i]);
    if (!same && vm->qemu_args.n)
        return pv_err_set(
            err, PV_E_USAGE,
            "%s ran with qemu_args, which are not taken from a file like this one; run it where "
            "provium.toml has the profile '%.60s' with the same qemu_args (the first one is '%.100s')",
            vm->name, vm->profile, vm->qemu_args.v[0]);
    for (size_t i = 0; i < vm->qemu_args.n; i++)
        pv_strv_add(&p->qemu_args, vm->qemu_args.v[i]);
    if (own && own->qemu)
        p->qemu = pv_xstrdup(own->qemu);
    return 0;
}

/* ---- disks ---- */

/* The image has the content that it had. */
static int image_check(const struct pv_pvsave_vm *vm, const struct pv_pvsave_disk *d, struct pv_err *err)
{
    cleanup_close int fd = open(d->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char digest[PV_DIGEST_TEXT];
    struct stat st;

    if (fd < 0)
        return pv_err_set(
            err, PV_E_MISSING,
            "%s reads the disk image '%.500s', which is not in the file: %s; put a copy of it there",
            vm->name, d->path, strerror(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != d->size)
        return pv_err_set(err, PV_E_USAGE, "the disk image '%.500s' of %s is another one: it had %llu bytes",
                          d->path, vm->name, (unsigned long long)d->size);
    if (pv_digest_fd(fd, digest) < 0)
        return pv_err_sys(err, errno, "cannot read the disk image '%.500s'", d->path);
    return strcmp(digest, d->digest) != 0
               ? pv_err_set(err, PV_E_USAGE, "the disk image '%.500s' of %s has changed since it was saved",
                            d->path, vm->name)
               : 0;
}

/* A served disk's content is in the file, and the path that it may have had is not opened. */
static int served_check(const struct pv_pvsave_vm *vm, size_t number, struct pv_err *err)
{
    char name[32];

    snprintf(name, sizeof(name), "disk%zu.image", number);
    return pv_pvsave_vm_file(vm, name)
               ? 0
               : pv_err_set(err, PV_E_USAGE, "the content of a disk of %s is not in the file", vm->name);
}

/* A disk of the machine's description: the file of the host that it names, and how QEMU would use it. */
static int disk_check(const struct pv_pvsave_vm *vm, const json_t *disk, size_t number, struct pv_err *err)
{
    const char *path = json_string_value(json_object_get(disk, "path"));
    const char *format = json_string_value(json_object_get(disk, "format"));

    if (json_is_true(json_object_get(disk, "served")))
        return served_check(vm, number, err);
    if (!path || !format || (strcmp(format, "raw") != 0 && strcmp(format, "qcow2") != 0) || path[0] != '/')
        return pv_err_set(err, PV_E_USAGE, "the description of a disk of %s is damaged", vm->name);
    if (!json_is_true(json_object_get(disk, "readonly")) && !json_is_true(json_object_get(disk, "snapshot")))
        return pv_err_set(err, PV_E_USAGE, "a disk of %s would write to '%.500s'", vm->name, path);
    for (size_t i = 0; i < vm->n_disks; i++)
        if (!strcmp(vm->disks[i].path, path))
            return image_check(vm, &vm->disks[i], err) < 0
                       ? -1
                       : pv_disk_chain(path, format, false, NULL, NULL, err);
    return pv_err_set(err, PV_E_USAGE, "a disk of %s names '%.500s', of which the file says nothing",
                      vm->name, path);
}

/* An overlay of the file names no other file. */
static int overlay_check(const struct pv_pvsave_file *f, struct pv_err *err)
{
    cleanup_free char *head = pv_xmalloc(PV_QCOW2_HEAD);
    size_t n = f->size < PV_QCOW2_HEAD ? (size_t)f->size : PV_QCOW2_HEAD;
    struct pv_qcow2 q;

    if (f->fd < 0 || pv_pread_all(f->fd, head, n, 0) != (ssize_t)n)
        return pv_err_set(err, PV_E_HOST, "cannot read '%s' of the file", f->name);
    if (pv_qcow2_parse(head, n, &q, err) < 0)
        return pv_err_wrap(err, "its '%s'", f->name);
    return q.data_file || q.backing[0] ? pv_err_set(err, PV_E_USAGE, "its '%s' names another file", f->name)
                                       : 0;
}

static int disks_check(const struct pv_pvsave_vm *vm, const json_t *disks, struct pv_err *err)
{
    for (size_t i = 0; i < json_array_size(disks); i++)
        if (disk_check(vm, json_array_get(disks, i), i, err) < 0)
            return -1;
    for (size_t i = 0; i < vm->n_files; i++)
        if (!strncmp(vm->files[i].name, "disk", 4) && !strstr(vm->files[i].name, ".image") &&
            overlay_check(&vm->files[i], err) < 0)
            return -1;
    return 0;
}

/* The file's memory has the machine's size. */
static int memory_check(const struct pv_pvsave_vm *vm, const json_t *machine, struct pv_err *err)
{
    json_int_t memory = json_integer_value(json_object_get(machine, "memory"));
    const struct pv_pvsave_file *f = pv_pvsave_vm_file(vm, "memory");

    if (f && memory > 0 && f->size == (uint64_t)memory)
        return 0;
    return pv_err_set(err, PV_E_USAGE, "the memory of %s is not in the file, or has another size", vm->name);
}

int pv_resume_check(const struct pv_pvsave *s, const struct pv_pvsave_vm *vm, const struct pv_config *config,
                    struct pv_profile *p, struct pv_buf *notes, struct pv_err *err)
{
    json_t *machine = json_loads(vm->json, 0, NULL);
    int r = 0;

    *p = (struct pv_profile){.name = pv_xstrdup(vm->profile),
                             .init = pv_xstrdup("/sbin/init"),
                             .append = pv_xstrdup(""),
                             .kernel = pv_xstrdup(vm->kernel ? vm->kernel : "")};
    if (model_check("machine", vm->machine, &p->machine, err) < 0 ||
        model_check("cpu", vm->cpu, &p->cpu, err) < 0 || args_check(vm, config, p, err) < 0 ||
        memory_check(vm, machine, err) < 0 || qemu_check(&s->failure.host, vm, p, notes, err) < 0 ||
        (json_is_true(json_object_get(machine, "kvm")) && cpu_check(&s->failure.host, vm, notes, err) < 0) ||
        disks_check(vm, json_object_get(machine, "disks"), err) < 0)
        r = -1;
    if (r == 0 && access(p->kernel, R_OK) < 0)
        pv_buf_addf(notes, "the kernel '%.300s' is not here: the VM cannot be reset\n", p->kernel);
    json_decref(machine);
    return r;
}

void pv_resume_profile_fini(struct pv_profile *p)
{
    free(p->name);
    free(p->init);
    free(p->append);
    free(p->kernel);
    free(p->machine);
    free(p->cpu);
    free(p->qemu);
    pv_strv_free(&p->qemu_args);
    *p = (struct pv_profile){0};
}
