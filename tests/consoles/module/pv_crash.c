// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Breaks the kernel that it is loaded into, in the way that the parameter `how` names: for the console logs
 * in tests/consoles and the tests of what Provium finds in them.  Never load it into a machine that you want
 * to keep.
 */
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/version.h>

static char *how = "";
module_param(how, charp, 0);
MODULE_PARM_DESC(how, "what to do: one of the names in the table below");
static int seconds = 10;
module_param(seconds, int, 0);
MODULE_PARM_DESC(seconds, "for how long, where that matters");

/* Keeps the compiler from knowing too much. */
static void *volatile hidden;
static volatile int zero;
static const int read_only = 1;

static void do_null(void)
{
    *(volatile int *)hidden = 1;
}

static void do_call_null(void)
{
    void (*fn)(void) = hidden;

    fn();
}

static void do_wild(void)
{
    hidden = (void *)0xffffc90123456000UL;
    *(volatile int *)hidden = 1;
}

static void do_gpf(void)
{
    hidden = (void *)0x6b6b6b6b6b6b6b6bUL;
    *(volatile int *)hidden = 1;
}

static void do_read_only(void)
{
    *(volatile int *)&read_only = 2;
}

static void do_exec_data(void)
{
    static unsigned char code[16] = {0xc3};
    void (*fn)(void) = (void *)code;

    fn();
}

static void do_user(void)
{
    hidden = (void *)0x400000UL;
    *(volatile int *)hidden = 1;
}

static void do_bug(void)
{
    BUG();
}
static void do_ud2(void)
{
    asm volatile("ud2");
}
static void do_divide(void)
{
    zero = 1000 / zero;
}
static void do_warn(void)
{
    WARN(1, "pv_crash: the flag is %d\n", zero);
}
static void do_warn_plain(void)
{
    WARN_ON(!zero);
}

static void do_warn_flood(void)
{
    for (int i = 0; i < 200; i++)
        WARN(1, "pv_crash: number %d\n", i);
}

static noinline int recurse(int n)
{
    volatile char page[512];

    page[0] = (char)n;
    return n ? recurse(n - 1) + page[0] : 0;
}

static void do_stack(void)
{
    zero = recurse(1 << 20);
}

static void do_atomic(void)
{
    preempt_disable();
    msleep(10);
    preempt_enable();
}

static void spin(void)
{
    unsigned long end = jiffies + seconds * HZ;

    while (time_before(jiffies, end))
        cpu_relax();
}

static void do_soft_lockup(void)
{
    preempt_disable();
    spin();
    preempt_enable();
}

static void do_irq_off(void)
{
    local_irq_disable();
    for (int i = 0; i < seconds * 1000; i++)
        udelay(1000);
    local_irq_enable();
}

static void do_hung(void)
{
    set_current_state(TASK_UNINTERRUPTIBLE);
    schedule_timeout(seconds * HZ);
}

static void do_refcount(void)
{
    refcount_t r = REFCOUNT_INIT(1);

    if (refcount_dec_and_test(&r) && refcount_dec_and_test(&r))
        pr_info("pv_crash: not reached\n");
}

static void do_refcount_zero(void)
{
    refcount_t r = REFCOUNT_INIT(0);

    refcount_inc(&r);
}

static void do_list_add(void)
{
    static LIST_HEAD(head);
    static struct list_head one, two;

    list_add(&one, &head);
    head.next = &two;
    INIT_LIST_HEAD(&two);
    list_add(&two, &head);
}

static void do_list_del(void)
{
    static LIST_HEAD(head);
    static struct list_head one;

    list_add(&one, &head);
    list_del(&one);
    list_del(&one);
}

static void do_double_free(void)
{
    void *p = kmalloc(64, GFP_KERNEL);

    hidden = p;
    kfree(p);
    kfree(hidden);
}

static void do_use_after_free(void)
{
    for (int i = 0; i < 2000; i++) { /* KFENCE samples */
        volatile char *p = kmalloc(96, GFP_KERNEL);

        hidden = (void *)p;
        kfree((void *)p);
        zero += ((volatile char *)hidden)[8];
        zero = 0;
        if (i % 16 == 0)
            msleep(1);
    }
}

