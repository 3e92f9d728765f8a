/* SPDX-License-Identifier: MIT */
#include "layers/pass.h"

#include <colt5/ops/linear.h>
#include <colt5/ops/mask_rows.h>

#include "runtime/launch.h"
#include "runtime/memory.h"

bool next_chunk(size_t B, size_t N, size_t limit, struct chunk *chunk)
{
    if (chunk->samples) { /* past the piece before */
        chunk->n += chunk->tokens;
        if (chunk->n == N) {
            chunk->n = 0;
            chunk->b += chunk->samples;
        }
    }
    if (N == 0 || chunk->b == B) return false;
    if (N <= limit) {
        const size_t samples = limit / N, left = B - chunk->b;
        chunk->samples = samples < left ? samples : left;
        chunk->tokens = N;
    } else {
        const size_t left = N - chunk->n;
        chunk->samples = 1;
        chunk->tokens = limit < left ? limit : left;
    }
    return true;
}

size_t chunk_rows(const struct pass *pass, size_t width)
{
    if (device_is_cpu(pass->ctx)) return pass->chunk;
    const size_t rows = 4 * pass->layer->config.dim * pass->chunk / width;
    return rows > 0 ? rows : 1;
}

colt5_tensor chunk_of(const colt5_tensor *tensor, struct chunk chunk)
{
    colt5_tensor part = *tensor;
    const size_t row = dims_product(tensor->dims + 2, tensor->rank - 2);
    part.offset += (chunk.b * tensor->dims[1] + chunk.n) * row;
    part.dims[0] = chunk.samples;
    part.dims[1] = chunk.tokens;
    return part;
}

colt5_tensor reshaped(const colt5_tensor *tensor, int rank, const size_t *dims)
{
    return colt5_tensor_wrap(tensor->buffer, tensor->offset, tensor->type, rank, dims);
}

colt5_tensor rows_of(const colt5_tensor *tensor, size_t columns)
{
    return RESHAPED(tensor, colt5_tensor_count(tensor) / columns, columns);
}

colt5_tensor slice(const colt5_tensor *tensor, size_t first, size_t count)
{
    colt5_tensor part = *tensor;
    part.offset += first * dims_product(tensor->dims + 1, tensor->rank - 1);
    part.dims[0] = count;
    return part;
}

colt5_status linear_backward_in_place(struct pass *pass, const colt5_tensor *x,
                                      const colt5_tensor *weight, const colt5_tensor *dy,
                                      const colt5_tensor *dweight, const colt5_tensor *dbias)
{
    const colt5_linear_gradients of_weight = {.dweight = dweight, .dbias = dbias};
    const colt5_linear_gradients of_x = {.dx = x};
    const colt5_status status =
        dweight ? colt5_linear_backward(pass->ctx, x, weight, NULL, dy, &of_weight) : COLT5_OK;
    return status == COLT5_OK ? colt5_linear_backward(pass->ctx, NULL, weight, NULL, dy, &of_x)
                              : status;
}

colt5_status begin_gradient(struct pass *pass, const colt5_tensor *base, const colt5_tensor *dx)
{
    if (!base) return clear_tensor(pass->ctx, dx);
    return base == dx ? COLT5_OK : copy_tensor(pass->ctx, base, dx);
}

colt5_status unmasked_rows(struct pass *pass, const colt5_tensor *x, const colt5_tensor *y)
{
    return pass->mask ? colt5_mask_rows(pass->ctx, x, pass->mask, y) : copy_tensor(pass->ctx, x, y);
}
