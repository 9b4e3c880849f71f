/* SPDX-License-Identifier: MIT */
/*
 * The guest is in long mode from its first instruction (paging on, one 2 MiB page, a 64-bit code segment):
 *
 *     mov ecx, LOOPS ; again: dec ecx ; jnz again ; hlt
 *
 * Real mode would prove nothing: a KVM that emulates long mode may still run firmware at a bearable speed.
 * The same loop runs natively first; a guest that needs more than SLOW_FACTOR times as long per turn is emulated
 * (on hardware the factor is 1 to 5 including the entry, on an emulating KVM it is above 1,000).
 *
 * A slow guest is interrupted by a timer's signal to this thread, which makes KVM_RUN return EINTR; the timer
 * repeats, because the first signal may arrive just before the ioctl.
 */
#include "vm/kvmprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "util/clock.h"
#include "util/mem.h"

enum { LOOPS = 50000, LIMIT_MS = 5, TRIES = 2, SLOW_FACTOR = 30, MEM_SIZE = 2 << 20, CPUID_MAX = 256 };

/* Guest-physical addresses. */
enum { CODE_AT = 0x1000, PML4_AT = 0x2000, PDPT_AT = 0x3000, PD_AT = 0x4000 };

struct probe {
    int kvm, vm, vcpu;
    uint8_t *mem;
    struct kvm_run *run;
    size_t run_size;
    const char *step; /* the call that would fail next, for the message */
};

int pv_kvm_open(enum pv_kvm_result *result, char *why, size_t n)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), e = errno, version;

    *result = PV_KVM_ABSENT;
    if (fd < 0) {
        if (e == ENOENT)
            snprintf(why, n, "no /dev/kvm: software emulation is used");
        else if (e == EACCES || e == EPERM)
            snprintf(why, n,
                     "no permission to open /dev/kvm (join its group, mostly `kvm`): software emulation is "
                     "used");
        else
            snprintf(why, n, "/dev/kvm cannot be opened (%s): software emulation is used", strerror(e));
        return -1;
    }
    version = ioctl(fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        *result = PV_KVM_BROKEN;
        snprintf(why, n, "/dev/kvm answers as version %d, not %d: software emulation is used", version,
                 KVM_API_VERSION);
        close(fd);
        return -1;
    }
    return fd;
}

static void put64(uint8_t *mem, unsigned at, uint64_t v)
{
    memcpy(mem + at, &v, sizeof(v));
}

static void guest_write(uint8_t *mem)
{
    static const uint8_t code[] = {0xb9, LOOPS & 0xff, LOOPS >> 8 & 0xff, LOOPS >> 16 & 0xff, 0, /* mov */
                                   0xff, 0xc9,                                                   /* dec */
                                   0x75, 0xfc,                                                   /* jnz */
                                   0xf4};                                                        /* hlt */

    memcpy(mem + CODE_AT, code, sizeof(code));
    /* present, writable; the last one is a 2 MiB page (bit 7) */
    put64(mem, PML4_AT, PDPT_AT | 3);
    put64(mem, PDPT_AT, PD_AT | 3);
    put64(mem, PD_AT, 0x83);
}

/* Some host kernels refuse EFER.LME without the long-mode CPUID bit. */
static void probe_set_cpuid(struct probe *p)
{
    cleanup_free struct kvm_cpuid2 *c =
        pv_xcalloc(1, sizeof(*c) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2));

    c->nent = CPUID_MAX;
    if (ioctl(p->kvm, KVM_GET_SUPPORTED_CPUID, c) == 0)
        ioctl(p->vcpu, KVM_SET_CPUID2, c);
}

static int probe_init(struct probe *p)
{
    struct kvm_userspace_memory_region region = {.memory_size = MEM_SIZE};
    int size;

    p->step = "KVM_CREATE_VM";
    p->vm = ioctl(p->kvm, KVM_CREATE_VM, 0);
    if (p->vm < 0)
        return -1;
    p->step = "mmap";
    p->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->mem == MAP_FAILED)
        return -1;
    guest_write(p->mem);
    region.userspace_addr = (uintptr_t)p->mem;
    p->step = "KVM_SET_USER_MEMORY_REGION";
    if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return -1;
    p->step = "KVM_CREATE_VCPU";
    p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0);
    if (p->vcpu < 0)
        return -1;
    probe_set_cpuid(p);
    p->step = "KVM_GET_VCPU_MMAP_SIZE";
    size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < (int)sizeof(*p->run))
        return -1;
    p->run_size = (size_t)size;
    p->step = "mmap of the VCPU";
    p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
    return p->run == MAP_FAILED ? -1 : 0;
}

static int probe_set_registers(struct probe *p)
{
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = code;
    struct kvm_regs regs = {.rip = CODE_AT, .rflags = 2};
    struct kvm_sregs sregs;

    data.selector = 16;
    data.type = 3;
    data.l = 0;
    data.db = 1;
    p->step = "KVM_GET_SREGS";
    if (ioctl(p->vcpu, KVM_GET_SREGS, &sregs) < 0)
        return -1;
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr3 = PML4_AT;
    sregs.cr4 = 1U << 5;                /* PAE */
    sregs.efer = 1U << 8 | 1U << 10;    /* LME, LMA */
    sregs.cr0 = UINT64_C(1) << 31 | 1U; /* PG, PE */
    p->step = "KVM_SET_SREGS";
    if (ioctl(p->vcpu, KVM_SET_SREGS, &sregs) < 0)
        return -1;
    p->step = "KVM_SET_REGS";
    return ioctl(p->vcpu, KVM_SET_REGS, &regs);
}

