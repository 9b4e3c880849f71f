/* SPDX-License-Identifier: MIT */
/*
 * One table of options in the order of the command line.  Each row has a condition and a value with
 * {placeholders}; the rows of disks come last and are written for each disk.  Names and paths get their commas
 * doubled, as QEMU's option parser wants it.
 */
#include "vm/version.h"
#include "vm/spec.h"

#include <inttypes.h>
#include <string.h>

#include "util/mem.h"
#include "util/parse.h"
#include "vm/share.h"

/*
 * Measured here with Debian's cloud kernel (q35, TCG, 12 boots each): `max,erms=off` 1.51 s, `qemu64` 1.56,
 * `max` 1.83.  With all features that QEMU can emulate, tests find what they need (and RDRAND seeds the
 * random pool at once); ERMS makes the kernel copy with `rep movsb`, which is slow to emulate.
 * Recent versions of QEMU emulate FSRM.  Linux before 6.4 expects ERMS beside it: memmove without ERMS then copies
 * at least 32 bytes, and the kernel overwrites itself.
 */
#define CPU_TCG "max,erms=off,fsrm=off"
#define CPU_KVM "host"

#define SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

struct at {
    const struct pv_vm_spec *spec;
    size_t disk;
};

/* ---- conditions ---- */

static bool always(const struct pv_vm_spec *s)
{
    (void)s;
    return true;
}

static bool named(const struct pv_vm_spec *s)
{
    return s->name != NULL;
}

static bool with_kvm(const struct pv_vm_spec *s)
{
    return s->kvm;
}

static bool tcg_multi(const struct pv_vm_spec *s)
{
    return !s->kvm && !s->one_thread;
}

static bool tcg_single(const struct pv_vm_spec *s)
{
    return !s->kvm && s->one_thread;
}

static bool vsock_user(const struct pv_vm_spec *s)
{
    return s->channel.kind == PV_CHANNEL_VHOST_USER_VSOCK;
}

static bool vsock_kernel(const struct pv_vm_spec *s)
{
    return s->channel.kind == PV_CHANNEL_VHOST_VSOCK;
}

static bool serial(const struct pv_vm_spec *s)
{
    return s->channel.kind == PV_CHANNEL_SERIAL;
}

static bool memory_file(const struct pv_vm_spec *s)
{
    return s->memory.kind != PV_VM_MEMORY_OWN;
}

static bool memory_read_only(const struct pv_vm_spec *s)
{
    return s->memory.kind == PV_VM_MEMORY_PRIVATE && s->memory.read_only;
}

/* A back end of vhost-user, this process or a virtiofsd, maps the guest's memory. */
static bool memory_memfd(const struct pv_vm_spec *s)
{
    bool mapped = vsock_user(s);

    for (size_t i = 0; i < s->n_shares; i++)
        mapped = mapped || s->shares[i].by == PV_SHARE_VIRTIOFS;
    return mapped && !memory_file(s);
}

static bool memory_own(const struct pv_vm_spec *s)
{
    return !memory_memfd(s) && !memory_file(s);
}

static bool memory_backend(const struct pv_vm_spec *s)
{
    return !memory_own(s);
}

static bool incoming(const struct pv_vm_spec *s)
{
    return s->state.incoming;
}

static bool unconfined(const struct pv_vm_spec *s)
{
    return s->unconfined;
}

static bool unconfined_sandbox(const struct pv_vm_spec *s)
{
    return unconfined(s) && !s->no_sandbox;
}

static bool has_kernel(const struct pv_vm_spec *s)
{
    return s->kernel != NULL;
}

static bool has_append(const struct pv_vm_spec *s)
{
    return s->kernel && s->append && *s->append;
}

static bool has_initrd(const struct pv_vm_spec *s)
{
    return s->kernel && s->initrd_fd >= 0;
}

static bool with_core(const struct pv_vm_spec *s)
{
    return s->core;
}

static bool with_gdb(const struct pv_vm_spec *s)
{
    return s->gdb_fd > 0;
}

static bool has_scsi(const struct pv_vm_spec *s)
{
    for (size_t i = 0; i < s->n_disks; i++)
        if (s->disks[i].bus == PV_VM_BUS_SCSI)
            return true;
    return false;
}

static bool disk_readonly(const struct pv_vm_disk *d)
{
    return d->readonly && !d->served;
}

static bool disk_writable(const struct pv_vm_disk *d)
{
    return !d->readonly && !d->snapshot && !d->served;
}

static bool disk_overlaid(const struct pv_vm_disk *d)
{
    return !d->readonly && d->snapshot && !d->served;
}

static bool disk_served(const struct pv_vm_disk *d)
{
    return d->served;
}

static bool disk_virtio(const struct pv_vm_disk *d)
{
    return d->bus == PV_VM_BUS_VIRTIO;
}

