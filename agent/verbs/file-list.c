/* SPDX-License-Identifier: MIT */
/* LIST, a block of directory entries at a time. */
#include "agent/verb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/dirents.h"
#include "agent/util.h"

struct file_list {
    int fd;
    uint64_t names;
    char path[PV_PATH_MAX];
    struct ag_dirents block;
};

AG_STATE(file_list, file_list_state)

/* One frame with the names of the block that was read. */
static void send_names(struct ag_session *s, struct file_list *f)
{
    struct pv_enc e = ag_frame_begin(s, PV_MSG_DATA, AG_DATA_HEAD + sizeof(f->block.data));
    size_t n = 0;

    /* The names take less room than their entries: they are moved to the front of the block. */
    for (const char *name; (name = ag_dirents_next(&f->block));) {
        size_t len = strlen(name) + 1;

        memmove(f->block.data + n, name, len);
        n += len;
        f->names++;
    }
    if (!n)
        return;
    pv_enc_u32(&e, s->id);
    pv_enc_bytes(&e, f->block.data, n);
    ag_frame_end(s, &e);
}

static void list_more(struct ag_session *s, const struct pollfd *p)
{
    struct file_list *f = file_list_state(s);

    (void)p;
    if (!ag_data_room(s))
        return;
    ssize_t n = ag_dirents_read(&f->block, f->fd);

    if (n > 0) {
        send_names(s, f);
    } else if (n < 0) {
        ag_request_fail(s, errno, "list '%s'", f->path);
    } else {
        ag_reply_ok(s, s->id, f->names);
        ag_request_end(s);
    }
}

static bool list_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    struct file_list *f = file_list_state(s);

    (void)id;
    pv_dec_str(d, f->path, sizeof(f->path));
    if (!pv_dec_done(d))
        return false;
    f->names = 0;
    f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        ag_request_fail(s, errno, "list '%s'", f->path);
    return true;
}

static void list_cancel(struct ag_session *s)
{
    ag_request_fail(s, ECANCELED, "list '%s'", file_list_state(s)->path);
}

static void list_close(struct ag_session *s)
{
    ag_close(&file_list_state(s)->fd);
}

const struct ag_verb ag_verb_list = {.message = PV_MSG_LIST,
                                     .start = list_start,
                                     .due = ag_due_with_room,
                                     .more = list_more,
                                     .cancel = list_cancel,
                                     .close = list_close};
