/* SPDX-License-Identifier: MIT */
/* Functions of OpenCL C that kernels call, by the names that clang gives them. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

float _Z4exp2f(float x)
{
    return exp2f(x);
}

float _Z4log2f(float x)
{
    return log2f(x);
}

float _Z4sqrtf(float x)
{
    return sqrtf(x);
}

float _Z3fmafff(float a, float b, float c)
{
    return fmaf(a, b, c);
}

float _Z4fabsf(float x)
{
    return fabsf(x);
}

float _Z4fmaxff(float a, float b)
{
    return fmaxf(a, b);
}

float _Z10vload_halfmPU8CLglobalKDh(size_t i, const _Float16 *p)
{
    return (float)p[i];
}

void _Z15vstore_half_rtefmPU8CLglobalDh(float x, size_t i, _Float16 *p)
{
    p[i] = (_Float16)x;
}

int _Z8isfinitef(float x)
{
    return isfinite(x);
}

int _Z5isnanf(float x)
{
    return isnan(x);
}

int _Z3maxii(int a, int b)
{
    return a > b ? a : b;
}

unsigned _Z3minjj(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned _Z3maxjj(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

typedef float float4 __attribute__((vector_size(16)));

float4 _Z4fabsDv4_f(float4 x)
{
    for (int i = 0; i < 4; i++) x[i] = fabsf(x[i]);
    return x;
}

float4 _Z3expDv4_f(float4 x)
{
    for (int i = 0; i < 4; i++) x[i] = expf(x[i]);
    return x;
}

float4 _Z3fmaDv4_fS_S_(float4 a, float4 b, float4 c)
{
    for (int i = 0; i < 4; i++) c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}

float4 _Z11vload_half4mPU9CLprivateKDh(size_t i, const _Float16 *p)
{
    p += 4 * i;
    return (float4){(float)p[0], (float)p[1], (float)p[2], (float)p[3]};
}

void _Z16vstore_half4_rteDv4_fmPU9CLprivateDh(float4 x, size_t i, _Float16 *p)
{
    for (int n = 0; n < 4; n++) p[4 * i + (size_t)n] = (_Float16)x[n];
}

typedef uint32_t uint4 __attribute__((vector_size(16)));

uint4 _Z3maxDv4_jS_(uint4 a, uint4 b)
{
    for (int i = 0; i < 4; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

void _Z7vstore4Dv4_jmPU7CLlocalj(uint4 x, size_t i, uint32_t *p)
{
    memcpy(p + 4 * i, &x, sizeof(x));
}

static uint32_t set_max(volatile uint32_t *p, uint32_t x)
{
    const uint32_t before = *p;
    *p = before > x ? before : x;
    return before;
}

uint32_t _Z10atomic_maxPU7CLlocalVjj(volatile uint32_t *p, uint32_t x)
{
    return set_max(p, x);
}

uint32_t _Z10atomic_maxPU8CLglobalVjj(volatile uint32_t *p, uint32_t x)
{
    return set_max(p, x);
}

int _Z10atomic_incPU8CLglobalVi(volatile int *p)
{
    return (*p)++;
}

int _Z3minii(int a, int b)
{
    return a < b ? a : b;
}