static bool disk_nvme(const struct pv_vm_disk *d)
{
    return d->bus == PV_VM_BUS_NVME;
}

static bool disk_scsi(const struct pv_vm_disk *d)
{
    return d->bus == PV_VM_BUS_SCSI;
}

/* ---- placeholders ---- */

void pv_vm_add_value(struct pv_buf *b, const char *text)
{
    for (; *text; text++) {
        if (*text == ',')
            pv_buf_addc(b, ',');
        pv_buf_addc(b, *text);
    }
}

static void put_name(const struct at *at, struct pv_buf *b)
{
    pv_vm_add_value(b, at->spec->name);
}

static void put_machine(const struct at *at, struct pv_buf *b)
{
    pv_buf_adds(b, at->spec->machine ? at->spec->machine : PV_VM_MACHINE);
}

static void put_cpu(const struct at *at, struct pv_buf *b)
{
    pv_buf_adds(b, at->spec->cpu ? at->spec->cpu : at->spec->kvm ? CPU_KVM : CPU_TCG);
    if (!at->spec->cpu && !at->spec->kvm && at->spec->no_cx16)
        pv_buf_adds(b, ",cx16=off");
}

/* QEMU rounds -m up to 8 KiB, and a memory backend must have exactly that size. */
uint64_t pv_vm_memory_size(uint64_t memory)
{
    return (memory + 8191) & ~UINT64_C(8191);
}

static void put_share(const struct at *at, struct pv_buf *b)
{
    pv_buf_adds(b, at->spec->memory.kind == PV_VM_MEMORY_SHARED ? "on" : "off");
    if (memory_read_only(at->spec))
        pv_buf_adds(b, ",readonly=on,rom=off");
}

static void put_memory(const struct at *at, struct pv_buf *b)
{
    char text[32];

    pv_buf_adds(b, pv_format_size(pv_vm_memory_size(at->spec->memory.size), text));
}

static void put_cpus(const struct at *at, struct pv_buf *b)
{
    pv_buf_addf(b, "%u", at->spec->cpus ? at->spec->cpus : 1);
}

static void put_kernel(const struct at *at, struct pv_buf *b)
{
    if (at->spec->kernel_fd > 0)
        pv_buf_addf(b, "/proc/self/fd/%d", PV_QEMU_FD_KERNEL);
    else
        pv_buf_adds(b, at->spec->kernel);
}

static void put_append(const struct at *at, struct pv_buf *b)
{
    pv_buf_adds(b, at->spec->append);
}

static void put_cid(const struct at *at, struct pv_buf *b)
{
    pv_buf_addf(b, "%u", at->spec->channel.cid);
}

static void put_disk(const struct at *at, struct pv_buf *b)
{
    pv_buf_addf(b, "%zu", at->disk);
}

/* "./" in front of a relative path keeps QEMU from parsing it as "nbd:..." or "json:...". */
static void put_path(const struct at *at, struct pv_buf *b)
{
    const char *path = at->spec->disks[at->disk].path;

    if (path[0] != '/')
        pv_buf_adds(b, "./");
    pv_vm_add_value(b, path);
}

static void put_format(const struct at *at, struct pv_buf *b)
{
    pv_buf_adds(b, at->spec->disks[at->disk].format);
}

/* ",serial=...": NVMe cannot be without one. */
static void put_serial(const struct at *at, struct pv_buf *b)
{
    const struct pv_vm_disk *d = &at->spec->disks[at->disk];

    if (!d->name && d->bus != PV_VM_BUS_NVME)
        return;
    pv_buf_adds(b, ",serial=");
    pv_vm_add_value(b, d->name ? d->name : "disk");
}

static void put_sector(const struct at *at, struct pv_buf *b)
{
    unsigned n = at->spec->disks[at->disk].sector;

    if (n)
        pv_buf_addf(b, ",logical_block_size=%u,physical_block_size=%u", n, n);
}

static void put_served_mode(const struct at *at, struct pv_buf *b)
{
    pv_buf_adds(b, at->spec->disks[at->disk].readonly ? "on" : "off");
}

static void put_overlay(const struct at *at, struct pv_buf *b)
{
    pv_buf_addf(b, "%d", PV_QEMU_FD_OVERLAY + (int)at->disk);
}

/* "backing.driver=...": the backing chain from the top down, then the image itself. */
static void put_backing(const struct at *at, struct pv_buf *b)
{
    const struct pv_vm_disk *d = &at->spec->disks[at->disk];
    struct pv_buf prefix = {0};
    size_t first = 0;

    for (size_t i = 0; i < at->disk; i++)
        first += at->spec->disks[i].n_backing;
    pv_buf_adds(&prefix, "backing.");
    for (size_t i = d->n_backing; i-- > 0;) {
        pv_buf_addf(b, "%sdriver=qcow2,%sfile.filename=/proc/self/fd/%zu,", prefix.data, prefix.data,
                    PV_QEMU_FD_BACKING + first + i);
        pv_buf_adds(&prefix, "backing.");
    }
    pv_buf_addf(b, "%sdriver=", prefix.data);
    put_format(at, b);
    pv_buf_addf(b, ",%sfile.filename=", prefix.data);
    put_path(at, b);
    pv_buf_free(&prefix);
}

