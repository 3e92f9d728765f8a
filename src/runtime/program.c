/* SPDX-License-Identifier: MIT */
#include "runtime/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/binary_cache.h"
#include "runtime/context.h"
#include "runtime/retarget.h"
#include "runtime/source.h"

static const struct {
    enum kernel_file file;
    const char *function;
} kernels[KERNEL_COUNT] = {
#define ENTRY(constant, file, function) [KERNEL_##constant] = {KERNEL_FILE_##file, #function},
    KERNEL_LIST(ENTRY)
#undef ENTRY
};

const char *kernel_name(enum kernel id)
{
    return kernels[id].function;
}

/* False when they do not fit. */
static bool write_options(const struct define *defines, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "-cl-std=CL1.2");
    for (; defines->name && used < size; defines++)
        used +=
            (size_t)snprintf(text + used, size - used, " -D %s=%ld", defines->name, defines->value);
    return used < size;
}

/* Room for one more entry of size bytes at the end of a growing array. */
static bool grow(void **array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return true;
    const size_t more = *capacity ? 2 * *capacity : 32;
    void *grown = host_reallocate(*array, more * size);
    if (!grown) return false;
    *array = grown;
    *capacity = more;
    return true;
}

/* The first line has the cause, as far as the compiler's log begins with it. */
static colt5_status fail_build(colt5_context *ctx, cl_program program, const char *name,
                               const char *options, const char *step)
{
    size_t size = 0;
    clGetProgramBuildInfo(program, ctx->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    char *log = host_allocate_zeroed(size + 1, 1);
    if (log) clGetProgramBuildInfo(program, ctx->device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
    const colt5_status status = fail(ctx, COLT5_ERROR_BUILD, "%s.cl: %s: %.700s\n(%s)", name, step,
                                     log ? log + strspn(log, " \r\n") : "", options);
    host_release(log);
    return status;
}

/* Builds *program, which a retargeted one may replace. *step is what failed, if something did. */
static cl_int build(colt5_context *ctx, const char *options, const char *text, cl_program *program,
                    const char **step)
{
    cl_int error = clBuildProgram(*program, 1, &ctx->device, options, NULL, NULL);
    *step = "clBuildProgram";
    if (!retarget_is_for(text)) return error;
    cl_program other = retarget(ctx, *program, options, &error);
    *step = other ? "the retargeted PTX" : "no PTX to retarget";
    if (!other) return error;
    clReleaseProgram(*program);
    *program = other;
    return error;
}

static colt5_status build_source(colt5_context *ctx, enum kernel_file file, const char *options,
                                 const char *text, cl_program *program)
{
    const char *name = kernel_sources[file].name, *step;
    cl_int error;
    *program = binary_cache_load(ctx, text, options);
    if (*program) return COLT5_OK;
    *program = clCreateProgramWithSource(ctx->cl, 1, &text, NULL, &error);
    if (!*program) return fail_cl(ctx, name, "clCreateProgramWithSource", error);
    say_progress(ctx, name, ctx->programs.program_count, 0);
    error = build(ctx, options, text, program, &step);
    if (error == CL_SUCCESS) {
        binary_cache_store(ctx, text, options, *program);
        return COLT5_OK;
    }
    const colt5_status status = error == CL_BUILD_PROGRAM_FAILURE
                                    ? fail_build(ctx, *program, name, options, step)
                                    : fail_cl(ctx, name, step, error);
    clReleaseProgram(*program);
    *program = NULL;
    return status;
}

/* COLT5_BUILD_LOG names a file that gets a line "file options" for every variant asked for. */
static void log_variant(enum kernel_file file, const char *options)
{
    const char *path = getenv("COLT5_BUILD_LOG");
    FILE *log = path && *path ? fopen(path, "a") : NULL;
    if (!log) return;
    fprintf(log, "%s %s\n", kernel_sources[file].name, options);
    fclose(log);
}

static colt5_status build_program(colt5_context *ctx, enum kernel_file file, const char *options,
                                  cl_program *program)
{
    char *text;
    colt5_status status = source_text(ctx, file, &text);
    if (status != COLT5_OK) return status;
    log_variant(file, options);
    status = build_source(ctx, file, options, text, program);
    host_release(text);
    return status;
}

static colt5_status find_program(colt5_context *ctx, enum kernel_file file, const char *options,
                                 cl_program *program)
{
    struct program_cache *cache = &ctx->programs;
    for (size_t i = 0; i < cache->program_count; i++)
        if (cache->programs[i].file == file && !strcmp(cache->programs[i].options, options)) {
            *program = cache->programs[i].program;
            return COLT5_OK;
        }
    char *copy = host_copy_text(options);
    if (!copy || !grow((void **)&cache->programs, cache->program_count, &cache->program_capacity,
                       sizeof(*cache->programs))) {
        host_release(copy);
        return fail(ctx, COLT5_ERROR_MEMORY, "program: no host memory");
    }
    const colt5_status status = build_program(ctx, file, options, program);
    if (status != COLT5_OK) {
        host_release(copy);
        return status;
    }
    cache->programs[cache->program_count++] = (struct built_program){file, copy, *program};
    return COLT5_OK;
}

static colt5_status make_kernel(colt5_context *ctx, enum kernel id, const char *options,
                                struct built_kernel *built)
{
    cl_program program = NULL;
    const colt5_status status = find_program(ctx, kernels[id].file, options, &program);
    if (status != COLT5_OK) return status;
    cl_int error;
    built->id = id;
    built->kernel = clCreateKernel(program, kernels[id].function, &error);
    if (!built->kernel) return fail_cl(ctx, kernels[id].function, "clCreateKernel", error);
    error = clGetKernelWorkGroupInfo(built->kernel, ctx->device, CL_KERNEL_WORK_GROUP_SIZE,
                                     sizeof(built->largest_group), &built->largest_group, NULL);
    if (error != CL_SUCCESS) built->largest_group = 1;
    built->options = host_copy_text(options);
    if (built->options) return COLT5_OK;
    clReleaseKernel(built->kernel);
    return fail(ctx, COLT5_ERROR_MEMORY, "program: no host memory");
}

colt5_status program_kernel(colt5_context *ctx, enum kernel id, const struct define *defines,
                            struct built_kernel **kernel)
{
    struct program_cache *cache = &ctx->programs;
    char options[512];
    REQUIRE(ctx, write_options(defines, options, sizeof(options)), COLT5_ERROR_INTERNAL,
            "%s: its defines are too long", kernel_name(id));
    for (size_t i = 0; i < cache->kernel_count; i++)
        if (cache->kernels[i].id == id && !strcmp(cache->kernels[i].options, options)) {
            *kernel = &cache->kernels[i];
            return COLT5_OK;
        }
    if (!grow((void **)&cache->kernels, cache->kernel_count, &cache->kernel_capacity,
              sizeof(*cache->kernels)))
        return fail(ctx, COLT5_ERROR_MEMORY, "program: no host memory");
    struct built_kernel built;
    const colt5_status status = make_kernel(ctx, id, options, &built);
    if (status != COLT5_OK) return status;
    cache->kernels[cache->kernel_count] = built;
    *kernel = &cache->kernels[cache->kernel_count++];
    return COLT5_OK;
}

void program_cache_release(colt5_context *ctx)
{
    struct program_cache *cache = &ctx->programs;
    for (size_t i = 0; i < cache->kernel_count; i++) {
        clReleaseKernel(cache->kernels[i].kernel);
        host_release(cache->kernels[i].options);
    }
    for (size_t i = 0; i < cache->program_count; i++) {
        clReleaseProgram(cache->programs[i].program);
        host_release(cache->programs[i].options);
    }
    host_release(cache->kernels);
    host_release(cache->programs);
    *cache = (struct program_cache){0};
}
