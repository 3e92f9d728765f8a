/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

void reference_mask_rows(const double *x, const unsigned char *mask, double *y, size_t rows,
                         size_t D)
{
    for (size_t i = 0; i < rows * D; i++) y[i] = mask[i / D] ? x[i] : 0;
}
