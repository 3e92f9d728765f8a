/* SPDX-License-Identifier: MIT */
#include "runtime/retarget.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/binary_cache.h"
#include "runtime/context.h"

/* What kernels/hopper.cl writes, into the source and, by an instruction's text, into the PTX. */
static const char needed[] = "#define RETARGET(", mark[] = "// retarget ";

bool retarget_can(const colt5_context *ctx)
{
    const char *setting = getenv("COLT5_RETARGET");
    return !strcmp(ctx->info.matrix_units, "wgmma") && !(setting && !strcmp(setting, "0"));
}

bool retarget_is_for(const char *text)
{
    return strstr(text, needed) != NULL;
}

/* Puts words in the place of `length` bytes of a text; the buffer is large enough. */
static void replace(char *at, size_t length, const char *words)
{
    const size_t count = strlen(words);
    memmove(at + count, at + length, strlen(at + length) + 1);
    memcpy(at, words, count);
}

/* The one place of some words; NULL where there is none, or another one. */
static char *only(char *text, const char *words)
{
    char *at = strstr(text, words);
    return at && !strstr(at + 1, words) ? at : NULL;
}

/* The end of the line that `at` is in. */
static char *line_end(char *at)
{
    return at + strcspn(at, "\n");
}

static bool set_target(char *ptx)
{
    static const char target[] = ".target sm_90";
    char *at = strstr(ptx, target);
    if (!at) return false;
    at += sizeof(target) - 1;
    if (*at != 'a') replace(at, 0, "a");
    return !isdigit((unsigned char)at[1]);
}

/* `.shared .align 1024 .b8 kernel_$_arena[32768];` gets its true size. */
static bool set_local_memory(char *ptx, unsigned bytes)
{
    char words[32];
    char *at = only(ptx, ".shared .align 1024 .b8 ");
    char *open = at ? strchr(at, '[') : NULL;
    char *close = open ? strchr(open, ']') : NULL;
    if (!close || close > line_end(at)) return false;
    snprintf(words, sizeof(words), "[%u]", bytes);
    replace(open, (size_t)(close + 1 - open), words);
    return true;
}

/* `.reqntid 288, 1, 1` is followed by the limit. */
static bool set_registers(char *ptx, unsigned registers)
{
    char words[32];
    char *at = only(ptx, ".reqntid ");
    if (!at) return false;
    snprintf(words, sizeof(words), "\n.maxnreg %u", registers);
    replace(line_end(at), 0, words);
    return true;
}

bool retarget_edit(char *ptx)
{
    unsigned bytes, registers;
    if (!set_target(ptx)) return false;
    const char *wish = strstr(ptx, mark);
    if (!wish) return true;
    if (sscanf(wish + sizeof(mark) - 1, "%9u bytes, %9u registers", &bytes, &registers) != 2)
        return false;
    return set_local_memory(ptx, bytes) && set_registers(ptx, registers);
}

/* The edited PTX of a program, a text in host memory; NULL where there is none. */
static char *edited_ptx(colt5_context *ctx, cl_program source)
{
    size_t length = 0;
    unsigned char *binary = program_binary(ctx, source, &length);
    char *ptx = binary ? host_allocate(length + RETARGET_ROOM) : NULL;
    if (ptx) {
        memcpy(ptx, binary, length);
        ptx[length] = '\0';
    }
    host_release(binary);
    if (ptx && retarget_edit(ptx)) return ptx;
    host_release(ptx);
    return NULL;
}

cl_program retarget(colt5_context *ctx, cl_program source, const char *options, cl_int *error)
{
    char *ptx = edited_ptx(ctx, source);
    *error = CL_BUILD_PROGRAM_FAILURE;
    if (!ptx) return NULL;
    const size_t length = strlen(ptx) + 1;
    const unsigned char *binary = (const unsigned char *)ptx;
    cl_program program =
        clCreateProgramWithBinary(ctx->cl, 1, &ctx->device, &length, &binary, NULL, error);
    if (program) *error = clBuildProgram(program, 1, &ctx->device, options, NULL, NULL);
    host_release(ptx);
    return program;
}
