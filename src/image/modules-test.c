/* SPDX-License-Identifier: MIT */
/*
 * The real depmod makes the trees of this test, from object files with the parts that it reads: .modinfo, the
 * names of exported symbols, and undefined symbols.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image.h"
#include "image/test-kernel-files.h"
#include "util/err.h"
#include "util/path.h"
#include "util/spawn.h"

#define RELEASE "9.8.7-test"

static char dir[] = "/tmp/pv-modules-test-XXXXXX";
static char *tree; /* DIR/lib/modules/RELEASE */

/* name, exported symbol, needed symbol, further modinfo */
static const char make_tree[] =
    "set -e; cd \"$0\"; t=lib/modules/" RELEASE "; mkdir -p $t/kernel/x; PATH=$PATH:/usr/sbin:/sbin\n"
    "mod() { { echo '.section .modinfo, \"a\"'; echo \".asciz \\\"name=$1\\\"\"; shift 3\n"
    "          for i; do echo \".asciz \\\"$i\\\"\"; done; } >m.s; }\n"
    "ko() { mod \"$@\"\n"
    "       [ -z \"$2\" ] || printf '.section __ksymtab_strings, \"a\"\\n.asciz \"%s\"\\n.text\\n.globl "
    "%s\\n%s: .quad 0\\n' $2 $2 $2 >>m.s\n"
    "       for u in $3; do printf '.data\\n.quad %s\\n' $u >>m.s; done\n"
    "       cc -c -o $t/kernel/x/$1.ko m.s; }\n"
    "ko base sym_base ''\n"
    "ko middle sym_middle sym_base\n"
    "ko top_mod sym_top 'sym_middle sym_base'\n"
    "ko other sym_other ''\n"
    "ko soft '' sym_middle 'softdep=pre: other post: after'\n"
    "ko after '' ''\n"
    "ko ring1 '' '' 'softdep=pre: ring2'\n"
    "ko ring2 '' '' 'softdep=pre: ring1'\n"
    "ko with-dash '' '' 'alias=some-alias'\n"
    "ko second '' '' 'alias=some-alias'\n"
    "ko needs-builtin '' '' 'softdep=pre: built_in'\n"
    "ko packed '' sym_base\n"
    "xz --check=crc32 $t/kernel/x/packed.ko\n"
    "echo kernel/y/built-in.ko >$t/modules.builtin\n"
    "touch $t/modules.order $t/modules.builtin.modinfo\n"
    "depmod -b . " RELEASE "\n"
    "mkdir bare; cp -r $t/kernel bare/; mkdir -p bare2/lib/modules; cp -r bare bare2/lib/modules/1.2.3\n";

static int setup(void **state)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)make_tree, dir, NULL};
    static const struct pv_spawn_fd fds[] = {{2, 2}};
    struct pv_spawn sp = {.file = "sh", .argv = argv, .fds = fds, .n_fds = 1};
    struct pv_err err = PV_ERR_INIT;
    int status = -1;
    pid_t pid;

    (void)state;
    if (!mkdtemp(dir))
        return -1;
    pid = pv_spawn(&sp, NULL, &err);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        return -1;
    tree = pv_path_join(dir, "lib/modules/" RELEASE);
    setenv("XDG_CACHE_HOME", dir, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(tree);
    return pv_rm_rf(dir);
}

/* Compares the list with "base middle ...": base names, cut at ".ko". */
static void expect_list(const struct pv_modlist *l, const char *want)
{
    cleanup_buf struct pv_buf b = {0};

    pv_buf_adds(&b, "");
    for (size_t i = 0; i < l->paths.n; i++) {
        const char *base = pv_path_basename(l->paths.v[i]);

        assert_int_equal(l->paths.v[i][0], '/');
        assert_int_equal(access(l->paths.v[i], R_OK), 0);
        pv_buf_addf(&b, "%s%.*s", i ? " " : "", (int)(strstr(base, ".ko") - base), base);
    }
    assert_string_equal(b.data, want);
}

static void add_module(struct pv_modlist *l, const char *name, int want)
{
    struct pv_err err = PV_ERR_INIT;
    int rc = pv_modlist_add(l, tree, name, &err);

    if (rc != want)
        fail_msg("%s gave %d: %s", name, rc, err.text);
}

static void expect_one(const char *name, int rc, const char *want)
{
    struct pv_modlist l = {0};

    add_module(&l, name, rc);
    expect_list(&l, want);
    pv_modlist_fini(&l);
}