static const struct {
    const char *name;
    void (*put)(const struct at *at, struct pv_buf *b);
} placeholders[] = {
    {"{name}", put_name},
    {"{machine}", put_machine},
    {"{cpu}", put_cpu},
    {"{memory}", put_memory},
    {"{cpus}", put_cpus},
    {"{kernel}", put_kernel},
    {"{append}", put_append},
    {"{cid}", put_cid},
    {"{disk}", put_disk},
    {"{path}", put_path},
    {"{format}", put_format},
    {"{overlay}", put_overlay},
    {"{share}", put_share},
    {"{backing}", put_backing},
    {"{serial}", put_serial},
    {"{sector}", put_sector},
    {"{served_mode}", put_served_mode},
};

/* ---- the table ---- */

#define STR_(x) #x
#define STR(x) STR_(x)

/* The numbers of spec.h as text. */
#define FD_QMP 3
#define FD_VSOCK 5
#define FD_INITRD 6
#define FD_MEMORY 32
#define FD_GDB 37
_Static_assert(FD_QMP == PV_QEMU_FD_QMP && FD_VSOCK == PV_QEMU_FD_VSOCK && FD_INITRD == PV_QEMU_FD_INITRD &&
                   FD_MEMORY == PV_QEMU_FD_MEMORY && FD_GDB == PV_QEMU_FD_GDB,
               "descriptor numbers");

/* Stands for all of spec->machine_args. */
#define MACHINE_ARGS NULL

static const struct row {
    bool (*when)(const struct pv_vm_spec *s); /* NULL: a row of disks, written for each with `disk` true */
    const char *option;
    const char *value; /* NULL: the option stands alone */
    bool (*disk)(const struct pv_vm_disk *d);
} rows[] = {
    {named, "-name", "guest={name}"},
    {always, "-nodefaults", NULL},
    {always, "-no-user-config", NULL},
    {always, "-display", "none"},
    {always, "-no-reboot", NULL},
    {with_core, "-action", "shutdown=pause"},
    {unconfined_sandbox, "-sandbox", SANDBOX}, /* qemu_args may set it otherwise */
    {with_kvm, "-accel", "kvm"},
    /* The buffer of translated code grows to 1 GiB otherwise, whatever memory the guest has. */
    {tcg_multi, "-accel", "tcg,thread=multi,tb-size=256"},
    {tcg_single, "-accel", "tcg,thread=single,tb-size=256"},
    {memory_own, "-machine", "{machine}"},
    {memory_backend, "-machine", "{machine},memory-backend=mem"},
    {memory_file, "-object",
     "memory-backend-file,id=mem,size={memory},mem-path=/proc/self/fd/" STR(FD_MEMORY) ",share={share}"},
    {memory_memfd, "-object", "memory-backend-memfd,id=mem,size={memory},share=on"},
    {always, "-m", "{memory}"},
    {always, "-cpu", "{cpu}"},
    {always, "-smp", "{cpus}"},
    {always, "-chardev", "socket,id=qmp,fd=" STR(FD_QMP)},
    {always, "-mon", "chardev=qmp,mode=control"},
    {always, "-chardev", "stdio,id=console,signal=off"},
    {always, "-device", "isa-serial,chardev=console"},
    {always, "-device", "pvpanic-pci"},
    {with_gdb, "-chardev", "socket,id=gdb,fd=" STR(FD_GDB) ",server=on,wait=off"},
    {with_gdb, "-gdb", "chardev:gdb"},
    {with_gdb, "-S", NULL},
    {incoming, "-S", NULL},
    {incoming, "-incoming", "defer"},
    {has_kernel, "-kernel", "{kernel}"},
    {has_initrd, "-initrd", "/proc/self/fd/" STR(FD_INITRD)},
    {has_append, "-append", "{append}"},
    {vsock_user, "-chardev", "socket,id=vsock,fd=" STR(FD_VSOCK)},
    {vsock_user, "-device", "vhost-user-vsock-pci,chardev=vsock"},
    {serial, "-chardev", "socket,id=agent,fd=" STR(FD_VSOCK)},
    /* Without ioeventfd the vCPU's own thread handles its doorbell: one context switch less. */
    {serial, "-device", "virtio-serial-pci,id=vserial,max_ports=2,ioeventfd=off"},
    {serial, "-device", "virtserialport,bus=vserial.0,chardev=agent,name=provium.agent,id=" PV_VM_AGENT_PORT},
    {always, MACHINE_ARGS, NULL},
    {vsock_kernel, "-device", "vhost-vsock-pci,vhostfd=" STR(FD_VSOCK) ",guest-cid={cid}"},
    {has_scsi, "-device", "virtio-scsi-pci,id=scsi"},
    {NULL, "-drive", "if=none,id=disk{disk},file={path},format={format},aio=threads", disk_writable},
    {NULL, "-drive", "if=none,id=disk{disk},file={path},format={format},aio=threads,readonly=on",
     disk_readonly},
    {NULL, "-drive",
     "if=none,id=disk{disk},file=/proc/self/fd/{overlay},format=qcow2,aio=threads,cache=unsafe,"
     "{backing}",
     disk_overlaid},
    {NULL, "-blockdev",
     "driver=nbd,node-name=disk{disk},server.type=fd,server.str={overlay},cache.direct=on,discard=unmap,"
     "read-only={served_mode}",
     disk_served},
    /* By default a full host disk stops the guest; its kernel has to see the error instead. */
    {NULL, "-device", "virtio-blk-pci,drive=disk{disk},werror=report,rerror=report{serial}{sector}",
     disk_virtio},
    /* It reports errors always. */
    {NULL, "-device", "nvme,drive=disk{disk}{serial}{sector}", disk_nvme},
    {NULL, "-device", "scsi-hd,bus=scsi.0,drive=disk{disk},werror=report,rerror=report{serial}{sector}",
     disk_scsi},
};

