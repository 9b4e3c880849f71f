/* SPDX-License-Identifier: MIT */
/*
 * The guest's side of a virtio-serial port: any bytes after the greeting, while one stream is open, one waits
 * for its OPENED, and one was closed by its owner.
 */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "transport/serial.h"
#include "transport/stream.h"
#include "util/clock.h"
#include "wire/mux.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_event(struct pv_stream *s, void *arg)
{
    char buf[4096];
    ssize_t n;

    (void)arg;
    while ((n = pv_stream_read(s, buf, sizeof(buf))) > 0)
        ;
    if (n < 0 && s->error && n != -s->error)
        abort();
    pv_stream_write(s, buf, 100);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_loop *loop = pv_loop_new(NULL);
    struct pv_channel *v = pv_serial_new(loop, NULL);
    uint8_t hello[PV_MUX_HEADER + PV_MUX_NONCE + 4], opened[PV_MUX_HEADER];
    struct pv_stream *s[3];
    int fd = v->qemu_fd;

    v->qemu_fd = -1;
    if (recv(fd, hello, sizeof(hello), 0) != sizeof(hello) || send(fd, hello, sizeof(hello), 0) < 0)
        abort();
    for (int i = 0; i < 3; i++) {
        s[i] = v->ops->connect(v, 7, NULL);
        s[i]->on_event = on_event;
    }
    pv_mux_put_header(opened, PV_MUX_OPENED, 1, 0);
    pv_stream_close(s[2]);
    if (send(fd, opened, sizeof(opened), 0) < 0 || send(fd, data, size < 100000 ? size : 100000, 0) < 0)
        abort();
    for (int i = 0; i < 3; i++)
        pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
    if (!v->error && !v->ops->ready(v))
        abort();
    pv_stream_close(s[0]);
    v->ops->free(v);
    pv_stream_close(s[1]);
    close(fd);
    pv_loop_free(loop);
    return 0;
}
