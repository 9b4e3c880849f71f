/* SPDX-License-Identifier: MIT */
/*
 * MEM_ALLOC, MEM_FREE, MEM_READ and MEM_WRITE: memory of the session's process for system calls.
 *
 * An address of the host may be anything.  The kernel copies through a pipe: write(2) and read(2) fail with
 * EFAULT where a load would be a signal, and unlike process_vm_readv(2) they reach pages that a driver has
 * mapped (the rings of io_uring).
 *
 * A block has a page in front that tells its size, read-only, and an unmapped one behind it.  So no table of
 * blocks is needed, and a forked worker can free its copy.
 */
#include "agent/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/util.h"

enum { PAGE = 4096, PIECE = 4096, READ_MAX = 64 * 1024 };

#define BLOCK_MAGIC UINT64_C(0x6b636f6c62206d76)

struct block {
    uint64_t magic, address, map_n;
};

/* Copies up to PIECE bytes through the pipe; at least one of from and to is in the test's hands.  0 or -1. */
static int copy_piece(const int pipe_fd[2], void *to, const void *from, size_t n)
{
    ssize_t put = write(pipe_fd[1], from, n);

    for (ssize_t got = 0, r; got < put; got += r) {
        r = read(pipe_fd[0], (char *)to + got, (size_t)(put - got));
        if (r <= 0)
            return -1;
    }
    if (put == (ssize_t)n)
        return 0;
    if (put >= 0)
        errno = EFAULT;
    return -1;
}

static void close_pipe(int pipe_fd[2])
{
    ag_close(&pipe_fd[0]);
    ag_close(&pipe_fd[1]);
}

/* ---- MEM_ALLOC, MEM_FREE ---- */

static bool alloc_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint64_t size = pv_dec_u64(d), data;
    uint32_t flags = pv_dec_u32(d);
    int kind = (flags & PV_MEM_SHARED ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS;

    if (!pv_dec_done(d) || !size || flags & ~(uint32_t)PV_MEM_SHARED)
        return false;
    errno = ENOMEM;
    data = size < UINT64_C(1) << 60 ? (size + PAGE - 1) / PAGE * PAGE : 0;
    uint8_t *map = data ? mmap(NULL, data + 2 * PAGE, PROT_READ | PROT_WRITE, kind, -1, 0) : MAP_FAILED;

    if (map == MAP_FAILED) {
        ag_reply_error(s, id, errno == EINVAL ? ENOMEM : errno, "alloc %llu bytes", (unsigned long long)size);
        return true;
    }
    *(struct block *)(void *)map =
        (struct block){.magic = BLOCK_MAGIC, .address = (uintptr_t)map + PAGE, .map_n = data + 2 * PAGE};
    mprotect(map, PAGE, PROT_READ);
    mprotect(map + PAGE + data, PAGE, PROT_NONE);
    ag_reply_ok(s, id, (uintptr_t)map + PAGE);
    return true;
}

const struct ag_verb ag_verb_mem_alloc = {.message = PV_MSG_MEM_ALLOC, .start = alloc_start};

/* 0, or the errno of why the block cannot be freed. */
static int free_block(uint64_t address)
{
    struct block b = {0};
    int p[2];

    if (address % PAGE || address < PAGE)
        return EINVAL;
    if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
        return errno;
    int r = copy_piece(p, &b, (const void *)(uintptr_t)(address - PAGE), sizeof(b));

    close_pipe(p);
    if (r < 0 || b.magic != BLOCK_MAGIC || b.address != address)
        return EINVAL;
    return munmap((void *)(uintptr_t)(address - PAGE), b.map_n) < 0 ? errno : 0;
}

static bool free_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint64_t address = pv_dec_u64(d);

    if (!pv_dec_done(d))
        return false;
    int e = free_block(address);

    if (e)
        ag_reply_error(s, id, e, "free 0x%llx", (unsigned long long)address);
    else
        ag_reply_ok(s, id, 0);
    return true;
}

const struct ag_verb ag_verb_mem_free = {.message = PV_MSG_MEM_FREE, .start = free_start};

