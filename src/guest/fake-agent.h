/* SPDX-License-Identifier: MIT */
/*
 * For tests: a guest whose other end is played by scripts.  Each connection is a socket pair with a process
 * behind it that runs one script, so the host's calls block as they do in life.  The VM is a real child
 * process, so that its death is one.
 */
#ifndef PV_GUEST_FAKE_AGENT_H
#define PV_GUEST_FAKE_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "guest/internal.h"
#include "wire/codec.h"

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
/* Frees, and waits for the scripts. */
void fake_free(struct pv_guest *g);

/* ---- for scripts ---- */
void fake_check(int ok, const char *what);
#define FAKE_CHECK(x) fake_check((x), #x)
/* The next frame; the end of the connection ends the script. The caller frees the payload, or not. */
void fake_get(int fd, struct fake_req *r);
/* The next one must be this. */
void fake_expect(int fd, struct fake_req *r, unsigned type);
/* An encoder with room for any frame, the id in it; sent by fake_send. */
struct pv_enc fake_begin(unsigned type, uint32_t id);
void fake_send(int fd, struct pv_enc *e);
void fake_ok(int fd, uint32_t id, uint64_t value);
void fake_error(int fd, uint32_t id, uint32_t number, const char *what);
/* Answers PING until the connection ends. */
void fake_serve_pings(int fd);

#endif
