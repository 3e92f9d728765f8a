/* SPDX-License-Identifier: MIT */
#include "runtime/binary_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <colt5/version.h>

#include "runtime/context.h"

#define LARGEST_BINARY ((size_t)256 << 20) /* bytes; anything larger is no program of ours */

static const char magic[8] = {'c', 'o', 'l', 't', '5', 'b', 'i', 'n'};

struct key {
    uint64_t high, low;
};

/* What a file begins with, in the byte order of the machine that wrote it. */
struct header {
    char magic[sizeof(magic)];
    uint64_t format; /* of this header: 1; another byte order reads another number */
    struct key key;
    uint64_t length, checksum; /* of the binary */
};

/* ---- key ---- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < count; i++) hash = (hash ^ byte[i]) * 0x100000001B3u; /* FNV-1a */
    return hash ^ (hash >> 29);
}

/* A text and its length: so that no two lists of texts read the same. */
static void mix_text(struct key *key, const char *text)
{
    const uint64_t length = strlen(text);
    key->high = mix(mix(key->high, text, length), &length, sizeof(length));
    key->low = mix(mix(key->low, &length, sizeof(length)), text, length);
}

static struct key key_of(const colt5_context *ctx, const char *source, const char *options)
{
    struct key key = {0xCBF29CE484222325u, 0x9E3779B97F4A7C15u};
    char platform[512] = "";
    cl_platform_id id = NULL;
    clGetDeviceInfo(ctx->device, CL_DEVICE_PLATFORM, sizeof(id), &id, NULL);
    clGetPlatformInfo(id, CL_PLATFORM_VERSION, sizeof(platform), platform, NULL);
    mix_text(&key, source);
    mix_text(&key, options);
    mix_text(&key, ctx->info.name);
    mix_text(&key, ctx->info.vendor);
    mix_text(&key, ctx->info.driver);
    mix_text(&key, ctx->info.opencl);
    mix_text(&key, ctx->info.platform_name);
    mix_text(&key, platform);
    mix_text(&key, COLT5_VERSION);
    return key;
}

/* ---- folder ---- */

/*
 * Whether a platform gains by it. Building a program of one kernel, milliseconds, in a process that
 * finds the driver's own cache warm, and from here:
 *
 *     NVIDIA 580, H200     2.3 to 7.4      0.2 to 3.4     (79 and 19 where its cache is off or
 * full) PoCL 3.1             20 to 24        1.3 to 2       but writing costs 50 to 110 a kernel
 * once: PoCL first compiles each once more rusticl 22.3         2.6 to 6.3      0.7 to 1.1     and
 * writing 2
 *
 * So it is left to PoCL's and Mesa's own caches. Oclgrind is given options the key cannot know.
 * Drivers that were not measured get it.
 */
static bool gains(const colt5_context *ctx)
{
    const char *platform = ctx->info.platform_name;
    return !strstr(platform, "Portable Computing Language") && !strstr(platform, "rusticl") &&
           !strstr(platform, "Clover") && !strstr(platform, "Oclgrind");
}

static bool is_on(const colt5_context *ctx)
{
    const char *setting = getenv("COLT5_CACHE");
    if (geteuid() != getuid() || (setting && !strcmp(setting, "off"))) return false;
    return (setting && !strcmp(setting, "on")) || gains(ctx);
}

