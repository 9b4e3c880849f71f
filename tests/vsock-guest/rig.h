/* SPDX-License-Identifier: MIT */
/*
 * The rig of the vsock-guest tests: a QEMU whose guest runs guest.c as its init, a vsock device of src/vhost, and
 * blocking streams to the guest.  One rig per process.  Every failure ends the process (rig_fail).
 */
#ifndef PV_VSOCK_GUEST_RIG_H
#define PV_VSOCK_GUEST_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pv_loop;
struct pv_stream;
struct pv_vsock_device;

enum { RIG_CID = 77, RIG_BIG = 16 * 1024 * 1024 };

struct rig {
    struct pv_loop *loop;
    struct pv_vsock_device *vsock;
    pid_t qemu;
    int console;     /* memfd */
    uint8_t *block;  /* RIG_BIG bytes that tests send */
    uint64_t called; /* the number with which the guest last called HOST_PORT */
    unsigned calls;
    int64_t limit; /* deadline of everything that blocks; each step sets it */
};

extern struct rig rig;

/* Prints the message and the end of the console, kills QEMU, exits with 1. */
void rig_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Exits with 77. */
void rig_skip(const char *why) __attribute__((noreturn));

/*
 * Makes the device and starts QEMU with the kernel and modules of dir and the program `guest` as init.  window: the
 * guest's receive buffer in bytes, NULL for its default.  rig_free kills it.
 */
void rig_boot(const char *guest, const char *dir, const char *window);
void rig_free(void);

/* Blocks until the guest has called HOST_PORT n times in all. */
void rig_wait_calls(unsigned n, const char *what);

/* A stream to a port of the guest. */
struct peer {
    struct pv_stream *s;
    bool event;
};

/* 0; or the errno of the failed connection, which is closed. */
int peer_try_dial(struct peer *p, unsigned port);
void peer_dial(struct peer *p, unsigned port);
void peer_send(struct peer *p, const void *data, size_t n);
/* Returns the bytes read: n, or fewer at the end of the stream. */
size_t peer_read(struct peer *p, void *data, size_t n);
void peer_recv(struct peer *p, void *data, size_t n);
uint64_t peer_recv_u64(struct peer *p);
/* Blocks until the stream has an event. */
void peer_wait(struct peer *p, const char *what);

/* Prints round trips and throughput. */
void bench_run(void);

#endif
