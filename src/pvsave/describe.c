/* SPDX-License-Identifier: MIT */
/* The JSON texts of a file of --save-failed. */
#include <jansson.h>
#include <string.h>

#include "pvsave/pvsave.h"
#include "util/err.h"
#include "util/text.h"

#define FORMAT "provium-save/1"

enum { LIST_MAX = 4096, DISKS_MAX = 64 };

void pv_pvsave_failure_fini(struct pv_pvsave_failure *f)
{
    free(f->version);
    free(f->file);
    free(f->message);
    free(f->time);
    free(f->host.kernel);
    free(f->host.qemu);
    free(f->host.cpu);
    free(f->host.flags);
    pv_strv_free(&f->timeline);
    *f = (struct pv_pvsave_failure){0};
}

void pv_pvsave_vm_fini(struct pv_pvsave_vm *vm)
{
    free(vm->name);
    free(vm->state);
    free(vm->reason);
    free(vm->profile);
    free(vm->machine);
    free(vm->cpu);
    free(vm->kernel);
    free(vm->json);
    pv_strv_free(&vm->qemu_args);
    for (size_t i = 0; i < vm->n_disks; i++) {
        free(vm->disks[i].path);
        free(vm->disks[i].digest);
    }
    free(vm->disks);
    for (size_t i = 0; i < vm->n_files; i++)
        pv_close(&vm->files[i].fd);
    pv_buf_free(&vm->console);
    *vm = (struct pv_pvsave_vm){0};
}

const struct pv_pvsave_file *pv_pvsave_vm_file(const struct pv_pvsave_vm *vm, const char *name)
{
    for (size_t i = 0; i < vm->n_files; i++)
        if (!strcmp(vm->files[i].name, name))
            return &vm->files[i];
    return NULL;
}

void pv_pvsave_fini(struct pv_pvsave *s)
{
    pv_pvsave_failure_fini(&s->failure);
    for (size_t i = 0; i < s->n_vms; i++)
        pv_pvsave_vm_fini(&s->vms[i]);
    free(s->vms);
    *s = (struct pv_pvsave){0};
}

/* ---- encoding ---- */

/* NULL becomes null. */
static json_t *text_to_json(const char *s)
{
    cleanup_buf struct pv_buf clean = {0};
    size_t n = s ? strlen(s) : 0;
    uint32_t cp;

    for (size_t i = 0; i < n;) {
        size_t len = pv_text_utf8((const unsigned char *)s + i, n - i, &cp);

        if (len)
            pv_buf_add(&clean, s + i, len);
        else
            pv_buf_addc(&clean, '?');
        i += len ? len : 1;
    }
    return s ? json_stringn(clean.data ? clean.data : "", clean.len) : json_null();
}

static json_t *strv_to_json(const struct pv_strv *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->n; i++)
        json_array_append_new(list, text_to_json(v->v[i]));
    return list;
}

static char *json_to_text(json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT), *copy = pv_xstrdup(text);

    free(text);
    json_decref(j);
    return copy;
}

char *pv_pvsave_failure_encode(const struct pv_pvsave_failure *f)
{
    return json_to_text(json_pack("{s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o}, s:o}", "format", FORMAT,
                                  "version", text_to_json(f->version), "file", text_to_json(f->file),
                                  "message", text_to_json(f->message), "time", text_to_json(f->time), "host",
                                  "kernel", text_to_json(f->host.kernel), "qemu", text_to_json(f->host.qemu),
                                  "cpu", text_to_json(f->host.cpu), "flags", text_to_json(f->host.flags),
                                  "timeline", strv_to_json(&f->timeline)));
}

char *pv_pvsave_vm_encode(const struct pv_pvsave_vm *vm)
{
    json_t *disks = json_array();

    for (size_t i = 0; i < vm->n_disks; i++)
        json_array_append_new(disks, json_pack("{s:o, s:I, s:o}", "path", text_to_json(vm->disks[i].path),
                                               "size", (json_int_t)vm->disks[i].size, "digest",
                                               text_to_json(vm->disks[i].digest)));
    return json_to_text(
        json_pack("{s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o, s:o}, s:o, s:o}", "name", text_to_json(vm->name),
                  "state", text_to_json(vm->state), "reason", text_to_json(vm->reason), "profile", "name",
                  text_to_json(vm->profile), "machine", text_to_json(vm->machine), "cpu",
                  text_to_json(vm->cpu), "kernel", text_to_json(vm->kernel), "qemu_args",
                  strv_to_json(&vm->qemu_args), "machine", text_to_json(vm->json), "disks", disks));
}

