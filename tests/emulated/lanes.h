/* SPDX-License-Identifier: MIT */
/*
 * A work-group of an OpenCL kernel that was built for this CPU, on one thread: every work-item is a
 * coroutine, and goes on until it has to wait for the others. NVIDIA's instructions that all lanes
 * of a warp carry out together are emulated, with every element in the lane and register where the
 * PTX ISA has it.
 */
#ifndef TESTS_EMULATED_LANES_H
#define TESTS_EMULATED_LANES_H

#include <stddef.h>
#include <stdint.h>

#define LANES 32
#define ITEMS 384 /* at most */
#define WARPS (ITEMS / LANES)
#define GIVES 80 /* words of a lane, at most */
#define TAKES 64

/* Calls kernel(arguments) for every work-item of groups[0] × groups[1] × groups[2] work-groups, one
 * after the other. Work-items that wait for others which never come end the program. */
void run_groups(void (*kernel)(const void *arguments), const void *arguments, size_t items,
                const size_t groups[3]);

/* For instructions. */
_Noreturn void lanes_fail(const char *why);
size_t lanes_item(void);
void lanes_yield(void);    /* lets the others go on */
void lanes_progress(void); /* what others may have waited for has happened */

/* What a warp does together: from what its lanes give to what they take. */
typedef void together(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES]);
uint32_t *with_warp(together *what, const void *words, size_t count);

uint32_t bits_of(float x);
float float_of(uint32_t bits);

/* nvidia.c, hopper.c: nothing is left of the work-group before. */
void nvidia_begin_group(void);
void hopper_begin_group(void);

/* nvidia.c */
float float_of_f16(uint32_t bits); /* the low half */
float cut_off(double sum);         /* as units round their sums */

#endif