static void lists_dependencies_first(void **state)
{
    (void)state;
    expect_one("base", 0, "base");
    expect_one("top_mod", 0, "base middle top_mod");
    expect_one("top-mod", 0, "base middle top_mod");
    expect_one("with_dash", 0, "with-dash");
    expect_one("packed", 0, "base packed");
}

static void lists_each_once(void **state)
{
    struct pv_modlist l = {0};

    (void)state;
    add_module(&l, "middle", 0);
    add_module(&l, "top_mod", 0);
    add_module(&l, "middle", 0);
    add_module(&l, "base", 0);
    expect_list(&l, "base middle top_mod");
    pv_modlist_fini(&l);
}

static void follows_soft_dependencies(void **state)
{
    (void)state;
    expect_one("soft", 0, "other base middle soft after");
    expect_one("ring1", 0, "ring2 ring1"); /* a cycle of soft dependencies */
    expect_one("needs-builtin", 0, "needs-builtin");
}

static void knows_built_in_and_unknown(void **state)
{
    (void)state;
    expect_one("built_in", 0, "");
    expect_one("built-in", 0, "");
    expect_one("no_such_module", 1, "");
    expect_one("", 1, "");
}

static void resolves_aliases(void **state)
{
    struct pv_modlist l = {0};

    (void)state;
    add_module(&l, "some-alias", 0);
    assert_int_equal(l.paths.n, 2);
    pv_modlist_fini(&l);
}

static void says_which_depmod(void **state)
{
    cleanup_free char *bare = pv_path_join(dir, "bare");
    cleanup_free char *standard = pv_path_join(dir, "bare2/lib/modules/1.2.3");
    cleanup_free char *command = pv_xasprintf("depmod -b '%s/bare2/' 1.2.3", dir);
    struct pv_err err = PV_ERR_INIT, err2 = PV_ERR_INIT;
    struct pv_modlist l = {0};

    (void)state;
    assert_int_equal(pv_modlist_add(&l, bare, "base", &err), -1);
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "depmod -b $d VERSION"));
    assert_int_equal(pv_modlist_add(&l, standard, "base", &err2), -1);
    if (!strstr(err2.text, command))
        fail_msg("'%s' does not say '%s'", err2.text, command);
    assert_int_equal(l.paths.n, 0);
}

static void expect_tree(const char *explicit_dir, const char *kernel, const char *release, const char *want)
{
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *found = pv_modules_find(explicit_dir, kernel, release, NULL, &err);
    cleanup_free char *real = found ? realpath(found, NULL) : NULL;

    if (!want) {
        assert_null(found);
        return;
    }
    if (!real)
        fail_msg("nothing found: %s", err.text);
    assert_string_equal(real, want);
}

static void finds_the_tree(void **state)
{
    cleanup_free char *boot = pv_path_join(dir, "boot"), *kernel = pv_path_join(dir, "boot/vmlinuz");
    cleanup_free char *flat = pv_path_join(dir, "vmlinuz"), *link = pv_path_join(dir, "link/vmlinuz");
    cleanup_free char *link_dir = pv_path_join(dir, "link"), *beside = pv_path_join(dir, "flat/modules");
    cleanup_free char *beside_kernel = pv_path_join(dir, "flat/vmlinuz");
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(mkdir(boot, 0755), 0);
    assert_int_equal(mkdir(link_dir, 0755), 0);
    assert_int_equal(symlink(kernel, link), 0);
    assert_int_equal(pv_mkdir_p(beside, 0755, &err), 0);
    fclose(fopen(kernel, "w"));
    expect_tree(NULL, kernel, RELEASE, tree); /* one directory up */
    expect_tree(NULL, flat, RELEASE, tree);   /* beside */
    expect_tree(NULL, link, RELEASE, tree);   /* beside the link's target */
    expect_tree(NULL, kernel, "0.0.0-none", NULL);
    expect_tree(NULL, kernel, NULL, NULL);
    expect_tree(NULL, beside_kernel, "0.0.0-none", NULL); /* an empty "modules" is none */
    expect_tree(tree, kernel, NULL, tree);
    expect_tree(dir, kernel, RELEASE, tree); /* one level too high */
    assert_null(pv_modules_find(boot, kernel, RELEASE, NULL, &err));
    assert_int_equal(err.cls, PV_E_USAGE);
    assert_non_null(strstr(err.text, "no modules tree"));
    expect_tree("/does/not/exist", kernel, RELEASE, NULL);
}

