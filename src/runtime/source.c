/* SPDX-License-Identifier: MIT */
#include "runtime/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <stdbool.h>

#include "runtime/memory.h"

struct text {
    char *bytes;
    size_t used, capacity;
};

static bool append(struct text *text, const char *bytes, size_t count)
{
    if (text->used + count + 1 > text->capacity) {
        const size_t capacity = 2 * (text->used + count + 1);
        char *grown = host_reallocate(text->bytes, capacity);
        if (!grown) return false;
        text->bytes = grown;
        text->capacity = capacity;
    }
    memcpy(text->bytes + text->used, bytes, count);
    text->used += count;
    text->bytes[text->used] = '\0';
    return true;
}

static colt5_status append_embedded(colt5_context *ctx, const struct kernel_source *source,
                                    struct text *text)
{
    for (const char *const *line = source->lines; *line; line++)
        REQUIRE(ctx, append(text, *line, strlen(*line)), COLT5_ERROR_MEMORY,
                "%s.cl: no host memory", source->name);
    return COLT5_OK;
}

static colt5_status append_stream(colt5_context *ctx, FILE *file, const char *path,
                                  struct text *text)
{
    char block[4096];
    size_t count;
    while ((count = fread(block, 1, sizeof(block), file)) > 0)
        REQUIRE(ctx, append(text, block, count), COLT5_ERROR_MEMORY, "%s: no host memory", path);
    REQUIRE(ctx, !ferror(file), COLT5_ERROR_FILE, "%s: cannot be read", path);
    return COLT5_OK;
}

static colt5_status append_file(colt5_context *ctx, const char *folder, const char *name,
                                struct text *text)
{
    char path[4096], line[256];
    snprintf(path, sizeof(path), "%s/%s.cl", folder, name);
    snprintf(line, sizeof(line), "#line 1 \"%s.cl\"\n", name);
    FILE *file = fopen(path, "rb");
    REQUIRE(ctx, file, COLT5_ERROR_FILE, "%s: cannot be opened (COLT5_KERNEL_DIR)", path);
    colt5_status status = append(text, line, strlen(line))
                              ? append_stream(ctx, file, path, text)
                              : fail(ctx, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    fclose(file);
    return status;
}

static colt5_status append_source(colt5_context *ctx, enum kernel_file file, struct text *text)
{
    const struct kernel_source *source = &kernel_sources[file];
    const char *folder = getenv("COLT5_KERNEL_DIR");
    return folder && *folder ? append_file(ctx, folder, source->name, text)
                             : append_embedded(ctx, source, text);
}

/* What files begin with besides common. */
static const struct {
    enum kernel_file file, prelude;
} preludes[] = {
#define PRELUDE(file, prelude) {KERNEL_FILE_##file, KERNEL_FILE_##prelude},
    KERNEL_PRELUDE_LIST(PRELUDE)
#undef PRELUDE
};

/* A file behind all it begins with, each of them once. */
static colt5_status append_whole(colt5_context *ctx, enum kernel_file file,
                                 bool done[KERNEL_FILE_COUNT], struct text *text)
{
    colt5_status status = COLT5_OK;
    if (done[file]) return status;
    done[file] = true;
    if (file != KERNEL_FILE_common) status = append_whole(ctx, KERNEL_FILE_common, done, text);
    for (size_t i = 0; i < sizeof(preludes) / sizeof(preludes[0]); i++)
        if (status == COLT5_OK && preludes[i].file == file)
            status = append_whole(ctx, preludes[i].prelude, done, text);
    return status == COLT5_OK ? append_source(ctx, file, text) : status;
}

colt5_status source_text(colt5_context *ctx, enum kernel_file file, char **text)
{
    struct text whole = {NULL, 0, 0};
    bool done[KERNEL_FILE_COUNT] = {false};
    const colt5_status status = append_whole(ctx, file, done, &whole);
    if (status == COLT5_OK) {
        *text = whole.bytes;
        return COLT5_OK;
    }
    host_release(whole.bytes);
    *text = NULL;
    return status;
}