/* ---- decoding ---- */

/* A member that is a string. */
struct text_member {
    const char *name;
    char **to;
    bool may_be_null;
};

static bool texts_from_json(const json_t *j, const struct text_member *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_object_get(j, m[i].name);

        if (m[i].may_be_null && json_is_null(v))
            continue;
        if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v))
            return false;
        *m[i].to = pv_xstrdup(json_string_value(v));
    }
    return true;
}

static bool strv_from_json(const json_t *list, struct pv_strv *v)
{
    if (!json_is_array(list) || json_array_size(list) > LIST_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);

        if (!json_is_string(e) || strlen(json_string_value(e)) != json_string_length(e))
            return false;
        pv_strv_add(v, json_string_value(e));
    }
    return true;
}

int pv_pvsave_failure_decode(const char *text, size_t n, struct pv_pvsave_failure *f, struct pv_err *err)
{
    const struct text_member top[] = {{"version", &f->version, false},
                                      {"file", &f->file, false},
                                      {"message", &f->message, false},
                                      {"time", &f->time, false}};
    const struct text_member host[] = {{"kernel", &f->host.kernel, false},
                                       {"qemu", &f->host.qemu, false},
                                       {"cpu", &f->host.cpu, false},
                                       {"flags", &f->host.flags, false}};
    json_t *j = json_loadb(text, n, 0, NULL);
    const char *format = json_string_value(json_object_get(j, "format"));
    int r = 0;

    if (!format)
        r = pv_err_set(err, PV_E_USAGE, "it is no file of provium test --save-failed");
    else if (strcmp(format, FORMAT) != 0)
        r = pv_err_set(err, PV_E_USAGE, "its format is '%.40s', this Provium reads '%s'", format, FORMAT);
    else if (!texts_from_json(j, top, PV_ARRAY_LEN(top)) ||
             !texts_from_json(json_object_get(j, "host"), host, PV_ARRAY_LEN(host)) ||
             !strv_from_json(json_object_get(j, "timeline"), &f->timeline))
        r = pv_err_set(err, PV_E_USAGE, "its description of the failure is damaged");
    json_decref(j);
    return r;
}

static bool disks_from_json(const json_t *list, struct pv_pvsave_vm *vm)
{
    if (!json_is_array(list) || json_array_size(list) > DISKS_MAX)
        return false;
    vm->disks = pv_xcalloc(DISKS_MAX, sizeof(*vm->disks));
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct pv_pvsave_disk *d = &vm->disks[vm->n_disks++];
        const struct text_member texts[] = {{"path", &d->path, false}, {"digest", &d->digest, false}};
        const json_t *e = json_array_get(list, i), *size = json_object_get(e, "size");

        if (!texts_from_json(e, texts, PV_ARRAY_LEN(texts)) || !json_is_integer(size) ||
            json_integer_value(size) < 0)
            return false;
        d->size = (uint64_t)json_integer_value(size);
    }
    return true;
}

int pv_pvsave_vm_decode(const char *text, size_t n, struct pv_pvsave_vm *vm, struct pv_err *err)
{
    const struct text_member top[] = {{"name", &vm->name, false},
                                      {"state", &vm->state, false},
                                      {"reason", &vm->reason, true},
                                      {"machine", &vm->json, true}};
    const struct text_member of_profile[] = {{"name", &vm->profile, false},
                                             {"machine", &vm->machine, true},
                                             {"cpu", &vm->cpu, true},
                                             {"kernel", &vm->kernel, true}};
    json_t *j = json_loadb(text, n, 0, NULL), *profile = json_object_get(j, "profile");
    bool good = texts_from_json(j, top, PV_ARRAY_LEN(top)) &&
                texts_from_json(profile, of_profile, PV_ARRAY_LEN(of_profile)) &&
                strv_from_json(json_object_get(profile, "qemu_args"), &vm->qemu_args) &&
                disks_from_json(json_object_get(j, "disks"), vm) && !vm->reason == !!vm->json;

    json_decref(j);
    return good ? 0 : pv_err_set(err, PV_E_USAGE, "the description of a VM in it is damaged");
}
