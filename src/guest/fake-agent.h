/* SPDX-License-Identifier: MIT */
/*
 * For tests: a guest whose agent is a script.  Each connection is a socket pair with a process at its other
 * end that runs one script, so requests block as in a real VM.  QEMU is a shell script, a real child process.
 */
#ifndef PV_GUEST_FAKE_AGENT_H
#define PV_GUEST_FAKE_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/guest-state.h"
#include "guest/guest.h"
#include "wire/codec.h"
#include "wire/proto.h"

struct fake_req {
    unsigned type;
    uint32_t id;
    struct pv_dec d; /* behind the id */
    uint8_t *payload;
};

/*
 * One script per connection, in order; a connection after the last is refused.  Runs in a process of its own
 * behind a READY with pid 100 + index; what it asserts by fake_check ends it with status 1, which fails the
 * test in fake_free.
 */
typedef void (*fake_script)(int fd);
struct pv_guest *fake_new(const fake_script *scripts, size_t n);
/* qemu: the shell script that is started as QEMU; descriptor 4 is its serial console. */
struct pv_guest *fake_new_on(const char *qemu, const fake_script *scripts, size_t n);
/* Whether the guest's driver of the channel is there; true at first. */
void fake_set_ready(bool ready);
/* Frees, and waits for the scripts. */
void fake_free(struct pv_guest *g);

/* ---- for scripts ---- */
void fake_check(int ok, const char *what);
#define FAKE_CHECK(x) fake_check((x), #x)
/* The next frame; the end of the connection ends the script. The script may leave the payload to its exit. */
void fake_get(int fd, struct fake_req *r);
/* The next frame, which must be of this type. */
void fake_expect(int fd, struct fake_req *r, unsigned type);
/* An encoder with room for any frame, the id in it; sent by fake_send. */
struct pv_enc fake_begin(unsigned type, uint32_t id);
void fake_send(int fd, struct pv_enc *e);
void fake_ok(int fd, uint32_t id, uint64_t value);
void fake_error(int fd, uint32_t id, uint32_t number, const char *what);
/* Replies to PING until the connection ends. */
void fake_serve_pings(int fd);

#endif