/* Fedora, Arch and openSUSE: usr/lib/modules/RELEASE/vmlinuz, and boot/vmlinuz beside usr/. */
static void finds_trees_of_distributions(void **state)
{
    cleanup_free char *image = pv_path_join(dir, "image"), *boot = pv_path_join(image, "boot");
    cleanup_free char *there = pv_path_join(image, "usr/lib/modules/9.9.9-arch1"), *order = NULL,
                      *kernel = NULL, *up = NULL;
    cleanup_strv struct pv_strv looked = {0};
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_int_equal(pv_mkdir_p(there, 0755, &err), 0);
    assert_int_equal(mkdir(boot, 0755), 0);
    order = pv_path_join(there, "modules.dep");
    kernel = pv_path_join(there, "vmlinuz");
    up = pv_path_join(boot, "vmlinuz-linux");
    fclose(fopen(order, "w"));
    fclose(fopen(kernel, "w"));
    fclose(fopen(up, "w"));
    expect_tree(NULL, kernel, "9.9.9-arch1", there);
    expect_tree(NULL, up, "9.9.9-arch1", there);
    expect_tree(NULL, kernel, "9.9.8", NULL); /* of another release */
    assert_null(pv_modules_find(NULL, up, "9.9.8", &looked, &err));
    assert_true(looked.n >= 7);
    for (size_t i = 0; i < looked.n; i++)
        assert_non_null(strstr(looked.v[i], "modules"));
    assert_string_equal(looked.v[looked.n - 1], "/usr/lib/modules/9.9.8");
}

/* The tree of an unpacked package is indexed in the cache and not written to. */
static void indexes_a_bare_tree(void **state)
{
    cleanup_free char *bare = pv_path_join(dir, "bare"), *dep = pv_path_join(bare, "modules.dep");
    cleanup_free char *kernel = pv_path_join(dir, "boot/vmlinuz"),
                      *cache = pv_path_join(dir, "provium/modules/");
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *index = pv_modules_find(bare, kernel, NULL, NULL, &err);
    cleanup_free char *again = pv_modules_find(bare, kernel, NULL, NULL, &err);
    struct pv_modlist l = {0};

    (void)state;
    assert_non_null(index);
    assert_memory_equal(index, cache, strlen(cache));
    assert_string_equal(again, index);
    assert_int_equal(pv_modlist_add(&l, index, "top_mod", &err), 0);
    expect_list(&l, "base middle top_mod");
    assert_int_equal(access(dep, F_OK), -1);
    pv_modlist_fini(&l);
}

/* The tree without an index: CACHE/modules, or what is there in place of the index, is not this user's. */
static void expect_no_index(void)
{
    cleanup_free char *bare = pv_path_join(dir, "bare"), *kernel = pv_path_join(dir, "boot/vmlinuz");
    struct pv_err err = PV_ERR_INIT;
    cleanup_free char *index = pv_modules_find(bare, kernel, NULL, NULL, &err);

    assert_string_equal(index, bare);
}

static void uses_only_its_own_index(void **state)
{
    cleanup_free char *bare = pv_path_join(dir, "bare"), *kernel = pv_path_join(dir, "boot/vmlinuz");
    cleanup_free char *cache = pv_path_join(dir, "provium/modules"), *moved = pv_path_join(dir, "moved");
    cleanup_free char *index = pv_modules_find(bare, kernel, NULL, NULL, NULL);
    const char *const places[] = {cache, index};

    (void)state;
    assert_string_not_equal(index, bare);
    for (size_t i = 0; i < PV_ARRAY_LEN(places); i++) {
        cleanup_free char *again = NULL;

        assert_int_equal(chmod(places[i], 0770), 0);
        expect_no_index();
        assert_int_equal(chmod(places[i], 0700), 0);
        if (geteuid() == 0) {
            assert_int_equal(chown(places[i], 1, 1), 0);
            expect_no_index();
            assert_int_equal(chown(places[i], 0, 0), 0);
        } else {
            print_message("skipped: only root can give a directory to another user\n");
        }
        assert_int_equal(rename(places[i], moved), 0);
        assert_int_equal(symlink(moved, places[i]), 0);
        expect_no_index();
        assert_int_equal(unlink(places[i]), 0);
        assert_int_equal(rename(moved, places[i]), 0);
        again = pv_modules_find(bare, kernel, NULL, NULL, NULL);
        assert_string_equal(again, index);
    }
}

