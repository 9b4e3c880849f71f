/* SPDX-License-Identifier: MIT */
/* What user space has to know of provium_demo. */
#ifndef PROVIUM_DEMO_H
#define PROVIUM_DEMO_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PROVIUM_DEMO_MAX 4096 /* bytes that the device holds */

/* sum = a + b; EOVERFLOW when that needs a 65th bit. */
struct provium_demo_add {
    __u64 a;
    __u64 b;
    __u64 sum;
};

/* Up to len bytes of what the device holds to the memory at ptr; got: how many they were. */
struct provium_demo_peek {
    __u64 ptr;
    __u32 len;
    __u32 got;
};

#define PROVIUM_DEMO_ADD _IOWR('P', 1, struct provium_demo_add)
#define PROVIUM_DEMO_VERSION _IOR('P', 2, __u32)
#define PROVIUM_DEMO_CLEAR _IO('P', 3)
#define PROVIUM_DEMO_PEEK _IOWR('P', 4, struct provium_demo_peek)
#define PROVIUM_DEMO_WARN _IO('P', 5) /* the bugs of a module that is not ready yet: a warning, */
#define PROVIUM_DEMO_OOPS _IO('P', 6) /* and a wild pointer */

#endif
