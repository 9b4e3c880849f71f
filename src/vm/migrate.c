/* SPDX-License-Identifier: MIT */
/*
 * A machine's state without its memory.
 *
 * QEMU's stream (docs/devel/migration.rst; migration/savevm.c and migration/ram.c in QEMU's sources; numbers
 * are big-endian):
 *
 *     "QEVM", u32 3
 *     0x07, u32 length, machine type, then subsections: 0x05, u8 length, name, u32 version, contents
 *     sections of memory: 0x01 (first) | 0x02 | 0x03 (last), u32 section; the first also has u8 length,
 * "ram", u32 instance, u32 version; then records of u64 address | flags; then 0x7e, u32 section devices: 0x04
 * ... 0x00, then 0x06, u32 length, a description in JSON
 *
 * With the capability x-ignore-shared, memory that is a shared file is left out; QEMU's ROMs, which are no
 * file, are in it.  A resumed guest maps its memory privately, so the same capability would save all of it
 * again.  But `xen-save-devices-state` saves the devices alone (and the guest may go on after it), in the
 * same format; what it lacks, the ROMs and the configuration, does not change in a machine's life.  So the
 * part up to the devices, the head, is taken from the first stream of a machine, and what every later save
 * gives is put behind it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "util/err.h"
#include "util/path.h"
#include "vm/internal.h"

enum { STATE_MAX = 64 << 20 };

enum { S_START = 0x01, S_PART, S_END, S_FULL, S_SUBSECTION, S_DESCRIPTION, S_CONFIGURATION, S_FOOTER = 0x7e };

/* Flags of a record of memory. */
enum { R_ZERO = 0x02, R_SIZES = 0x04, R_PAGE = 0x08, R_EOS = 0x10, R_CONTINUE = 0x20, R_MASK = 0xfff };

/* ---- where the devices begin ---- */

struct in {
    const unsigned char *p;
    size_t n, at;
    bool bad; /* it ended too early */
};

static uint64_t get(struct in *in, unsigned bytes)
{
    uint64_t v = 0;

    if (in->n - in->at < bytes) {
        in->bad = true;
        in->at = in->n;
        return 0;
    }
    while (bytes--)
        v = v << 8 | in->p[in->at++];
    return v;
}

static void skip(struct in *in, uint64_t n)
{
    if (in->n - in->at < n) {
        in->bad = true;
        n = in->n - in->at;
    }
    in->at += n;
}

static unsigned peek(const struct in *in)
{
    return in->at < in->n ? in->p[in->at] : 0;
}

static bool skip_configuration(struct in *in)
{
    static const char known[] = "configuration/capabilities";

    if (peek(in) != S_CONFIGURATION)
        return true;
    skip(in, 1);
    skip(in, get(in, 4));
    while (peek(in) == S_SUBSECTION) {
        size_t len;

        skip(in, 1);
        len = (size_t)get(in, 1);
        if (len != sizeof(known) - 1 || in->n - in->at < len || memcmp(in->p + in->at, known, len) != 0)
            return false; /* its contents can not be told from what follows */
        skip(in, len + 4);
        for (uint64_t n = get(in, 4); n > 0 && !in->bad; n--)
            skip(in, get(in, 1));
    }
    return !in->bad;
}

/* The records of one section of memory. */
static bool skip_memory(struct in *in)
{
    while (!in->bad) {
        uint64_t v = get(in, 8), flags = v & R_MASK, left = v & ~(uint64_t)R_MASK;

        if (flags & R_EOS)
            return true;
        if (flags & R_SIZES) { /* name, size and address of each block */
            while (left > 0 && !in->bad) {
                uint64_t size;

                skip(in, get(in, 1));
                size = get(in, 8);
                skip(in, 8);
                left = size && size <= left ? left - size : 0;
            }
            continue;
        }
        if (!(flags & R_CONTINUE))
            skip(in, get(in, 1));
        if (flags & R_ZERO)
            skip(in, 1);
        else if (flags & R_PAGE)
            skip(in, 4096);
        else
            return false;
    }
    return false;
}