static void probe_fini(struct probe *p)
{
    if (p->run && p->run != MAP_FAILED)
        munmap(p->run, p->run_size);
    pv_close(&p->vcpu);
    pv_close(&p->vm);
    if (p->mem && p->mem != MAP_FAILED)
        munmap(p->mem, MEM_SIZE);
}

static void on_timer(int sig)
{
    (void)sig;
}

/* A timer whose signal goes to this thread, and the signal state that it replaces. */
struct alarm {
    int sig;
    timer_t timer;
    struct sigaction old;
    sigset_t old_mask;
};

static int alarm_start(struct alarm *a)
{
    struct sigaction act = {.sa_handler = on_timer}; /* no SA_RESTART: KVM_RUN has to return */
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID};
    struct itimerspec when = {.it_value.tv_nsec = LIMIT_MS * 1000000L, .it_interval.tv_nsec = 1000000};
    sigset_t set;

    a->sig = SIGRTMAX - 2;
    ev.sigev_signo = a->sig;
    ev._sigev_un._tid = gettid();
    if (timer_create(CLOCK_MONOTONIC, &ev, &a->timer) < 0)
        return -1;
    sigaction(a->sig, &act, &a->old);
    sigemptyset(&set);
    sigaddset(&set, a->sig);
    sigprocmask(SIG_UNBLOCK, &set, &a->old_mask);
    timer_settime(a->timer, 0, &when, NULL);
    return 0;
}

/* The handler stays until the timer is deleted, so that a pending signal does not kill the process. */
static void alarm_stop(struct alarm *a)
{
    timer_delete(a->timer);
    sigprocmask(SIG_SETMASK, &a->old_mask, NULL);
    sigaction(a->sig, &a->old, NULL);
}

/* Nanoseconds per turn of the same loop on the host, the best of three. */
static double native_turn(void)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 3; i++) {
        int64_t start = pv_now();
        unsigned n = LOOPS;

        __asm__ volatile("1: dec %0\n\tjnz 1b" : "+r"(n) : : "cc");
        if (pv_now() - start < best)
            best = pv_now() - start;
    }
    return best > 0 ? (double)best / LOOPS : 1.0 / LOOPS;
}

/*
 * Runs the guest once: nanoseconds per turn, or -1 when it does not run.  ECX counts from LOOPS to 0, so an
 * interrupted run has a turn count too.
 */
static double guest_turn(struct probe *p)
{
    struct alarm a;
    struct kvm_regs regs;
    int64_t start, took;
    int r, e;
    uint64_t turns = 0;

    if (probe_set_registers(p) < 0)
        return -1;
    p->step = "timer_create";
    if (alarm_start(&a) < 0)
        return -1;
    p->step = "KVM_RUN";
    start = pv_now();
    r = ioctl(p->vcpu, KVM_RUN, 0);
    e = errno;
    took = pv_now() - start;
    alarm_stop(&a);
    if (r < 0 && e != EINTR) {
        errno = e;
        return -1;
    }
    p->step = "KVM_GET_REGS";
    if (ioctl(p->vcpu, KVM_GET_REGS, &regs) < 0)
        return -1;
    p->step = "KVM_RUN (the guest did not get to its end)";
    errno = 0;
    if (r == 0 && (p->run->exit_reason != KVM_EXIT_HLT || regs.rcx != 0))
        return -1;
    if (regs.rip > CODE_AT && regs.rcx < LOOPS)
        turns = LOOPS - regs.rcx;
    return (double)took / (double)(turns ? turns : 1);
}

enum pv_kvm_result pv_kvm_probe(int kvm, char *why, size_t n)
{
    struct probe p = {.kvm = kvm, .vm = -1, .vcpu = -1};
    double native = native_turn(), best = -1;
    bool ok = probe_init(&p) == 0;

    for (int i = 0; ok && i < TRIES; i++) {
        double turn = guest_turn(&p);

        ok = turn >= 0;
        if (ok && (best < 0 || turn < best))
            best = turn;
        if (ok && best <= native * SLOW_FACTOR)
            break;
    }
    if (!ok) {
        snprintf(why, n,
                 "/dev/kvm is there but cannot run a 64-bit guest (%s%s%s): software emulation is used",
                 p.step, errno ? ": " : "", errno ? strerror(errno) : "");
        probe_fini(&p);
        return PV_KVM_BROKEN;
    }
    probe_fini(&p);
    if (best > native * SLOW_FACTOR) {
        snprintf(
            why, n,
            "/dev/kvm is there but runs guest code %.0f times slower than hardware: software emulation is "
            "used",
            best / native);
        return PV_KVM_SLOW;
    }
    snprintf(why, n, "KVM works");
    return PV_KVM_FAST;
}
