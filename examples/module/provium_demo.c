// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A small character device, as a thing to be tested: /dev/provium_demo holds up to 4096 bytes that write()
 * puts there and read() gives back, knows a few ioctls, and counts how often it was opened in
 * /sys/class/misc/provium_demo/opens.  Copy it, and put your own driver where this one is.
 */
#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>

#include "provium_demo.h"

static char *greeting = "hello from the kernel\n";
module_param(greeting, charp, 0444);
MODULE_PARM_DESC(greeting, "what the device holds at first");

static DEFINE_MUTEX(lock); /* of held and held_len */
static char held[PROVIUM_DEMO_MAX];
static size_t held_len;
static atomic_long_t opens;

static int demo_open(struct inode *inode, struct file *file)
{
    atomic_long_inc(&opens);
    return 0;
}

static ssize_t demo_read(struct file *file, char __user *to, size_t n, loff_t *at)
{
    ssize_t done;

    mutex_lock(&lock);
    done = simple_read_from_buffer(to, n, at, held, held_len);
    mutex_unlock(&lock);
    return done;
}

/* Replaces from the file's position on; nothing is left behind it. */
static ssize_t demo_write(struct file *file, const char __user *from, size_t n, loff_t *at)
{
    ssize_t done;

    mutex_lock(&lock);
    if (n && *at >= sizeof(held))
        done = -ENOSPC;
    else
        done = simple_write_to_buffer(held, sizeof(held), at, from, n);
    if (done >= 0)
        held_len = *at;
    mutex_unlock(&lock);
    return done;
}

static long demo_add(void __user *arg)
{
    struct provium_demo_add add;
    u64 sum;

    if (copy_from_user(&add, arg, sizeof(add)))
        return -EFAULT;
    if (check_add_overflow(add.a, add.b, &sum))
        return -EOVERFLOW;
    add.sum = sum;
    return copy_to_user(arg, &add, sizeof(add)) ? -EFAULT : 0;
}

static long demo_peek(void __user *arg)
{
    struct provium_demo_peek peek;
    long r = 0;

    if (copy_from_user(&peek, arg, sizeof(peek)))
        return -EFAULT;
    mutex_lock(&lock);
    peek.got = min_t(size_t, peek.len, held_len);
    if (copy_to_user(u64_to_user_ptr(peek.ptr), held, peek.got))
        r = -EFAULT;
    mutex_unlock(&lock);
    if (!r && copy_to_user(arg, &peek, sizeof(peek)))
        r = -EFAULT;
    return r;
}

static long demo_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
    switch (cmd) {
    case PROVIUM_DEMO_ADD:
        return demo_add((void __user *)arg);
    case PROVIUM_DEMO_VERSION:
        return put_user((u32)0x00010002, (u32 __user *)arg);
    case PROVIUM_DEMO_CLEAR:
        mutex_lock(&lock);
        held_len = 0;
        mutex_unlock(&lock);
        return 0;
    case PROVIUM_DEMO_PEEK:
        return demo_peek((void __user *)arg);
    case PROVIUM_DEMO_WARN:
        WARN(1, "provium_demo: asked to warn\n");
        return 0;
    case PROVIUM_DEMO_OOPS:
        /* Above what user space may map, and not canonical: nobody can make this one valid. */
        return *(volatile long *)0xdead000000000000;
    default:
        return -ENOTTY;
    }
}

static const struct file_operations demo_fops = {
    .owner = THIS_MODULE,
    .open = demo_open,
    .read = demo_read,
    .write = demo_write,
    .llseek = default_llseek,
    .unlocked_ioctl = demo_ioctl,
};

static ssize_t opens_show(struct device *dev, struct device_attribute *attr, char *buf)
{
    return sysfs_emit(buf, "%ld\n", atomic_long_read(&opens));
}
static DEVICE_ATTR_RO(opens);

static struct attribute *demo_attrs[] = {&dev_attr_opens.attr, NULL};
ATTRIBUTE_GROUPS(demo);

static struct miscdevice demo = {
    .minor = MISC_DYNAMIC_MINOR,
    .name = "provium_demo",
    .fops = &demo_fops,
    .groups = demo_groups,
    .mode = 0600,
};

static int __init demo_init(void)
{
    int r;

    held_len = min(strlen(greeting), sizeof(held));
    memcpy(held, greeting, held_len);
    r = misc_register(&demo);
    if (r)
        return r;
    pr_info("provium_demo: ready, minor %d\n", demo.minor);
    return 0;
}

static void __exit demo_exit(void)
{
    misc_deregister(&demo);
    pr_info("provium_demo: gone\n");
}

module_init(demo_init);
module_exit(demo_exit);
MODULE_DESCRIPTION("A small device to be tested");
MODULE_LICENSE("Dual MIT/GPL");