size_t pv_vm_state_head(const void *data, size_t n)
{
    struct in in = {.p = data, .n = n};
    bool seen = false;

    if (get(&in, 4) != 0x5145564d || get(&in, 4) != 3 || !skip_configuration(&in))
        return 0;
    for (;;) {
        uint64_t type = get(&in, 1);

        if (in.bad)
            return 0;
        if (type == S_FULL)
            return seen ? in.at - 1 : 0;
        if (type < S_START || type > S_END)
            return 0;
        skip(&in, 4);
        if (type == S_START) {
            if (get(&in, 1) != 3 || in.n - in.at < 3 || memcmp(in.p + in.at, "ram", 3) != 0)
                return 0;
            skip(&in, 3 + 8);
        }
        if (!skip_memory(&in) || get(&in, 1) != S_FOOTER)
            return 0;
        skip(&in, 4);
        seen = true;
    }
}

/* ---- save ---- */

static int read_whole(int fd, struct pv_buf *out, struct pv_err *err)
{
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0 || st.st_size > STATE_MAX)
        return pv_err_set(err, PV_E_HOST, "the state of the VM is larger than %d MiB", STATE_MAX >> 20);
    pv_buf_reserve(out, (size_t)st.st_size);
    n = pv_pread_all(fd, out->data + out->len, (size_t)st.st_size, 0);
    if (n != st.st_size)
        return pv_err_sys(err, n < 0 ? errno : EIO, "cannot read the state of the VM");
    out->len += (size_t)n;
    return 0;
}

static bool migrated(void *arg)
{
    struct pv_vm *vm = arg;
    const char *s = pv_vm_saving(vm)->migration;

    return pv_vm_state(vm) == PV_VM_ENDED || !strcmp(s, "completed") || !strcmp(s, "failed") ||
           !strcmp(s, "cancelled");
}

/* A migration that has been started, in either direction. */
static int wait_migration(struct pv_vm *vm, const char *what, int64_t deadline, struct pv_err *err)
{
    const struct pv_saving *s = pv_vm_saving(vm);
    int r = pv_loop_run(pv_vm_loop(vm), migrated, vm, deadline, err);

    if (r < 0)
        return -1;
    if (pv_vm_state(vm) == PV_VM_ENDED)
        return pv_err_set(err, PV_E_GUEST_DIED, "cannot %s: the VM has ended: %s", what,
                          pv_vm_end_reason(vm));
    if (r > 0)
        return pv_err_set(err, PV_E_TIMEOUT, "cannot %s: QEMU was not done in time", what);
    if (strcmp(s->migration, "completed") != 0)
        return pv_err_set(err, PV_E_HOST, "cannot %s: QEMU says: %s", what, s->migration);
    return 0;
}

static int set_capabilities(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "migrate-set-capabilities",
                     "{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true},"
                     "{\"capability\":\"events\",\"state\":true}]}",
                     NULL, deadline, err);
}

#define STR_(x) #x
#define STR(x) STR_(x)
#define FD_SAVE 33
#define FD_LOAD 34
_Static_assert(FD_SAVE == PV_QEMU_FD_SAVE && FD_LOAD == PV_QEMU_FD_LOAD, "descriptor numbers");

/* The first stream of a machine that was booted. */
static int save_first(struct pv_vm *vm, struct pv_buf *out, int64_t deadline, struct pv_err *err)
{
    struct pv_saving *s = pv_vm_saving(vm);
    size_t head;

    s->migration[0] = '\0';
    if (ftruncate(s->fd, 0) < 0 || lseek(s->fd, 0, SEEK_SET) < 0)
        return pv_err_sys(err, errno, "cannot save the VM");
    if (set_capabilities(vm, deadline, err) < 0 || pv_vm_pass(vm, s->fd, "state", deadline, err) < 0 ||
        pv_vm_qmp(vm, "migrate", "{\"uri\":\"fd:state\"}", NULL, deadline, err) < 0 ||
        wait_migration(vm, "save the VM", deadline, err) < 0 || read_whole(s->fd, out, err) < 0)
        return -1;
    head = pv_vm_state_head(out->data, out->len);
    if (!head)
        return pv_err_set(err, PV_E_HOST, "cannot save the VM: this QEMU's state is of an unknown shape");
    pv_buf_add(&s->head, out->data, head);
    return 0;
}

