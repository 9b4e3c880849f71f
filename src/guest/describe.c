/* SPDX-License-Identifier: MIT */
/* The description of a profile on this host, which is part of a saved fixture's key. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <fcntl.h>

#include "guest/emulation.h"
#include "guest/guest.h"
#include "image/image.h"
#include "util/err.h"
#include "util/path.h"
#include "util/spawn.h"
#include "vm/accel.h"
#include "vm/version.h"

/* A script may start any QEMU, so it is asked for the version. */
static void describe_qemu(const struct pv_profile *p, struct pv_buf *out)
{
    cleanup_free char *path = pv_qemu_find(p->qemu, NULL);
    cleanup_close int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char magic[4] = "";
    const char *version;

    pv_buf_addf(out, "qemu: %s\n", path ? path : "none");
    if (fd < 0 || (pv_pread_all(fd, magic, 4, 0) == 4 && !memcmp(magic, "\177ELF", 4)))
        return;
    version = pv_qemu_known_version(path);
    pv_buf_addf(out, "qemu version: %s\n", version ? version : "unknown");
}

void pv_guest_describe_cpu(const char *cpuinfo, struct pv_buf *out)
{
    static const char *const fields[] = {"model name", "stepping", "microcode", "flags"};

    for (size_t i = 0; i < PV_ARRAY_LEN(fields); i++) {
        const char *at = strstr(cpuinfo, fields[i]);

        if (at)
            pv_buf_addf(out, "host cpu %.*s\n", (int)strcspn(at, "\n"), at);
    }
}

static void describe_host(struct pv_buf *out)
{
    cleanup_buf struct pv_buf info = {0};
    struct utsname host;

    if (uname(&host) == 0)
        pv_buf_addf(out, "host kernel: %s\n", host.release);
    if (pv_read_file("/proc/cpuinfo", 16 << 20, &info, NULL) == 0)
        pv_guest_describe_cpu(info.data, out);
}

static void describe_string(struct pv_buf *out, const char *name, const char *value)
{
    if (value)
        pv_buf_addf(out, "%s: %s\n", name, value);
}

void pv_guest_describe(const struct pv_guest_host *host, const struct pv_profile *p, struct pv_buf *out)
{
    enum pv_accel want = host->accel != PV_ACCEL_AUTO ? host->accel : p->accel;
    struct pv_accel_probe probe;

    pv_accel_probe(&probe);
    describe_qemu(p, out);
    if (pv_takes_kvm(want, &probe)) {
        pv_buf_adds(out, "accelerator: kvm\n");
        describe_host(out);
    } else {
        pv_buf_addf(out, "accelerator: tcg\ntcg thread: %d\n", p->tcg_thread);
    }
    /* The guest's TSC runs at this rate; under emulation the rate is on the kernel command line, too. */
    pv_buf_addf(out, "tsc: %" PRIu32 " kHz\n", probe.tsc_khz);
    describe_string(out, "kernel", p->kernel);
    describe_string(out, "initrd", p->initrd);
    describe_string(out, "rootfs", p->rootfs);
    describe_string(out, "rootfs format", p->rootfs_format);
    describe_string(out, "root", p->root);
    describe_string(out, "rootflags", p->rootflags);
    describe_string(out, "init", p->init);
    pv_buf_addf(out, "init set: %d\n", p->init_set);
    describe_string(out, "switch_root", pv_profile_switch_root(p));
    describe_string(out, "append", p->append);
    if (p->wait_system)
        pv_buf_adds(out, "waits for systemd\n");
    describe_string(out, "modules", p->modules);
    describe_string(out, "machine", p->machine);
    describe_string(out, "cpu", p->cpu);
    for (size_t i = 0; i < p->qemu_args.n; i++)
        describe_string(out, "qemu argument", p->qemu_args.v[i]);
    for (size_t i = 0; i < p->env.n; i++)
        describe_string(out, "environment", p->env.v[i]);
}

char *pv_guest_qemu(const struct pv_profile *p)
{
    return pv_qemu_find(p->qemu, NULL);
}

char *pv_guest_qemu_version(const struct pv_profile *p)
{
    cleanup_free char *path = pv_guest_qemu(p);
    const char *version = path ? pv_qemu_known_version(path) : NULL;

    return pv_xstrdup(version ? version : "");
}

char *pv_guest_kernel_elf(const struct pv_profile *p)
{
    struct pv_kernel kernel = {0};
    char *path = NULL;

    if (pv_kernel_open(p->kernel, true, &kernel, NULL) == 0)
        path = pv_xstrdup(kernel.boot_path);
    pv_kernel_fini(&kernel);
    return path;
}
