/* SPDX-License-Identifier: MIT */
#include "cli/list.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "runner/history.h"
#include "report/outputs.h"
#include "runner/select.h"
#include "util/text.h"
#include "util/err.h"
#include "util/path.h"

static void json_add_str(struct pv_buf *out, const char *key, const char *s)
{
    pv_buf_addf(out, "\"%s\": ", key);
    pv_json_str(out, s, strlen(s));
}

static void json_add_file(struct pv_buf *out, const struct pv_test_file *f, const struct pv_history *h)
{
    int64_t duration = pv_history_duration(h, f->path);

    pv_buf_adds(out, "    {");
    json_add_str(out, "name", f->name);
    pv_buf_adds(out, ", ");
    json_add_str(out, "path", f->path);
    if (duration >= 0)
        pv_buf_addf(out, ", \"duration_ns\": %" PRId64, duration);
    else
        pv_buf_adds(out, ", \"duration_ns\": null");
    pv_buf_addf(out, ", \"failed\": %s}", pv_history_failed(h, f->path) ? "true" : "false");
}

static void list_as_json(struct pv_buf *out, const struct pv_select_opts *o, const struct pv_selection *s,
                         const struct pv_history *h)
{
    pv_buf_adds(out, "{\n  \"schema\": \"provium-list/1\",\n  \"shard\": ");
    if (o->shard.count)
        pv_buf_addf(out, "{\"index\": %u, \"count\": %u}", o->shard.index, o->shard.count);
    else
        pv_buf_adds(out, "null");
    pv_buf_adds(out, ",\n  \"shuffle\": ");
    if (o->shuffle)
        pv_buf_addf(out, "%" PRIu64, o->seed);
    else
        pv_buf_adds(out, "null");
    pv_buf_adds(out, ",\n  \"files\": [");
    for (size_t i = 0; i < s->files.n; i++) {
        pv_buf_adds(out, i ? ",\n" : "\n");
        json_add_file(out, &s->files.v[i], h);
    }
    pv_buf_adds(out, s->files.n ? "\n  ]\n}\n" : "]\n}\n");
}

static void list_as_text(struct pv_buf *out, const struct pv_selection *s)
{
    fflush(stdout);
    for (size_t i = 0; i < s->notes.n; i++)
        fprintf(stderr, "note: %s\n", s->notes.v[i]);
    for (size_t i = 0; i < s->files.n; i++) {
        pv_text_clean(out, s->files.v[i].name, strlen(s->files.v[i].name), NULL);
        pv_buf_addc(out, '\n');
    }
}

int pv_list(const struct pv_select_opts *o, const struct pv_selection *s, const struct pv_history *h,
            const char *json, struct pv_err *err)
{
    bool to_file = json && strcmp(json, "-") != 0;
    cleanup_close int fd = to_file ? open(json, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    cleanup_buf struct pv_buf out = {0};

    if (to_file && fd < 0)
        return pv_err_sys(err, errno, "test: --json: cannot make '%s'", json);
    pv_buf_adds(&out, "");
    if (json)
        list_as_json(&out, o, s, h);
    else
        list_as_text(&out, s);
    if (pv_write_all(to_file ? fd : STDOUT_FILENO, out.data, out.len) < 0)
        return pv_err_sys(err, errno, "cannot write the list to %s", to_file ? json : "standard output");
    return PV_EXIT_OK;
}
