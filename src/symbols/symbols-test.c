/* SPDX-License-Identifier: MIT */
/* The symbols of this program itself: the functions below have lines, one inlined function and its call. */
#include "util/test.h"

#include <fcntl.h>
#include <gelf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols/symbols.h"
#include "util/copy.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

static volatile int sink;

static inline __attribute__((always_inline)) void inner_part(void)
{
    sink = sink * 3 + 1; /* a line of inner_part */
}

__attribute__((noinline)) void symbols_outer_part(void);
__attribute__((noinline)) void symbols_outer_part(void)
{
    sink++;
    inner_part();
    sink++;
}

/* The size of a function of this program, by its symbol table. */
static unsigned long function_size(const char *name)
{
    cleanup_close int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    unsigned long size = 0;
    Elf_Scn *section = NULL;
    Elf *elf;

    elf_version(EV_CURRENT);
    elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    while ((section = elf_nextscn(elf, section)) != NULL) {
        GElf_Shdr head;
        GElf_Sym sym;

        gelf_getshdr(section, &head);
        for (int i = 0; head.sh_type == SHT_SYMTAB && i < (int)(head.sh_size / head.sh_entsize); i++)
            if (gelf_getsym(elf_getdata(section, NULL), i, &sym) &&
                !strcmp(elf_strptr(elf, head.sh_link, sym.st_name), name))
                size = sym.st_size;
    }
    elf_end(elf);
    assert_int_not_equal(size, 0);
    return size;
}

static struct pv_symbols *symbols_of(const char *path, const char *kernel, const char *booted)
{
    struct pv_strv paths = {0};
    struct pv_symbols *s;

    pv_strv_add(&paths, path);
    s = pv_symbols_new(&paths, kernel, booted);
    pv_strv_free(&paths);
    return s;
}

static struct pv_symbols *own_symbols(const char *kernel, const char *booted)
{
    return symbols_of("/proc/self/exe", kernel, booted);
}

static void check_lines(struct pv_symbols *s)
{
    unsigned long size = function_size("symbols_outer_part");
    bool outer = false, inner = false;

    for (unsigned long i = 0; i < size; i++) {
        cleanup_free char *report =
            pv_xasprintf("[    1.0] RIP: 0010:symbols_outer_part+0x%lx/0x%lx\n[    1.0] Code: 90\n", i, size);
        cleanup_free char *text = pv_symbols_annotate(s, report);

        assert_non_null(text);
        assert_non_null(strstr(text, "symbols-test.c:"));
        assert_non_null(strstr(text, "\n[    1.0] Code: 90\n"));
        if (strstr(text, " in inner_part, inlined at "))
            inner = true;
        else
            outer = true;
    }
    assert_true(outer && inner);
    assert_null(pv_symbols_problem(s));
    pv_symbols_free(s);
}

static void lines_and_inlined_functions(void **state)
{
    (void)state;
    check_lines(own_symbols("/nonexistent", "/proc/self/exe"));
}

/* The return address of a call that is a function's last instruction is behind the function. */
static void return_addresses_are_of_the_call(void **state)
{
    struct pv_symbols *s = own_symbols("/nonexistent", "/proc/self/exe");
    unsigned long size = function_size("symbols_outer_part");
    cleanup_free char *trace = pv_xasprintf(" symbols_outer_part+0x1/0x%lx\n", size);
    cleanup_free char *entry = pv_xasprintf("RIP: 0010:symbols_outer_part+0x0/0x%lx\n", size);
    cleanup_free char *a = pv_symbols_annotate(s, trace), *b = pv_symbols_annotate(s, entry);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(strchr(a, '('), strchr(b, '('));
    pv_symbols_free(s);
}