/* ---- MEM_READ, MEM_WRITE ---- */

struct memory {
    int pipe_fd[2];
    uint64_t at, left, done;
    uint8_t data[READ_MAX];
};

AG_STATE(memory, memory_state)

static void memory_begin(struct ag_session *s, const char *action, uint64_t at, uint64_t n)
{
    struct memory *m = memory_state(s);

    m->at = at;
    m->left = n;
    m->done = 0;
    m->pipe_fd[0] = m->pipe_fd[1] = -1;
    if (pipe2(m->pipe_fd, O_CLOEXEC | O_NONBLOCK) < 0)
        ag_request_fail(s, errno, "%s", action);
}

static void memory_close(struct ag_session *s)
{
    close_pipe(memory_state(s)->pipe_fd);
}

static bool read_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint64_t at = pv_dec_u64(d), n = pv_dec_u64(d);

    (void)id;
    if (!pv_dec_done(d))
        return false;
    memory_begin(s, "read_mem", at, n);
    return true;
}

static void read_fail(struct ag_session *s, int e)
{
    ag_request_fail(s, e, "read_mem at 0x%llx", (unsigned long long)memory_state(s)->at);
}

static void read_more(struct ag_session *s, const struct pollfd *p)
{
    struct memory *m = memory_state(s);
    size_t n = 0;

    (void)p;
    if (!ag_data_room(s))
        return;
    for (size_t piece; m->left && n < READ_MAX; n += piece) {
        piece = m->left < PIECE ? (size_t)m->left : PIECE;
        if (copy_piece(m->pipe_fd, m->data + n, (const void *)(uintptr_t)m->at, piece) < 0) {
            read_fail(s, errno);
            return;
        }
        m->at += piece;
        m->left -= piece;
    }
    if (n) {
        struct pv_enc e = ag_frame_begin(s, PV_MSG_DATA, AG_DATA_HEAD + n);

        pv_enc_u32(&e, s->id);
        pv_enc_bytes(&e, m->data, n);
        ag_frame_end(s, &e);
        m->done += n;
    }
    if (!m->left) {
        ag_reply_ok(s, s->id, m->done);
        ag_request_end(s);
    }
}

static void read_cancel(struct ag_session *s)
{
    read_fail(s, ECANCELED);
}

const struct ag_verb ag_verb_mem_read = {.message = PV_MSG_MEM_READ,
                                         .start = read_start,
                                         .due = ag_due_with_room,
                                         .more = read_more,
                                         .cancel = read_cancel,
                                         .close = memory_close};

static bool write_start(struct ag_session *s, uint32_t id, struct pv_dec *d)
{
    uint64_t at = pv_dec_u64(d);

    (void)id;
    if (!pv_dec_done(d))
        return false;
    memory_begin(s, "write_mem", at, 0);
    return true;
}

static void write_fail(struct ag_session *s, int e)
{
    ag_request_fail(s, e, "write_mem at 0x%llx", (unsigned long long)memory_state(s)->at);
}

static enum ag_step write_take(struct ag_session *s, struct pv_dec *d)
{
    struct memory *m = memory_state(s);
    size_t n;
    const uint8_t *data = pv_dec_bytes(d, &n);

    if (n == 0) {
        ag_reply_ok(s, s->id, m->done);
        ag_request_end(s);
        return AG_DONE;
    }
    for (size_t piece; n; n -= piece, data += piece) {
        piece = n < PIECE ? n : PIECE;
        if (copy_piece(m->pipe_fd, (void *)(uintptr_t)m->at, data, piece) < 0) {
            write_fail(s, errno);
            return AG_DONE;
        }
        m->at += piece;
        m->done += piece;
    }
    return AG_DONE;
}

static void write_cancel(struct ag_session *s)
{
    write_fail(s, ECANCELED);
}

const struct ag_verb ag_verb_mem_write = {
    .message = PV_MSG_MEM_WRITE,
    .start = write_start,
    .input = {{.message = PV_MSG_WDATA, .valid = ag_bytes_valid, .take = write_take}},
    .cancel = write_cancel,
    .close = memory_close};
