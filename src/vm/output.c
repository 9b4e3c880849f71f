/* SPDX-License-Identifier: MIT */
/*
 * Output of QEMU: the guest's console, and its own messages; and input of the console.
 *
 * The console's output is a pipe, because the bytes that come while nobody reads, as when a test computes, have to lie
 * somewhere: QEMU's UART writes them one by one, of which a socket holds 277, and Linux waits no more than 10 ms for
 * each byte's turn before it writes the next one over it (wait_for_xmitr in drivers/tty/serial/8250). A pipe holds
 * PIPE_SIZE. Whoever finds it full tells so: kernel reports may be missing.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/sock.h"
#include "vm/console.h"
#include "vm/internal.h"

/* PIPE_SIZE is what users without rights can have by default (pipe(7): pipe-max-size). */
enum { PIPE_SIZE = 1 << 20, READ_SIZE = 65536, READS_AT_ONCE = 4, READS_OF_REST = 1024 };
/* How long Linux waits for the UART to take a byte. */
#define GUEST_WAIT (10 * PV_NSEC_PER_MSEC)
/* A guest that floods its console is told of so often. */
#define TELL_AGAIN (60 * PV_NSEC_PER_SEC)

static void input_close(struct pv_vm_output *o)
{
    pv_loop_del(o->vm->loop, &o->input.watch);
    pv_close(&o->input.fd);
    pv_buf_free(&o->unsent);
}

void pv_vm_output_close(struct pv_vm_output *o)
{
    pv_loop_del(o->vm->loop, &o->watch);
    pv_close(&o->fd);
    input_close(o);
}

/*
 * A pipe of single bytes is full to the last one; a page less is as good as full. It has been so for GUEST_WAIT at most
 * if it was read until then, and nothing is lost yet.
 */
static void output_check_room(struct pv_vm_output *o)
{
    int64_t now = pv_now();
    int n = 0;

    if (o->size <= 0 || now - o->read_at < GUEST_WAIT || ioctl(o->fd, FIONREAD, &n) < 0 ||
        n < o->size - 4096 || (o->full && now - o->full < TELL_AGAIN))
        return;
    o->full = now;
    pv_console_lost(o->text, n);
}

/* Reads at most `reads` times, until the descriptor would block or is at its end. */
static void output_read(struct pv_vm_output *o, unsigned reads)
{
    char buf[READ_SIZE];

    if (o->fd >= 0)
        output_check_room(o);
    while (o->fd >= 0 && reads--) {
        ssize_t n = read(o->fd, buf, sizeof(buf));

        o->read_at = pv_now();
        if (n > 0) {
            pv_console_feed(o->text, buf, (size_t)n);
            if (o->on_bytes)
                o->on_bytes(buf, (size_t)n, o->arg);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else {
            if (n == 0 || errno != EAGAIN)
                pv_vm_output_close(o);
            return;
        }
    }
}

void pv_vm_output_read(struct pv_vm_output *o)
{
    output_read(o, READS_AT_ONCE);
}

void pv_vm_output_read_rest(struct pv_vm_output *o)
{
    output_read(o, READS_OF_REST);
}

/* Sends what QEMU takes now; the guest's UART takes 16 bytes at a time. */
static void input_send(struct pv_vm_output *o)
{
    while (o->unsent.len) {
        ssize_t n = send(o->input.fd, o->unsent.data, o->unsent.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) { /* QEMU is gone, or has closed it */
            input_close(o);
            return;
        }
        if (n <= 0)
            break;
        pv_buf_consume(&o->unsent, (size_t)n);
    }
    pv_loop_set(o->vm->loop, &o->input.watch, o->unsent.len ? EPOLLOUT : 0);
}

void pv_vm_output_send(struct pv_vm_output *o, const void *data, size_t n)
{
    if (o->input.fd < 0)
        return;
    pv_buf_add(&o->unsent, data, n);
    input_send(o);
}

static void on_input(struct pv_watch *w, uint32_t events)
{
    struct pv_vm_output *o = PV_CONTAINER_OF(w, struct pv_vm_output, input.watch);

    if (events & (EPOLLHUP | EPOLLERR))
        input_close(o);
    else
        input_send(o);
}

static void on_output(struct pv_watch *w, uint32_t events)
{
    struct pv_vm_output *o = PV_CONTAINER_OF(w, struct pv_vm_output, watch);

    (void)events;
    pv_vm_output_read(o);
    if (o->came)
        o->came(o->vm);
}

int pv_vm_output_open(struct pv_vm_output *o, int *fd, struct pv_err *err)
{
    o->fd = pv_steal_fd(fd);
    o->watch.fn = on_output;
    o->input.watch.fn = on_input;
    if (pv_set_nonblocking(o->fd) < 0)
        return pv_err_sys(err, errno, "cannot make a pipe non-blocking");
    if (o == &o->vm->console) {
        fcntl(o->fd, F_SETPIPE_SZ, PIPE_SIZE); /* refused to a user with many of them: it stays as it is */
        o->size = fcntl(o->fd, F_GETPIPE_SZ);
    }
    if (o->input.fd >= 0 && pv_loop_add(o->vm->loop, &o->input.watch, o->input.fd, 0, err) < 0)
        return -1;
    return pv_loop_add(o->vm->loop, &o->watch, o->fd, EPOLLIN, err);
}
