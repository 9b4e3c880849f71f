/* SPDX-License-Identifier: MIT */
/*
 * Frames of guests at an uplink, and at libslirp behind it.  Each step of the input is a length of two bytes and a frame.
 * The uplink is restricted, so that no input reaches a network; that is for uplink_judge alone to see, whose verdict is
 * checked for an unrestricted one, too.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/checksum.h"
#include "net/network.h"
#include "net/uplink-door.h"
#include "net/uplink.h"
#include "util/clock.h"
#include "util/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ETHER = 14, HEAD = 20, FRAME_MAX = 2000 };

static const struct pv_uplink_opts opts = {.name = "uplink",
                                           .prefix = 24,
                                           .gateway = {.addr = {10, 7, 0, 254}, .n = 4},
                                           .nameserver = {.addr = {10, 7, 0, 253}, .n = 4},
                                           .lease = {.addr = {10, 7, 0, 240}, .n = 4},
                                           .n_leases = 4,
                                           .mtu = 1500,
                                           .restricted = true};

/* No admitted packet is a fragment, shorter than it says, or for an address that must not be reached. */
static void verdict_check(const uint8_t *frame, size_t n)
{
    const struct uplink_door door = {
        .subnet = 0x0a070000, .mask = 0xffffff00, .gateway = 0x0a0700fe, .nameserver = 0x0a0700fd};
    const uint8_t *ip = frame + ETHER;
    size_t whole = n;

    if (uplink_judge(&door, frame, &n) == UPLINK_REFUSED || frame[13] == 6)
        return;
    if (n > whole || n < ETHER + HEAD + 8 || n != (size_t)ETHER + (size_t)(ip[2] << 8 | ip[3]) ||
        (ip[6] & 0x3f) != 0 || ip[7] != 0)
        abort();
    if (ip[16] == 0 || ip[16] == 127 || (ip[16] >= 224 && ip[16] != 255) || (ip[16] == 169 && ip[17] == 254))
        abort();
    if (ip[16] == 10 && ip[17] == 7 && ip[18] == 0 && ip[19] != 254 && ip[19] != 253)
        abort();
}

/* Checksums are made right, so that the packet comes as far as it can. */
static void sums_make(uint8_t *frame, size_t n)
{
    uint8_t *ip = frame + ETHER;
    size_t head = n > ETHER ? (size_t)(ip[0] & 15) * 4 : 0, at, size;
    uint16_t sum;

    if (n < ETHER + HEAD || frame[12] != 8 || frame[13] != 0 || head < HEAD || n < ETHER + head)
        return;
    ip[10] = ip[11] = 0;
    sum = pv_sum_end(pv_sum_add(0, ip, head));
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
    size = (size_t)(ip[2] << 8 | ip[3]);
    at = ip[9] == 6 ? 16 : ip[9] == 17 ? 6 : 2;
    if (size < head + at + 2 || ETHER + size > n)
        return;
    ip[head + at] = ip[head + at + 1] = 0;
    sum = ip[9] == 1 ? pv_sum_end(pv_sum_add(0, ip + head, size - head))
                     : pv_sum_message(ip + 12, ip + 16, 4, ip[9], ip + head, size - head);
    ip[head + at] = (uint8_t)(sum >> 8);
    ip[head + at + 1] = (uint8_t)sum;
}

static void guest_deliver(void *arg, const uint8_t *frame, size_t n)
{
    (void)arg;
    (void)frame;
    if (n < ETHER || n > PV_ETHER_MAX)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pv_loop *loop = pv_loop_new(NULL);
    struct pv_net *net = pv_net_new(loop, &(struct pv_net_opts){.name = "lan"});
    struct pv_net_end *guest =
        pv_net_attach(net, "guest", (uint8_t[]){2, 0, 0, 0, 0, 1}, guest_deliver, NULL, NULL);
    struct pv_uplink *u = pv_uplink_new(net, &opts, NULL);

    while (size >= 2) {
        size_t n = (size_t)(data[0] << 8 | data[1]) % FRAME_MAX;
        cleanup_free uint8_t *frame = NULL;

        if (n > size - 2)
            n = size - 2;
        frame = pv_xmalloc(n + 1); /* exact, so that a sanitizer sees what is read behind it */
        memcpy(frame, data + 2, n);
        data += 2 + n;
        size -= 2 + n;
        sums_make(frame, n);
        if (n >= ETHER)
            verdict_check(frame, n);
        pv_net_send(guest, frame, n);
    }
    pv_loop_run(loop, NULL, NULL, pv_now(), NULL);
    if (pv_uplink_sockets(u) > 0)
        abort();
    pv_uplink_free(u);
    pv_net_free(net);
    pv_loop_free(loop);
    return 0;
}
