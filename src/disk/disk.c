/* SPDX-License-Identifier: MIT */
/* A disk from its making to its end, and the host's access to it. */
#include "disk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk/frozen.h"
#include "disk/internal.h"
#include "disk/nbd.h"
#include "disk/remote.h"
#include "util/clock.h"
#include "util/err.h"

enum { SOCKET_BYTES = 1 << 20 };

/* Calls the trigger's function and those of rules that hit; a function may call anything but pv_disk_free. */
static void on_notify(struct pv_timer *t)
{
    struct pv_disk *d = PV_CONTAINER_OF(t, struct pv_disk, notify);
    void (*fn)(struct pv_disk *, void *) = d->trigger.fired ? d->trigger.fn : NULL;

    if (fn) {
        d->trigger.fn = NULL;
        d->trigger.fired = false;
        fn(d, d->trigger.arg);
    }
    pv_rules_notify(d);
}

static struct pv_disk *disk_alloc(struct pv_loop *loop, const struct pv_disk_opts *o)
{
    struct pv_disk *d = pv_xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->name = pv_xstrdup(o->name);
    d->dir = pv_xstrdup(o->dir);
    d->readonly = o->readonly;
    d->sector = o->sector ? o->sector : o->image ? o->image->sector : 512;
    d->notify.fn = on_notify;
    return d;
}

static int check_opts(const struct pv_disk_opts *o, uint64_t *size, unsigned sector, struct pv_err *err)
{
    if (strlen(o->name) > PV_DISK_NAME)
        return pv_err_set(err, PV_E_USAGE, "disk '%s': a name has at most %d bytes", o->name, PV_DISK_NAME);
    if (sector != 512 && sector != 4096)
        return pv_err_set(err, PV_E_USAGE, "disk '%s': sector is 512 or 4096, not %u", o->name, sector);
    if (*size == 0 || *size > PV_DISK_SIZE_MAX)
        return pv_err_set(err, PV_E_USAGE, "disk '%s': size is from 1 byte to 64T", o->name);
    *size = (*size + sector - 1) / sector * sector;
    return 0;
}

static struct pv_disk *disk_new_on(struct pv_disk *d, struct pv_err *err)
{
    if (pv_cache_init(d, err) == 0)
        return d;
    pv_disk_free(d);
    return NULL;
}

struct pv_disk *pv_disk_new(struct pv_loop *loop, const struct pv_disk_opts *o, struct pv_err *err)
{
    const struct pv_disk_image *i = o->image;
    uint64_t size = o->size ? o->size : i ? pv_layer_size(i->content) : 0;
    struct pv_disk *d = disk_alloc(loop, o);

    if (check_opts(o, &size, d->sector, err) < 0)
        goto fail;
    if (i && size != pv_layer_size(i->content)) {
        pv_err_set(err, PV_E_USAGE, "disk '%s': size is %llu, but its content has %llu bytes", o->name,
                   (unsigned long long)size, (unsigned long long)pv_layer_size(i->content));
        goto fail;
    }
    d->store = pv_layer_new(d->dir, size, i ? i->content : NULL, err);
    if (!d->store || !(d = disk_new_on(d, err)))
        goto fail;
    if (i && pv_cache_adopt(d, i->changes, i->n_changes, i->log) < 0) {
        pv_err_sys(err, errno, "disk '%s': cannot copy its unflushed writes", o->name);
        goto fail;
    }
    return d;
fail:
    pv_disk_free(d);
    return NULL;
}

/* The open file's layer; *size gets its size. */
static struct pv_layer *file_layer(const struct pv_disk_opts *o, const char *path, bool write,
                                   unsigned sector, struct pv_err *err)
{
    cleanup_close int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    struct pv_layer *l;
    struct pv_blob *b;

    if (fd < 0) {
        pv_err_set_at(err, errno == ENOENT ? PV_E_MISSING : PV_E_HOST, errno, __FILE__, __LINE__,
                      "disk '%s': cannot open %s", o->name, path);
        return NULL;
    }
    if (size <= 0 || size % sector || (uint64_t)size > PV_DISK_SIZE_MAX) {
        pv_err_set(err, PV_E_USAGE,
                   "disk '%s': %s has %lld bytes, and a disk is a multiple of its sector (%u), at least one",
                   o->name, path, (long long)size, sector);
        return NULL;
    }
    b = pv_blob_new(pv_steal_fd(&fd));
    l = pv_layer_file(b, (uint64_t)size);
    pv_blob_unref(b);
    return l;
}

/* The layer of an image that qemu-storage-daemon reads. */
static struct pv_layer *image_layer(const struct pv_disk_opts *o, const char *path, const char *format,
                                    bool write, unsigned sector, struct pv_err *err)
{
    struct pv_remote *r = pv_remote_open(o->dir, path, format, write, err);

    if (!r) {
        pv_err_wrap(err, "disk '%s'", o->name);
        return NULL;
    }
    if (pv_remote_size(r) && pv_remote_size(r) % sector == 0)
        return pv_layer_remote(r);
    pv_err_set(err, PV_E_USAGE, "disk '%s': %s has %llu bytes, and a disk is a multiple of its sector (%u)",
               o->name, path, (unsigned long long)pv_remote_size(r), sector);
    pv_remote_close(r);
    return NULL;
}