static void do_out_of_bounds(void)
{
    for (int i = 0; i < 2000; i++) {
        volatile char *p = kmalloc(96, GFP_KERNEL);

        hidden = (void *)p;
        zero += ((volatile char *)hidden)[96 + (i % 2 ? 32 : 0)];
        zero = 0;
        kfree((void *)p);
        if (i % 16 == 0)
            msleep(1);
    }
}

static void do_usercopy(void)
{
    unsigned long n = 256 + zero;

    hidden = kmalloc(32, GFP_KERNEL);
    if (copy_to_user((void __user *)current->mm->start_stack, hidden, n))
        pr_info("pv_crash: not all was copied\n");
    kfree(hidden);
}

static void do_bad_page(void)
{
    struct page *page = alloc_pages(GFP_KERNEL, 5); /* too large for the per-CPU lists */

    page->mapping = (void *)0x5678;
    __free_pages(page, 5);
}

static void do_page_alloc(void)
{
    for (int i = 0; i < 4096; i++)
        if (!alloc_pages(GFP_ATOMIC, 9))
            return;
}

static void do_panic(void)
{
    panic("pv_crash: asked to");
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#error "look at the timer's API"
#endif
static void in_timer(struct timer_list *t)
{
    *(volatile int *)hidden = 1;
}
static DEFINE_TIMER(timer, in_timer);

static void do_irq_null(void)
{
    mod_timer(&timer, jiffies + 2);
    msleep(1000);
}

static int hold_rcu(void *arg)
{
    rcu_read_lock();
    do_soft_lockup();
    rcu_read_unlock();
    return 0;
}

static void do_rcu(void)
{
    struct task_struct *t = kthread_create(hold_rcu, NULL, "pv_reader");

    if (IS_ERR(t))
        return;
    kthread_bind(t, 1);
    wake_up_process(t);
    msleep(100);
    synchronize_rcu();
}

static int in_thread(void *arg)
{
    do_null();
    return 0;
}

static void do_thread_null(void)
{
    kthread_run(in_thread, NULL, "pv_victim");
    msleep(500);
}

static void do_two(void) /* one right behind the other, in two processes */
{
    kthread_run(in_thread, NULL, "pv_first");
    kthread_run(in_thread, NULL, "pv_second");
    msleep(500);
}

static netdev_tx_t no_xmit(struct sk_buff *skb, struct net_device *dev)
{
    kfree_skb(skb);
    return NETDEV_TX_OK;
}

static const struct net_device_ops ops = {.ndo_start_xmit = no_xmit};

static void set_up(struct net_device *dev)
{
    dev->netdev_ops = &ops;
    dev->mtu = 1500;
}

static void do_netdev(void)
{
    struct net_device *dev = alloc_netdev(0, "pv0", NET_NAME_UNKNOWN, set_up);

    if (!dev || register_netdev(dev))
        return;
    dev_hold(dev);
    unregister_netdev(dev);
}

static const struct {
    const char *name;
    void (*fn)(void);
} ways[] = {
    {"null", do_null},
    {"call-null", do_call_null},
    {"wild", do_wild},
    {"gpf", do_gpf},
    {"read-only", do_read_only},
    {"exec-data", do_exec_data},
    {"user", do_user},
    {"bug", do_bug},
    {"ud2", do_ud2},
    {"divide", do_divide},
    {"warn", do_warn},
    {"warn-plain", do_warn_plain},
    {"warn-flood", do_warn_flood},
    {"stack", do_stack},
    {"atomic", do_atomic},
    {"soft-lockup", do_soft_lockup},
    {"irq-off", do_irq_off},
    {"hung", do_hung},
    {"refcount", do_refcount},
    {"refcount-zero", do_refcount_zero},
    {"list-add", do_list_add},
    {"list-del", do_list_del},
    {"double-free", do_double_free},
    {"use-after-free", do_use_after_free},
    {"out-of-bounds", do_out_of_bounds},
    {"usercopy", do_usercopy},
    {"bad-page", do_bad_page},
    {"page-alloc", do_page_alloc},
    {"panic", do_panic},
    {"irq-null", do_irq_null},
    {"rcu", do_rcu},
    {"thread-null", do_thread_null},
    {"two", do_two},
    {"netdev", do_netdev},
};

static int __init pv_crash_init(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
        if (!strcmp(how, ways[i].name)) {
            ways[i].fn();
            return 0;
        }
    pr_err("pv_crash: how=%s is not known\n", how);
    return -EINVAL;
}
module_init(pv_crash_init);

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("breaks its kernel on demand");