static bool make_folder(const char *path)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* Ours alone to write; not a link to somewhere else. */
static bool is_private(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid() &&
           (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* The cache's folder, there and ours. */
static bool find_folder(char *path, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char parent[3000];
    if (cache && cache[0] == '/')
        snprintf(parent, sizeof(parent), "%s", cache);
    else if (home && home[0] == '/')
        snprintf(parent, sizeof(parent), "%s/.cache", home);
    else
        return false;
    const int length = snprintf(path, size, "%s/colt5", parent);
    return length > 0 && (size_t)length < size && make_folder(parent) && make_folder(path) &&
           is_private(path);
}

static bool find_file(const struct key *key, char *path, size_t size)
{
    char folder[3100];
    if (!find_folder(folder, sizeof(folder))) return false;
    const int length = snprintf(path, size, "%s/%016llx%016llx.bin", folder,
                                (unsigned long long)key->high, (unsigned long long)key->low);
    return length > 0 && (size_t)length < size;
}

/* ---- reading ---- */

static bool read_all(int file, void *into, size_t count)
{
    for (size_t done = 0; done < count;) {
        const ssize_t got = read(file, (char *)into + done, count - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

static bool header_fits(const struct header *header, const struct key *key, off_t file_size)
{
    return !memcmp(header->magic, magic, sizeof(magic)) && header->format == 1 &&
           header->key.high == key->high && header->key.low == key->low && header->length > 0 &&
           header->length <= LARGEST_BINARY &&
           header->length + sizeof(*header) == (uint64_t)file_size;
}

/* The binary of an open file, in host memory; NULL in any doubt. */
static unsigned char *read_binary(int file, const struct key *key, size_t *length)
{
    struct stat status;
    struct header header;
    if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
        !read_all(file, &header, sizeof(header)) || !header_fits(&header, key, status.st_size))
        return NULL;
    unsigned char *binary = host_allocate(header.length);
    *length = header.length;
    if (binary && read_all(file, binary, *length) && mix(0, binary, *length) == header.checksum)
        return binary;
    host_release(binary);
    return NULL;
}

static cl_program program_of(colt5_context *ctx, const unsigned char *binary, size_t length,
                             const char *options)
{
    cl_int error, taken = CL_INVALID_BINARY;
    cl_program program =
        clCreateProgramWithBinary(ctx->cl, 1, &ctx->device, &length, &binary, &taken, &error);
    if (!program) return NULL;
    size_t kernels = 0;
    if (error == CL_SUCCESS && taken == CL_SUCCESS &&
        clBuildProgram(program, 1, &ctx->device, options, NULL, NULL) == CL_SUCCESS &&
        clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof(kernels), &kernels, NULL) ==
            CL_SUCCESS &&
        kernels > 0)
        return program;
    clReleaseProgram(program);
    return NULL;
}

cl_program binary_cache_load(colt5_context *ctx, const char *source, const char *options)
{
    if (!is_on(ctx)) return NULL;
    const struct key key = key_of(ctx, source, options);
    char path[3200];
    if (!find_file(&key, path, sizeof(path))) return NULL;
    const int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0) return NULL;
    size_t length = 0;
    unsigned char *binary = read_binary(file, &key, &length);
    close(file);
    cl_program program = binary ? program_of(ctx, binary, length, options) : NULL;
    host_release(binary);
    return program;
}

/* ---- writing ---- */

static bool write_all(int file, const void *from, size_t count)
{
    for (size_t done = 0; done < count;) {
        const ssize_t put = write(file, (const char *)from + done, count - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        done += (size_t)put;
    }
    return true;
}

/* A file of header and binary, under its name only when it is whole. */
static void write_file(const char *path, const struct header *header, const void *binary)
{
    char aside[3300];
    snprintf(aside, sizeof(aside), "%s.XXXXXX", path);
    const int file = mkstemp(aside); /* mode 0600 */
    if (file < 0) return;
    const bool whole =
        write_all(file, header, sizeof(*header)) && write_all(file, binary, (size_t)header->length);
    if (close(file) != 0 || !whole || rename(aside, path) != 0) unlink(aside);
}

/* The place of the context's device among the program's (an application's context may have more
 * devices), of count; count when it has none. */
static cl_uint place_of(colt5_context *ctx, cl_program program, cl_uint *count)
{
    cl_device_id devices[64];
    *count = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, sizeof(*count), count, NULL) !=
            CL_SUCCESS ||
        *count > 64 ||
        clGetProgramInfo(program, CL_PROGRAM_DEVICES, *count * sizeof(devices[0]), devices, NULL) !=
            CL_SUCCESS)
        *count = 0;
    cl_uint place = 0;
    while (place < *count && devices[place] != ctx->device) place++;
    return place;
}

unsigned char *program_binary(colt5_context *ctx, cl_program program, size_t *length)
{
    size_t sizes[64] = {0};
    unsigned char *binaries[64] = {NULL}; /* NULL: not wanted */
    cl_uint count;
    const cl_uint place = place_of(ctx, program, &count);
    if (place == count || clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES,
                                           count * sizeof(sizes[0]), sizes, NULL) != CL_SUCCESS)
        return NULL;
    *length = sizes[place];
    if (*length == 0 || *length > LARGEST_BINARY) return NULL;
    unsigned char *binary = binaries[place] = host_allocate(*length);
    if (binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, count * sizeof(binaries[0]),
                                   binaries, NULL) == CL_SUCCESS)
        return binary;
    host_release(binary);
    return NULL;
}

void binary_cache_store(colt5_context *ctx, const char *source, const char *options,
                        cl_program program)
{
    if (!is_on(ctx)) return;
    struct header header = {.format = 1, .key = key_of(ctx, source, options)};
    memcpy(header.magic, magic, sizeof(magic));
    char path[3200];
    size_t length = 0;
    unsigned char *binary =
        find_file(&header.key, path, sizeof(path)) ? program_binary(ctx, program, &length) : NULL;
    if (!binary) return;
    header.length = length;
    header.checksum = mix(0, binary, length);
    write_file(path, &header, binary);
    host_release(binary);
}