struct pv_disk *pv_disk_open_file(struct pv_loop *loop, const struct pv_disk_opts *o, const char *path,
                                  const char *format, bool snapshot, struct pv_err *err)
{
    struct pv_disk *d = disk_alloc(loop, o);
    struct pv_layer *file;
    uint64_t size = 1;

    if (check_opts(o, &size, d->sector, err) < 0)
        goto fail;
    file = strcmp(format, "raw") == 0
               ? file_layer(o, path, !snapshot && !o->readonly, d->sector, err)
               : image_layer(o, path, format, !snapshot && !o->readonly, d->sector, err);
    if (!file)
        goto fail;
    if (snapshot) {
        d->store = pv_layer_new(d->dir, pv_layer_size(file), file, err);
        pv_layer_unref(file);
    } else {
        d->store = file;
    }
    if (!d->store)
        goto fail;
    return disk_new_on(d, err);
fail:
    pv_disk_free(d);
    return NULL;
}

void pv_disk_free(struct pv_disk *d)
{
    if (!d)
        return;
    pv_disk_disconnect(d);
    pv_timer_cancel(d->loop, &d->notify);
    pv_rules_free(d);
    if (d->sink)
        d->sink->end(d->sink);
    if (d->cache.log)
        pv_cache_fini(d);
    pv_layer_unref(d->store);
    free(d->name);
    free(d->dir);
    free(d);
}

int pv_disk_set(struct pv_disk *d, const struct pv_disk_image *i, struct pv_err *err)
{
    struct pv_layer *store;

    if (d->sink || d->sector != i->sector || pv_disk_size(d) != pv_layer_size(i->content))
        return pv_err_set(err, PV_E_USAGE, "disk '%s' cannot get this content: %s", d->name,
                          d->sink ? "it is being recorded" : "its size or sector is another");
    store = pv_layer_new(d->dir, pv_layer_size(i->content), i->content, err);
    if (!store)
        return -1;
    pv_cache_flush(d);
    pv_layer_unref(d->store);
    d->store = store;
    if (pv_cache_adopt(d, i->changes, i->n_changes, i->log) < 0)
        return pv_err_sys(err, errno, "disk '%s': cannot copy its unflushed writes", d->name);
    return 0;
}

int pv_disk_connect(struct pv_disk *d, struct pv_err *err)
{
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return pv_err_sys(err, errno, "disk '%s': cannot make a socket", d->name);
    /* The kernel takes less where it must; a large request goes over in fewer pieces. */
    for (size_t i = 0; i < 2; i++)
        setsockopt(sv[i], SOL_SOCKET, SO_SNDBUF, &(int){SOCKET_BYTES}, sizeof(int));
    pv_disk_disconnect(d);
    d->held = d->stopped = d->swallow = false;
    if (pv_nbd_open(d, sv[0], err) < 0) {
        pv_close(&sv[1]);
        return -1;
    }
    return sv[1];
}

void pv_disk_disconnect(struct pv_disk *d)
{
    if (d->nbd)
        pv_nbd_close(d->nbd);
}

const char *pv_disk_name(const struct pv_disk *d)
{
    return d->name;
}

uint64_t pv_disk_size(const struct pv_disk *d)
{
    return pv_layer_size(d->store);
}

unsigned pv_disk_sector(const struct pv_disk *d)
{
    return d->sector;
}

static int check_range(const struct pv_disk *d, uint64_t offset, size_t n, struct pv_err *err)
{
    uint64_t size = pv_disk_size(d);

    if (offset <= size && n <= size - offset)
        return 0;
    return pv_err_set(err, PV_E_USAGE, "disk '%s': %zu bytes at %llu are not within its %llu bytes", d->name,
                      n, (unsigned long long)offset, (unsigned long long)size);
}

int pv_disk_read(struct pv_disk *d, uint64_t offset, void *to, size_t n, struct pv_err *err)
{
    if (check_range(d, offset, n, err) < 0)
        return -1;
    return pv_cache_read(d, offset, to, n) < 0 ? pv_err_sys(err, errno, "disk '%s': cannot read", d->name)
                                               : 0;
}

int pv_disk_write(struct pv_disk *d, uint64_t offset, const void *data, size_t n, struct pv_err *err)
{
    if (check_range(d, offset, n, err) < 0)
        return -1;
    if (pv_cache_write(d, offset, data, n, true) < 0)
        return pv_err_sys(err, errno, "disk '%s': cannot write", d->name);
    return 0;
}

void pv_disk_flush(struct pv_disk *d)
{
    pv_cache_flush(d);
}

uint64_t pv_disk_unflushed(const struct pv_disk *d)
{
    return d->cache.unflushed;
}

int pv_disk_save(struct pv_disk *d, const char *path, struct pv_err *err)
{
    cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);

    if (fd < 0)
        return pv_err_set(err, PV_E_USAGE, "disk '%s': cannot save it to '%s': %s", d->name, path,
                          strerror(errno));
    if (ftruncate(fd, (off_t)pv_disk_size(d)) < 0 || pv_layer_copy(d->store, fd) < 0)
        return pv_err_sys(err, errno, "disk '%s': cannot save to %s", d->name, path);
    return 0;
}

void pv_disk_stats(const struct pv_disk *d, struct pv_disk_stats *s)
{
    *s = d->stats;
}

void pv_disk_guest_stopped(struct pv_disk *d, bool stopped)
{
    if (stopped && !d->stopped && d->nbd)
        pv_nbd_drain(d->nbd);
    d->stopped = stopped;
}

void pv_disk_swallow(struct pv_disk *d)
{
    d->swallow = true;
}

void pv_disk_trigger(struct pv_disk *d, enum pv_disk_op op, uint64_t after,
                     void (*fn)(struct pv_disk *d, void *arg), void *arg)
{
    d->trigger.op = op;
    d->trigger.left = after;
    d->trigger.fn = fn;
    d->trigger.arg = arg;
    d->trigger.fired = false;
}

void pv_disk_hold(struct pv_disk *d)
{
    d->held = true;
}

void pv_disk_release(struct pv_disk *d)
{
    d->held = false;
    if (d->nbd)
        pv_nbd_wake(d->nbd);
}
