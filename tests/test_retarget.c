/* SPDX-License-Identifier: MIT */
/* PTX as the library edits it for another target: needs no such device. */
#include "support/testing.h"

#include <stdio.h>

#include "runtime/retarget.h"

#define HEAD  ".version 8.3\n.target sm_90\n.address_size 64\n"
#define ARENA ".shared .align 1024 .b8 gemm_$_arena[32768];\n"
#define ENTRY ".entry gemm(\n.param .u64 a\n)\n.reqntid 384, 1, 1\n{\n"
#define WISH  "// retarget 230144 bytes, 168 registers\n"
#define END   "ret;\n}\n"

/* A copy of a text and of the room behind it, and no byte more; the caller frees it. */
static char *copy_of(const char *text, size_t length)
{
    char *copy = calloc(length + RETARGET_ROOM, 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, length);
    return copy;
}

static void assert_edited(const char *text, const char *want)
{
    char *ptx = copy_of(text, strlen(text));
    ck_assert_msg(retarget_edit(ptx), "refused: %s", text);
    ck_assert_str_eq(ptx, want);
    free(ptx);
}

START_TEST(a_kernel_gets_its_target_memory_and_registers)
{
    assert_edited(HEAD ARENA ENTRY WISH END,
                  ".version 8.3\n.target sm_90a\n.address_size 64\n"
                  ".shared .align 1024 .b8 gemm_$_arena[230144];\n"
                  ".entry gemm(\n.param .u64 a\n)\n.reqntid 384, 1, 1\n.maxnreg 168\n{\n" WISH END);
}
END_TEST

START_TEST(nothing_else_is_changed)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        /* What asks for nothing, has its target, or has one with options. */
        {".target sm_90\n", ".target sm_90a\n"},
        {".target sm_90a\n" ENTRY END, ".target sm_90a\n" ENTRY END},
        {".target sm_90, debug\n" ENTRY END, ".target sm_90a, debug\n" ENTRY END},
        /* The array within the kernel; a wish that comes twice; a kernel without limits. */
        {HEAD ENTRY ARENA WISH WISH END,
         ".version 8.3\n.target sm_90a\n.address_size 64\n"
         ".entry gemm(\n.param .u64 a\n)\n.reqntid 384, 1, 1\n.maxnreg 168\n{\n"
         ".shared .align 1024 .b8 gemm_$_arena[230144];\n" WISH WISH END},
        {".target sm_90\n.entry other()\n{\n" END ARENA ENTRY WISH END,
         ".target sm_90a\n.entry other()\n{\n" END ".shared .align 1024 .b8 gemm_$_arena[230144];\n"
         ".entry gemm(\n.param .u64 a\n)\n.reqntid 384, 1, 1\n.maxnreg 168\n{\n" WISH END},
        /* Lines that end as elsewhere, and one that does not. */
        {".target sm_90\r\n.shared .align 1024 .b8 arena[1];\r\n.reqntid 384\r\n"
         "// retarget 2 bytes, 3 registers\r\n",
         ".target sm_90a\r\n.shared .align 1024 .b8 arena[2];\r\n.reqntid 384\r\n.maxnreg 3\n"
         "// retarget 2 bytes, 3 registers\r\n"},
        {".target sm_90 .shared .align 1024 .b8 arena[] // retarget 999999999 bytes, 999999999 "
         "registers .reqntid 1",
         ".target sm_90a .shared .align 1024 .b8 arena[999999999] // retarget 999999999 bytes, "
         "999999999 registers .reqntid 1\n.maxnreg 999999999"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_edited(cases[i].text, cases[i].want);
}
END_TEST

static const char *const refused[] = {
    "",
    "\x7F"
    "ELF",
    ".target sm_80\n" ARENA ENTRY WISH END,
    ".target sm_900\n",
    /* Markers that are missing, */
    HEAD ENTRY WISH END,
    HEAD ARENA ".entry gemm()\n{\n" WISH END,
    HEAD ".shared .align 1024 .b8 arena;\n.b8 other[3];\n" ENTRY WISH END,
    HEAD ".shared .align 1024 .b8 arena[32768\n;]" ENTRY WISH END,
    /* wishes that are none, */
    HEAD ARENA ENTRY "// retarget \n" END,
    HEAD ARENA ENTRY "// retarget 230144 bytes\n" END,
    HEAD ARENA ENTRY "// retarget many bytes, 168 registers\n" END,
    HEAD ARENA ENTRY "// retarget 99999999999999999999 bytes, 168 registers\n" END,
    /* and kernels of which any may be meant. */
    HEAD ARENA ENTRY WISH END ENTRY END,
    HEAD ARENA ENTRY WISH END ARENA END,
};
#define REFUSED ((int)(sizeof(refused) / sizeof(refused[0])))

START_TEST(what_cannot_be_edited_is_refused)
{
    char *ptx = copy_of(refused[_i], strlen(refused[_i]));
    ck_assert(!retarget_edit(ptx));
    free(ptx);
}
END_TEST

/* Wherever a text breaks off it is edited as far as it goes, or refused. */
START_TEST(half_a_text_does_no_harm)
{
    static const char whole[] = HEAD ARENA ENTRY WISH END;
    for (size_t length = 0; length < sizeof(whole); length++) {
        char *ptx = copy_of(whole, length);
        const bool edited = retarget_edit(ptx);
        ck_assert_uint_lt(strlen(ptx), length + RETARGET_ROOM);
        if (edited) ck_assert_ptr_nonnull(strstr(ptx, ".target sm_90a"));
        free(ptx);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("retarget");
    TCase *tests = tcase_create("PTX");
    tcase_add_test(tests, a_kernel_gets_its_target_memory_and_registers);
    tcase_add_test(tests, nothing_else_is_changed);
    tcase_add_loop_test(tests, what_cannot_be_edited_is_refused, 0, REFUSED);
    tcase_add_test(tests, half_a_text_does_no_harm);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