/* libkmod reads every index by its path: a link in the place of one would lead it elsewhere. */
static void uses_no_index_with_a_foreign_entry(void **state)
{
    cleanup_free char *bare = pv_path_join(dir, "bare"), *kernel = pv_path_join(dir, "boot/vmlinuz");
    cleanup_free char *index = pv_modules_find(bare, kernel, NULL, NULL, NULL);
    static const char *const names[] = {"modules.dep", "modules.softdep", "modules.alias.bin"};

    (void)state;
    assert_string_not_equal(index, bare);
    for (size_t i = 0; i < PV_ARRAY_LEN(names); i++) {
        cleanup_free char *entry = pv_path_join(index, names[i]), *kept = pv_path_join(index, "kept");

        assert_int_equal(rename(entry, kept), 0);
        assert_int_equal(symlink("kept", entry), 0);
        expect_no_index();
        assert_int_equal(unlink(entry), 0);
        assert_int_equal(rename(kept, entry), 0);
        if (geteuid() == 0) {
            assert_int_equal(chown(entry, 1, 1), 0);
            expect_no_index();
            assert_int_equal(chown(entry, 0, 0), 0);
        }
    }
}

static void finding_nothing_is_no_error(void **state)
{
    struct pv_err err = PV_ERR_INIT;

    (void)state;
    assert_null(pv_modules_find(NULL, "/nowhere/vmlinuz", "0.0.0-none", NULL, &err));
    assert_int_equal(err.cls, PV_E_NONE);
}

/* The paths of modules.dep that stand in front of `path`, each of which must be in the list before entry i. */
static void check_order(const struct pv_modlist *l, size_t i, const char *below, char *deps)
{
    for (char *save = NULL, *d = strtok_r(deps, " ", &save); d; d = strtok_r(NULL, " ", &save)) {
        cleanup_free char *full = pv_path_join(below, d);
        size_t j = 0;

        while (j < i && strcmp(l->paths.v[j], full) != 0)
            j++;
        if (j == i)
            print_error("%s is not in front of %s\n", full, l->paths.v[i]);
        assert_true(j < i);
    }
}

/* A kernel of any release: which drivers are modules, and where they are, changes from one to the next. */
static void lists_the_real_ones(void **state)
{
    cleanup_free char *guest = test_guest_dir();
    cleanup_free char *real = pv_path_join(guest, "modules"), *dep = pv_path_join(real, "modules.dep");
    cleanup_buf struct pv_buf text = {0};
    struct pv_err err = PV_ERR_INIT;
    struct pv_modlist l = {0};
    size_t checked = 0;

    (void)state;
    if (access(real, R_OK) < 0) {
        print_message("skipped: no '%s' (scripts/setup makes it; PROVIUM_GUEST_DIR says where)\n", real);
        skip();
    }
    assert_int_equal(pv_modlist_add(&l, real, "virtio_pci", &err), 0);
    assert_int_equal(pv_modlist_add(&l, real, "vmw_vsock_virtio_transport", &err), 0);
    assert_int_equal(pv_read_file(dep, 16 << 20, &text, &err), 0);
    for (char *save = NULL, *line = strtok_r(text.data, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *deps = strchr(line, ':');
        cleanup_free char *full = NULL;

        assert_non_null(deps);
        *deps++ = '\0';
        full = pv_path_join(real, line);
        for (size_t i = 0; i < l.paths.n; i++)
            if (!strcmp(l.paths.v[i], full)) {
                check_order(&l, i, real, deps);
                checked++;
            }
    }
    assert_true(checked > 0);
    assert_int_equal(checked, l.paths.n);
    pv_modlist_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_dependencies_first),
        cmocka_unit_test(lists_each_once),
        cmocka_unit_test(follows_soft_dependencies),
        cmocka_unit_test(knows_built_in_and_unknown),
        cmocka_unit_test(resolves_aliases),
        cmocka_unit_test(says_which_depmod),
        cmocka_unit_test(finds_the_tree),
        cmocka_unit_test(finds_trees_of_distributions),
        cmocka_unit_test(indexes_a_bare_tree),
        cmocka_unit_test(uses_no_index_with_a_foreign_entry),
        cmocka_unit_test(uses_only_its_own_index),
        cmocka_unit_test(finding_nothing_is_no_error),
        cmocka_unit_test(lists_the_real_ones),
    };

    return cmocka_run_group_tests_name("image-modules", tests, setup, teardown);
}