static void wrong_places_are_not_told(void **state)
{
    static const char *const lines[] = {
        "symbols_outer_part+0x1/0x%lx",      /* another size: another build */
        "symbols_outer_part+0xffffff/0x%lx", /* behind its end */
        "no_such_function+0x1/0x%lx",
        "symbols_outer_part+0x1/0x%lx [mod]", /* of a module without a file */
        "+0x1/0x%lx",
        "symbols_outer_part+0x1",
        "symbols_outer_part+1/0x%lx",
        "symbols_outer_part+0x/0x%lx",
        "symbols_outer_part+0x1/0x99999999999999999999%lx",
        "a+0x+0x/+",
        "",
    };
    struct pv_symbols *s = own_symbols("/nonexistent", NULL);
    unsigned long size = function_size("symbols_outer_part");

    (void)state;
    for (size_t i = 0; i < PV_ARRAY_LEN(lines); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        cleanup_free char *line = pv_xasprintf(lines[i], i ? size : size + 64);
#pragma GCC diagnostic pop

        assert_null(pv_symbols_annotate(s, line));
    }
    pv_symbols_free(s);
}

static void another_build_is_refused(void **state)
{
    struct pv_symbols *s = own_symbols("/nonexistent", "/bin/sh"); /* an ELF file with another build ID */
    cleanup_free char *line =
        pv_xasprintf("symbols_outer_part+0x1/0x%lx", function_size("symbols_outer_part"));

    (void)state;
    assert_null(pv_symbols_annotate(s, line));
    assert_non_null(strstr(pv_symbols_problem(s), "another build"));
    pv_symbols_free(s);
}

static void copy_self(const char *path)
{
    cleanup_close int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    cleanup_close int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    assert_int_equal(pv_copy_sparse(from, to, NULL), 0);
}

/* As clang writes it; here the section gets another name. */
static void lines_without_address_ranges(void **state)
{
    static const char name[] = ".debug_aranges";
    char path[] = "/tmp/symbols-test-XXXXXX";
    struct pv_err err = PV_ERR_INIT;
    struct pv_buf data = {0};
    cleanup_close int fd = mkstemp(path);
    char *at;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(pv_read_file("/proc/self/exe", SIZE_MAX, &data, &err), 0);
    /* The test's own constant is in front of the section's name: each is renamed. */
    for (at = data.data; (at = memmem(at, data.len - (size_t)(at - data.data), name, sizeof(name))) != NULL;)
        at[1] = 'x';
    assert_int_equal(write(fd, data.data, data.len), (ssize_t)data.len);
    check_lines(symbols_of(path, "/nonexistent", "/proc/self/exe"));
    unlink(path);
    pv_buf_free(&data);
}

/* A directory is searched for the module by its name, '-' and '_' being the same. */
static void modules_are_found_below_directories(void **state)
{
    char dir[] = "/tmp/symbols-test-XXXXXX";
    struct pv_strv paths = {0};
    struct pv_symbols *s;
    unsigned long size = function_size("symbols_outer_part");
    cleanup_free char *line = pv_xasprintf(" symbols_outer_part+0x1/0x%lx [my_mod 12ab]\n", size);
    cleanup_free char *sub = NULL, *ko = NULL, *text = NULL;

    (void)state;
    assert_non_null(mkdtemp(dir));
    sub = pv_xasprintf("%s/kernel", dir);
    ko = pv_xasprintf("%s/my-mod.ko", sub);
    assert_int_equal(mkdir(sub, 0755), 0);
    copy_self(ko);
    pv_strv_add(&paths, dir);
    s = pv_symbols_new(&paths, "/nonexistent", NULL);
    text = pv_symbols_annotate(s, line);
    assert_non_null(text);
    assert_non_null(strstr(text, "[my_mod 12ab] ("));
    unlink(ko);
    rmdir(sub);
    rmdir(dir);
    pv_symbols_free(s);
    pv_strv_free(&paths);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_inlined_functions),
        cmocka_unit_test(lines_without_address_ranges),
        cmocka_unit_test(return_addresses_are_of_the_call),
        cmocka_unit_test(wrong_places_are_not_told),
        cmocka_unit_test(another_build_is_refused),
        cmocka_unit_test(modules_are_found_below_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
