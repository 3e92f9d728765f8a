/* SPDX-License-Identifier: MIT */
/*
 * tuning.json: by the device's name, what a search found there.
 *
 *     {
 *       "NVIDIA H200": {
 *         "driver": "580.159.04",
 *         "library": "0.1.0",
 *         "values": {"row_steps": 2}
 *       }
 *     }
 */
#include "runtime/tuning.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <colt5/file.h>
#include <colt5/version.h>

#include "runtime/context.h"

#define LARGEST ((size_t)1 << 20) /* bytes of a file that may be one */

/* ---- where ---- */

/* The folder it is in unless COLT5_TUNING names a file; false where there is none. */
static bool find_folder(char *folder, size_t size)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int length = -1;
    if (data && data[0] == '/')
        length = snprintf(folder, size, "%s/colt5", data);
    else if (home && home[0] == '/')
        length = snprintf(folder, size, "%s/.local/share/colt5", home);
    return length > 0 && (size_t)length < size;
}

/* Where the environment says so: what another user's program is told is not listened to. */
static const char *named(void)
{
    const char *name = geteuid() == getuid() ? getenv("COLT5_TUNING") : "off";
    return name && *name ? name : NULL;
}

static bool find_file(char *path, size_t size)
{
    char folder[PATH_MAX - 16];
    int length = -1;
    if (named())
        length = strcmp(named(), "off") ? snprintf(path, size, "%s", named()) : -1;
    else if (find_folder(folder, sizeof(folder)))
        length = snprintf(path, size, "%s/tuning.json", folder);
    return length > 0 && (size_t)length < size;
}

/* ---- reading ---- */

/* Why the file cannot be used, or NULL: then its object is in *root, or NULL where there is none.
 */
static const char *read_open(int fd, json_t **root)
{
    struct stat about;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return "is not a regular file";
    if (about.st_uid != geteuid() && about.st_uid != 0) return "belongs to someone else";
    if ((uint64_t)about.st_size > LARGEST) return "is too large";
    char *text = host_allocate((size_t)about.st_size + 1);
    if (!text) return "does not fit into memory";
    const ssize_t count = pread(fd, text, (size_t)about.st_size, 0);
    json_t *object =
        count > 0 ? json_loadb(text, (size_t)count, JSON_REJECT_DUPLICATES, NULL) : NULL;
    host_release(text);
    if (json_is_object(object)) {
        *root = object;
        return NULL;
    }
    json_decref(object);
    return "is not JSON as colt5 bench --tune writes it";
}

static const char *read_root(const char *path, json_t **root)
{
    *root = NULL;
    /* O_NONBLOCK: a pipe without a writer is refused, not waited for. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno == ENOENT ? NULL : strerror(errno);
    const char *wrong = read_open(fd, root);
    close(fd);
    return wrong;
}

/* Kept for the log callback: the last one counts. Names come from a file: no control characters. */
__attribute__((format(printf, 2, 3))) static void notice(colt5_context *ctx, const char *format,
                                                         ...)
{
    char *text = ctx->tuning.notice;
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof(ctx->tuning.notice), format, values);
    va_end(values);
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7F) *text = '?';
}

static bool is_text(const json_t *object, const char *key, const char *text)
{
    const char *have = json_string_value(json_object_get(object, key));
    return have && !strcmp(have, text);
}

static void take_values(colt5_context *ctx, const char *path, json_t *values)
{
    const char *name;
    json_t *value;
    json_object_foreach(values, name, value)
    {
        const enum tunable which = tunable_named(name);
        if (which < TUNABLES && is_choice(which, json_integer_value(value)))
            ctx->tuning.values[which] = (int)json_integer_value(value);
        else
            notice(ctx, "tuning: %.100s: %s \"%.40s\" is left out", path,
                   which < TUNABLES ? "the value of" : "the unknown", name);
    }
}

void tuning_load(colt5_context *ctx)
{
    char path[PATH_MAX];
    json_t *root;
    if (!find_file(path, sizeof(path))) return;
    const char *wrong = read_root(path, &root);
    if (wrong) notice(ctx, "tuning: %.120s %.60s; it is left out", path, wrong);
    json_t *entry = json_object_get(root, ctx->info.name);
    if (entry &&
        (!is_text(entry, "driver", ctx->info.driver) || !is_text(entry, "library", COLT5_VERSION)))
        notice(ctx,
               "tuning: %.100s is of another driver or version; colt5 bench --tune makes it anew",
               path);
    else if (entry)
        take_values(ctx, path, json_object_get(entry, "values"));
    json_decref(root);
}

/* ---- writing ---- */

/* What the context has beyond the standard. */
static json_t *entry_of(const colt5_context *ctx)
{
    json_t *values = json_object();
    for (enum tunable i = 0; i < TUNABLES; i++)
        if (ctx->tuning.values[i])
            json_object_set_new(values, tunable_name(i), json_integer(ctx->tuning.values[i]));
    return json_pack("{s:s, s:s, s:o}", "driver", ctx->info.driver, "library", COLT5_VERSION,
                     "values", values);
}

/* The folder and those it is in. */
static void make_folders(char *folder)
{
    for (char *slash = folder; (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        (void)mkdir(folder, 0700);
        *slash = '/';
    }
    (void)mkdir(folder, 0700); /* where it failed, writing the file says so */
}

static colt5_status write_root(colt5_context *ctx, const char *path, const json_t *root)
{
    char *text = json_dumps(root, JSON_INDENT(2));
    REQUIRE(ctx, text, COLT5_ERROR_MEMORY, "tuning: no host memory");
    colt5_status status = colt5_write_file(path, text, strlen(text));
    if (status != COLT5_OK) status = fail(ctx, status, "tuning: %s", colt5_message(NULL));
    free(text);
    return status;
}

colt5_status colt5_tuning_save(colt5_context *ctx, char *path, size_t size)
{
    char file[PATH_MAX], folder[PATH_MAX - 16];
    json_t *root;
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "tuning: ctx is NULL");
    REQUIRE(ctx, find_file(file, sizeof(file)), COLT5_ERROR_ARGUMENT,
            "tuning: there is no file for it: COLT5_TUNING is off, or HOME not set");
    if (size > 0) snprintf(path, size, "%s", file);
    const char *wrong = read_root(file, &root);
    REQUIRE(ctx, !wrong, COLT5_ERROR_FORMAT, "tuning: %s %s", file, wrong);
    if (!root) root = json_object();
    json_object_set_new(root, ctx->info.name, entry_of(ctx));
    if (!named() && find_folder(folder, sizeof(folder))) make_folders(folder);
    const colt5_status status = write_root(ctx, file, root);
    json_decref(root);
    return status;
}
