/* SPDX-License-Identifier: MIT */
#include "lanes.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK (1 << 18)

/* ---- work-items ---- */

static struct item {
    jmp_buf state;
    bool begun, ended;
    char stack[STACK];
} items[ITEMS];
static jmp_buf scheduler;
static size_t item_count, current, group[3], group_counts[3];
static size_t idle; /* turns since something happened */
static void (*kernel_called)(const void *);
static const void *kernel_arguments;

void lanes_fail(const char *why)
{
    fprintf(stderr, "lanes: %s (work-item %zu)\n", why, current);
    exit(1);
}

static void begin_item(void)
{
    kernel_called(kernel_arguments);
    items[current].ended = true;
    idle = 0;
    _longjmp(scheduler, 1);
}

static void start(struct item *item)
{
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = item->stack;
    context.uc_stack.ss_size = STACK;
    context.uc_link = NULL;
    makecontext(&context, begin_item, 0);
    item->begun = true;
    setcontext(&context);
}

size_t lanes_item(void)
{
    return current;
}

void lanes_progress(void)
{
    idle = 0;
}

void lanes_yield(void)
{
    if (idle++ > 4 * item_count) lanes_fail("waits for others that never come");
    if (!_setjmp(items[current].state)) _longjmp(scheduler, 1);
}

static void run_group(void)
{
    static volatile size_t next, left; /* a jump comes back to them */
    nvidia_begin_group();
    hopper_begin_group();
    for (size_t i = 0; i < item_count; i++) items[i].begun = items[i].ended = false;
    for (next = 0, left = 1;; next = (next + 1) % item_count) {
        if (next == 0 && left == 0) return;
        if (next == 0) left = 0;
        if (items[next].ended) continue;
        left++;
        current = next;
        if (_setjmp(scheduler)) continue;
        if (items[current].begun) _longjmp(items[current].state, 1);
        start(&items[current]);
    }
}

void run_groups(void (*kernel)(const void *arguments), const void *arguments, size_t count,
                const size_t groups[3])
{
    kernel_called = kernel;
    kernel_arguments = arguments;
    item_count = count;
    memcpy(group_counts, groups, sizeof(group_counts));
    for (size_t i = 0; i < groups[0] * groups[1] * groups[2]; i++) {
        group[0] = i % groups[0];
        group[1] = i / groups[0] % groups[1];
        group[2] = i / groups[0] / groups[1];
        idle = 0;
        run_group();
    }
}

/* ---- what they do together ---- */

static struct meeting {
    size_t arrived, rounds;
    together *what;
    uint32_t in[LANES][GIVES], out[LANES][TAKES];
} warps[WARPS], whole_group;

/* Comes back when all have come here. The last does it for all. */
static void meet(struct meeting *m, size_t count, together *what)
{
    if (m->arrived && m->what != what) lanes_fail("lanes of a warp do different things together");
    m->what = what;
    const size_t round = m->rounds;
    if (++m->arrived < count) {
        while (m->rounds == round) lanes_yield();
        return;
    }
    if (what) what(m->in, m->out);
    m->arrived = 0;
    m->rounds++;
    idle = 0;
}

uint32_t *with_warp(together *what, const void *words, size_t count)
{
    struct meeting *m = &warps[current / LANES];
    memcpy(m->in[current % LANES], words, count * sizeof(uint32_t));
    meet(m, LANES, what);
    return m->out[current % LANES];
}

uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* ---- what a kernel asks of itself ---- */

size_t _Z12get_local_idj(unsigned dimension)
{
    return dimension ? 0 : current;
}

size_t _Z12get_group_idj(unsigned dimension)
{
    return group[dimension];
}

size_t _Z13get_global_idj(unsigned dimension)
{
    return dimension ? group[dimension] : group[0] * item_count + current;
}

size_t _Z15get_global_sizej(unsigned dimension)
{
    return dimension ? group_counts[dimension] : group_counts[0] * item_count;
}

size_t _Z14get_num_groupsj(unsigned dimension)
{
    return group_counts[dimension];
}

void _Z7barrierj(unsigned flags)
{
    (void)flags;
    meet(&whole_group, item_count, NULL);
}
