// SPDX-License-Identifier: MIT
// Slabs of the operands of mma_gemm as they lie in local memory.
//
// A slab whose k is contiguous is kept as TILE rows of DEPTH, another one as DEPTH lines of TILE. It
// is moved in chunks of 8 elements, 16 bytes. Eight rows (lines) that a warp reads at once lie in
// different banks: the chunks of a row are permuted by its number.
//
// Define: TILE.

#ifndef TILE
    #define TILE 128 // rows and columns of C in a work-group
#endif

#define DEPTH 32 // k in a slab
#define SLAB  (TILE * DEPTH)

// Where chunk `chunk` of a row, or of a line, lies in its slab.
inlined uint place_in_rows(uint row, uint chunk)
{
    return row * DEPTH + (chunk ^ (row / 2 % 4)) * 8;
}

inlined uint place_in_lines(uint line, uint chunk)
{
    return line * TILE + (chunk ^ (line % 8)) * 8;
}
