/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "ports.h"
#include "rig.h"
#include "transport/stream.h"
#include "util/clock.h"

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static void bench_round_trip(void)
{
    enum { N = 5000, WARM = 500 };
    static int64_t t[N];
    uint8_t in[64];
    struct peer p;

    peer_dial(&p, ECHO_PORT);
    for (int i = -WARM; i < N; i++) {
        int64_t start = pv_now();

        peer_send(&p, rig.block, sizeof(in));
        peer_recv(&p, in, sizeof(in));
        if (i >= 0)
            t[i] = pv_now() - start;
    }
    pv_stream_close(p.s);
    qsort(t, N, sizeof(t[0]), by_value);
    printf("round trip of 64 bytes: p50 %.3f ms, p99 %.3f ms, max %.3f ms\n", (double)t[N / 2] / 1e6,
           (double)t[N * 99 / 100] / 1e6, (double)t[N - 1] / 1e6);
}

static void bench_throughput(size_t size, int runs)
{
    double to[64], from[64];
    uint64_t n = size;
    struct peer p;

    peer_dial(&p, SINK_PORT);
    for (int i = 0; i < runs; i++) {
        int64_t start = pv_now();

        peer_send(&p, &n, sizeof(n));
        peer_send(&p, rig.block, size);
        peer_recv_u64(&p);
        to[i] = (double)size / 1e6 / ((double)(pv_now() - start) / 1e9);
    }
    pv_stream_close(p.s);
    peer_dial(&p, SOURCE_PORT);
    for (int i = 0; i < runs; i++) {
        int64_t start = pv_now();

        peer_send(&p, &n, sizeof(n));
        peer_recv(&p, rig.block, size);
        from[i] = (double)size / 1e6 / ((double)(pv_now() - start) / 1e9);
    }
    pv_stream_close(p.s);
    printf("%zu MiB, MB/s to guest:", size >> 20);
    for (int i = 0; i < runs; i++)
        printf(" %.0f", to[i]);
    printf("; from guest:");
    for (int i = 0; i < runs; i++)
        printf(" %.0f", from[i]);
    printf("\n");
}

void bench_run(void)
{
    bench_round_trip();
    bench_throughput(1 << 20, 10);
    bench_throughput(RIG_BIG, 6);
    bench_round_trip();
}