static int save_again(struct pv_vm *vm, struct pv_buf *out, int64_t deadline, struct pv_err *err)
{
    static const char no_description[] = {S_DESCRIPTION, 0, 0, 0, 0};
    cleanup_buf struct pv_buf devices = {0};
    struct pv_saving *s = pv_vm_saving(vm);

    if (ftruncate(s->fd, 0) < 0)
        return pv_err_sys(err, errno, "cannot save the VM");
    if (pv_vm_qmp(vm, "xen-save-devices-state",
                  "{\"filename\":\"/proc/self/fd/" STR(FD_SAVE) "\",\"live\":false}", NULL, deadline,
                  err) < 0 ||
        read_whole(s->fd, &devices, err) < 0)
        return -1;
    if (devices.len < 9 || memcmp(devices.data, s->head.data, 8) != 0 || devices.data[8] != S_FULL ||
        devices.data[devices.len - 1] != 0)
        return pv_err_set(err, PV_E_HOST, "cannot save the VM: this QEMU's state is of an unknown shape");
    pv_buf_add(out, s->head.data, s->head.len);
    pv_buf_add(out, devices.data + 8, devices.len - 8);
    pv_buf_add(out, no_description, sizeof(no_description));
    return 0;
}

/* The head of the stream that the machine was itself loaded from. */
static int head_of_loaded(struct pv_saving *s, struct pv_err *err)
{
    cleanup_buf struct pv_buf loaded = {0};
    size_t head;

    if (read_whole(s->load_fd, &loaded, err) < 0)
        return -1;
    head = pv_vm_state_head(loaded.data, loaded.len);
    if (!head)
        return pv_err_set(err, PV_E_HOST,
                          "cannot save the VM: what it was loaded from is of an unknown shape");
    pv_buf_add(&s->head, loaded.data, head);
    return 0;
}

int pv_vm_save(struct pv_vm *vm, int *out, int64_t deadline, struct pv_err *err)
{
    cleanup_buf struct pv_buf stream = {0};
    cleanup_close int fd = -1;
    struct pv_saving *s = pv_vm_saving(vm);

    if (s->fd < 0)
        return pv_err_set(err, PV_E_USAGE, "this VM was not started to be saved");
    if (pv_vm_qmp(vm, "stop", NULL, NULL, deadline, err) < 0)
        return -1;
    if (!s->head.len && s->load_fd >= 0 && head_of_loaded(s, err) < 0)
        return -1;
    if ((s->head.len ? save_again(vm, &stream, deadline, err) : save_first(vm, &stream, deadline, err)) < 0)
        return -1;
    fd = memfd_create("provium-state", MFD_CLOEXEC);
    if (fd < 0 || pv_write_all(fd, stream.data, stream.len) < 0)
        return pv_err_sys(err, errno, "cannot keep the state of the VM");
    *out = pv_steal_fd(&fd);
    return 0;
}

int pv_vm_load(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    pv_vm_saving(vm)->migration[0] = '\0';
    if (set_capabilities(vm, deadline, err) < 0 ||
        pv_vm_qmp(vm, "migrate-incoming", "{\"uri\":\"fd:" STR(FD_LOAD) "\"}", NULL, deadline, err) < 0)
        return -1;
    return wait_migration(vm, "load the state of the VM", deadline, err);
}

int pv_vm_cont(struct pv_vm *vm, int64_t deadline, struct pv_err *err)
{
    return pv_vm_qmp(vm, "cont", NULL, NULL, deadline, err);
}