static void add_args(struct pv_strv *argv, char *const *args)
{
    for (; args && *args; args++)
        pv_strv_add(argv, *args);
}

static void add_row(struct pv_strv *argv, const struct row *row, const struct at *at)
{
    struct pv_buf b = {0};
    const char *s = row->value;

    if (row->option == MACHINE_ARGS) {
        add_args(argv, at->spec->machine_args);
        return;
    }
    pv_strv_add(argv, row->option);
    if (!s)
        return;
    while (*s) {
        size_t i = 0;

        while (*s == '{' && i < PV_ARRAY_LEN(placeholders) &&
               strncmp(s, placeholders[i].name, strlen(placeholders[i].name)) != 0)
            i++;
        if (*s == '{' && i < PV_ARRAY_LEN(placeholders)) {
            placeholders[i].put(at, &b);
            s += strlen(placeholders[i].name);
        } else {
            pv_buf_addc(&b, *s++);
        }
    }
    pv_strv_take(argv, b.data ? b.data : pv_xstrdup(""));
}

void pv_vm_args(const struct pv_vm_spec *spec, struct pv_strv *argv)
{
    struct at at = {.spec = spec};

    pv_strv_add(argv, spec->qemu ? spec->qemu : PV_QEMU_PROGRAM);
    for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++)
        if (rows[i].when && rows[i].when(spec))
            add_row(argv, &rows[i], &at);
    for (at.disk = 0; at.disk < spec->n_disks; at.disk++)
        for (size_t i = 0; i < PV_ARRAY_LEN(rows); i++)
            if (!rows[i].when && rows[i].disk(&spec->disks[at.disk]))
                add_row(argv, &rows[i], &at);
    add_args(argv, spec->extra_args);
    if (!unconfined(spec) && !spec->no_sandbox) { /* the last one wins */
        pv_strv_add(argv, "-sandbox");
        pv_strv_add(argv, SANDBOX);
    }
}

/* ---- the kernel command line ---- */

static void add_word(struct pv_buf *b, const char *word)
{
    if (!word || !*word)
        return;
    if (b->len)
        pv_buf_addc(b, ' ');
    pv_buf_adds(b, word);
}

char *pv_vm_kernel_args(bool kvm, uint32_t tsc_khz, const char *rdinit, const char *init,
                        const char *profile_append, const char *boot_append)
{
    struct pv_buf b = {0};

    /*
     * loglevel=5 prints warnings and worse on the console, where findings.h reads them.  panic=-1 with
     * -no-reboot makes QEMU exit.
     */
    add_word(&b,
             "console=ttyS0 quiet loglevel=5 panic=-1 no_timer_check cryptomgr.notests random.trust_cpu=on "
             "8250.nr_uarts=1 i8042.noaux i8042.nokbd");
    /* Under emulation the guest's TSC is the host's; KVM itself tells its guest the rate. */
    if (!kvm && tsc_khz)
        pv_buf_addf(&b, " tsc_early_khz=%" PRIu32 " tsc=reliable", tsc_khz);
    if (rdinit)
        pv_buf_addf(&b, " rdinit=%s", rdinit);
    if (init)
        pv_buf_addf(&b, " provium.init=%s", init);
    add_word(&b, profile_append);
    add_word(&b, boot_append);
    return b.data;
}
