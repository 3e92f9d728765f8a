/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "support/files.h"

#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/memory.h"

static char folder[PATH_MAX / 2];

void make_folder(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/colt5-test-XXXXXX", parent && *parent ? parent : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

const char *in_folder(const char *name)
{
    static char paths[4][PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

size_t files_in_folder(void)
{
    size_t count = 0;
    DIR *stream = opendir(folder);
    ck_assert_ptr_nonnull(stream);
    for (const struct dirent *entry; (entry = readdir(stream));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(stream);
    return count;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status, (void)kind, (void)place;
    return remove(path);
}

void remove_folder(void)
{
    ck_assert_int_eq(chmod(folder, 0700), 0);
    ck_assert_int_eq(nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
    if (!ctx)
        ck_assert_msg(host_live_blocks() == 0, "%zu host blocks are alive", host_live_blocks());
}

const char *put_file(const char *name, const void *bytes, size_t count)
{
    const char *path = in_folder(name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

char *get_file(const char *name, size_t *count)
{
    FILE *file = fopen(in_folder(name), "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *count = (size_t)ftell(file);
    rewind(file);
    char *bytes = calloc(1, *count + 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *count, file), *count);
    fclose(file);
    return bytes;
}

void limit_file_size(size_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == SIZE_MAX ? limit.rlim_max : (rlim_t)bytes;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static size_t allocations_left;

static void *allocate(void *user, size_t bytes)
{
    (void)user;
    return allocations_left > 0 && allocations_left-- ? malloc(bytes) : NULL;
}

static void *reallocate(void *user, void *memory, size_t bytes)
{
    (void)user;
    return allocations_left > 0 && allocations_left-- ? realloc(memory, bytes) : NULL;
}

static void release_memory(void *user, void *memory)
{
    (void)user;
    free(memory);
}

void fail_allocations_from(size_t n)
{
    allocations_left = n;
    ck_assert_ok(
        colt5_set_allocator(&(colt5_allocator){allocate, reallocate, release_memory, NULL}));
}
