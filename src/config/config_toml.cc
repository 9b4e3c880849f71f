// SPDX-License-Identifier: MIT
// toml++ sorts tables by key; this file restores the order of the text, so that the first mistake in the file
// is the one that is reported.
#include <algorithm>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include <toml++/toml.h>

extern "C" {
#include "util/err.h"
#include "util/mem.h"
}
#include "config/config_toml.h"

namespace
{

// strndup stops at a NUL byte; *len is the full length, so that readers can detect one.
char *copy_string(const std::string_view s, size_t *len)
{
    *len = s.size();
    return pv_xstrndup(s.data(), s.size());
}

void set_position(struct pv_toml *t, const toml::source_region &at)
{
    t->line = static_cast<int>(at.begin.line);
}

void convert(const toml::node &node, struct pv_toml *t);

void convert_table(const toml::table &table, struct pv_toml *t)
{
    t->type = PV_TOML_TABLE;
    t->items = static_cast<struct pv_toml *>(pv_xcalloc(table.size(), sizeof(*t->items)));
    for (auto &&[key, value] : table) {
        struct pv_toml *item = &t->items[t->n_items++];

        convert(value, item);
        free(item->key);
        item->key = copy_string(key.str(), &item->key_len);
        set_position(item, key.source());
    }
    std::stable_sort(t->items, t->items + t->n_items,
                     [](const struct pv_toml &a, const struct pv_toml &b) { return a.line < b.line; });
}

void convert_array(const toml::array &array, struct pv_toml *t)
{
    t->type = PV_TOML_ARRAY;
    t->items = static_cast<struct pv_toml *>(pv_xcalloc(array.size(), sizeof(*t->items)));
    for (auto &&value : array)
        convert(value, &t->items[t->n_items++]);
}

void convert(const toml::node &node, struct pv_toml *t)
{
    t->key = pv_xstrdup("");
    set_position(t, node.source());
    if (const auto *table = node.as_table()) {
        convert_table(*table, t);
    } else if (const auto *array = node.as_array()) {
        convert_array(*array, t);
    } else if (const auto *s = node.as_string()) {
        t->type = PV_TOML_STRING;
        t->str = copy_string(s->get(), &t->str_len);
    } else if (const auto *i = node.as_integer()) {
        t->type = PV_TOML_INTEGER;
        t->integer = i->get();
    } else if (const auto *f = node.as_floating_point()) {
        t->type = PV_TOML_FLOAT;
        t->number = f->get();
    } else if (const auto *b = node.as_boolean()) {
        t->type = PV_TOML_BOOL;
        t->integer = b->get();
    } else {
        t->type = PV_TOML_DATE;
    }
}

// toml++ also allocates where nothing may be thrown: a failure there ends in std::terminate, which says what it was.
class terminate_says_no_memory
{
    const std::terminate_handler before = std::set_terminate(pv_out_of_memory);

  public:
    terminate_says_no_memory() = default;
    terminate_says_no_memory(const terminate_says_no_memory &) = delete;
    terminate_says_no_memory &operator=(const terminate_says_no_memory &) = delete;
    ~terminate_says_no_memory()
    {
        std::set_terminate(before);
    }
};

void free_items(struct pv_toml *t)
{
    for (size_t i = 0; i < t->n_items; i++)
        free_items(&t->items[i]);
    free(t->items);
    free(t->key);
    free(t->str);
}

} // namespace

extern "C" struct pv_toml *pv_toml_parse(const char *text, size_t n, const char *source, struct pv_err *err)
{
    const terminate_says_no_memory guard;
    struct pv_toml *root = nullptr;

    try {
        const toml::table table = toml::parse(std::string_view(text, n), std::string_view(source));

        root = static_cast<struct pv_toml *>(pv_xcalloc(1, sizeof(*root)));
        convert(table, root);
        return root;
    } catch (const toml::parse_error &e) {
        const std::string what(e.description());

        pv_err_set(err, PV_E_USAGE, "%s:%d:%d: %s", source, static_cast<int>(e.source().begin.line),
                   static_cast<int>(e.source().begin.column), what.c_str());
    } catch (const std::bad_alloc &) {
        pv_out_of_memory();
    } catch (const std::exception &e) {
        pv_err_set(err, PV_E_USAGE, "%s:1:1: cannot be parsed: %s", source, e.what());
    } catch (...) {
        pv_err_set(err, PV_E_USAGE, "%s:1:1: cannot be parsed", source);
    }
    pv_toml_free(root);
    return nullptr;
}

extern "C" void pv_toml_free(struct pv_toml *t)
{
    if (!t)
        return;
    free_items(t);
    free(t);
}
