/* SPDX-License-Identifier: MIT */
/* provium lsp: type stubs of the Lua API for the Lua language server, and its configuration. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/project-file.h"
#include "lua-stubs.lua.h"
#include "template-luarc.h"
#include "util/err.h"
#include "util/mem.h"
#include "util/path.h"

#define STUBS ".provium/lua/provium.lua"

static const struct pv_opt opts[] = {{NULL}};

static const struct project_file stubs = {STUBS, pv_lua_stubs_lua, sizeof(pv_lua_stubs_lua)};
static const struct project_file luarc = {".luarc.json", pv_template_luarc, sizeof(pv_template_luarc)};

/* Whether the file at path holds these bytes and no others. */
static bool file_is(const char *path, const struct project_file *f)
{
    cleanup_buf struct pv_buf have = {0};
    struct pv_err ignored;

    return pv_read_file(path, f->len + 1, &have, &ignored) == 0 && have.len == f->len &&
           !memcmp(have.data, f->text, f->len);
}

static int lsp_write(const char *dir, struct pv_err *err)
{
    cleanup_free char *path = pv_path_join(dir, STUBS), *config = pv_path_join(dir, ".luarc.json");
    int stubs_made = pv_project_file_write("lsp", dir, &stubs, err), config_made;

    if (stubs_made < 0)
        return -1;
    config_made = pv_project_file_write("lsp", dir, &luarc, err);
    if (config_made < 0)
        return -1;
    if (!stubs_made && !file_is(path, &stubs))
        printf("\n%s is not what this provium writes: another version made it, or it was changed.\n"
               "Remove it and run provium lsp again for the present API.\n",
               path);
    if (!config_made && !file_is(config, &luarc))
        printf("\nThe language server finds the types when %s has\n"
               "    \"workspace.library\": [\".provium/lua\"]\n",
               config);
    return 0;
}

static int lsp_main(int argc, char **argv)
{
    struct pv_opt_parser p = {.opts = opts, .argc = argc, .argv = argv};
    const char *value, *dir = NULL;
    struct pv_err err;
    int i;

    while ((i = pv_opt_next(&p, &value, &err)) >= 0) {
        if (i == PV_OPT_HELP) {
            pv_command_usage(&pv_command_lsp);
            return PV_EXIT_OK;
        }
        if (dir || !*value) {
            pv_err_set(&err, PV_E_USAGE, "lsp: expected at most one directory, got '%s'%s", value,
                       dir ? " too" : "");
            return pv_cli_error(&err);
        }
        dir = value;
    }
    if (i == PV_OPT_BAD || lsp_write(dir ? dir : ".", &err) < 0)
        return pv_cli_error(&err);
    return PV_EXIT_OK;
}

const struct pv_command pv_command_lsp = {
    .name = "lsp",
    .run = lsp_main,
    .help = "write types of the Lua API for editors",
    .usage = "lsp [DIR]",
    .about = "Writes type stubs of the whole Lua API for the Lua language server into DIR, or\n"
             "here, as " STUBS ", and a .luarc.json that names them.\n"
             "Editors then complete and check calls, options and results. Files that are\n"
             "there stay as they are.",
    .opts = opts,
    .words = "DIR",
};
