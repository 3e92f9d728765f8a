/* SPDX-License-Identifier: MIT */
/* Every kernel: X(constant, file in kernels/ without .cl, kernel function). One line adds one. */
#ifndef COLT5_RUNTIME_KERNELS_H
#define COLT5_RUNTIME_KERNELS_H

#include <stddef.h>

/* clang-format off */
/* common is the first: files begin with it, unless the list below names another. */
#define KERNEL_FILE_LIST(X) \
    X(common) \
    X(activation) \
    X(adamw) \
    X(amd_cdna) \
    X(amd_rdna) \
    X(attention) \
    X(attention_backward) \
    X(attention_band) \
    X(attention_band_backward) \
    X(attention_band_forward) \
    X(attention_blocks) \
    X(attention_careful) \
    X(attention_lanes) \
    X(attention_mma) \
    X(attention_mma_backward) \
    X(attention_operands) \
    X(attention_tiles) \
    X(attention_tiles_backward) \
    X(attention_vectors) \
    X(attention_vectors_backward) \
    X(attention_warps) \
    X(attention_vectors_queries) \
    X(clear) \
    X(columns) \
    X(convert_operand) \
    X(coor_descent) \
    X(coor_descent_backward) \
    X(coor_descent_row) \
    X(copy) \
    X(cross_entropy) \
    X(cum_softmax) \
    X(eights) \
    X(embedding) \
    X(embedding_backward) \
    X(gather) \
    X(gemm_epilogue) \
    X(gemm_tiles) \
    X(gradient_norm) \
    X(gumbel) \
    X(hopper) \
    X(intel_xmx) \
    X(mask_rows) \
    X(mma_epilogue) \
    X(mma_gemm) \
    X(mma_slabs) \
    X(mma_warps) \
    X(norm) \
    X(nvidia) \
    X(nvidia_units) \
    X(packed_gemm) \
    X(philox) \
    X(plain_units) \
    X(random) \
    X(rotary) \
    X(route) \
    X(routing_order) \
    X(row_warps) \
    X(scatter) \
    X(scatter_backward) \
    X(score) \
    X(score_rows) \
    X(select) \
    X(select_registers) \
    X(selection) \
    X(sinkhorn) \
    X(sinkhorn_backward) \
    X(split) \
    X(sinkhorn_pass) \
    X(solver) \
    X(sort) \
    X(tf32) \
    X(tf32_pairs) \
    X(tiled_gemm) \
    X(topk) \
    X(warps) \
    X(warps_trial) \
    X(wgmma) \
    X(wgmma_boxes) \
    X(wgmma_fetch) \
    X(wgmma_gemm) \
    X(wgmma_multiply) \
    X(wgmma_pairs) \
    X(wgmma_parts) \
    X(wgmma_slabs)

#define KERNEL_LIST(X) \
    X(ADAMW, adamw, adamw) \
    X(ADD, activation, add) \
    X(ATTENTION_ADD_NULL, attention_backward, attention_add_null) \
    X(ATTENTION_BAND, attention_band_forward, attention_band) \
    X(ATTENTION_BAND_DKV, attention_band_backward, attention_band_dkv) \
    X(ATTENTION_BAND_DQ, attention_band_backward, attention_band_dq) \
    X(ATTENTION_MMA, attention_mma, attention_mma) \
    X(ATTENTION_MMA_DKV, attention_mma_backward, attention_mma_dkv) \
    X(ATTENTION_MMA_DQ, attention_mma_backward, attention_mma_dq) \
    X(ATTENTION_SUM_HEADS, attention_backward, attention_sum_heads) \
    X(ATTENTION_TERMS, attention_backward, attention_terms) \
    X(ATTENTION_TILES, attention_tiles, attention_tiles) \
    X(ATTENTION_TILES_DKV, attention_tiles_backward, attention_tiles_dkv) \
    X(ATTENTION_TILES_DQ, attention_tiles_backward, attention_tiles_dq) \
    X(ATTENTION_VECTORS, attention_vectors, attention_vectors) \
    X(ATTENTION_VECTORS_BACKWARD, attention_vectors_backward, attention_vectors_backward) \
    X(ATTENTION_VECTORS_DQ, attention_vectors_queries, attention_vectors_dq) \
    X(ATTENTION_VECTORS_TERMS, attention_vectors_queries, attention_vectors_terms) \
    X(BLOCK_INDEX, route, block_index) \
    X(BLOCK_ROWS, route, block_rows) \
    X(BLOCK_ROWS_BACKWARD, route, block_rows_backward) \
    X(CLEAR, clear, clear) \
    X(COLUMN_PARTIALS, columns, column_partials) \
    X(COLUMN_SUMS, columns, column_sums) \
    X(COOR_DESCENT_BACKWARD, coor_descent_backward, coor_descent_backward) \
    X(COOR_DESCENT_BEGIN, coor_descent, coor_descent_begin) \
    X(COOR_DESCENT_END, coor_descent, coor_descent_end) \
    X(COOR_DESCENT_GRADIENT, coor_descent_backward, coor_descent_gradient) \
    X(COOR_DESCENT_RECURSION, coor_descent_backward, coor_descent_recursion) \
    X(COOR_DESCENT_ROW, coor_descent_row, coor_descent_row) \
    X(COOR_DESCENT_SPREAD, coor_descent_backward, coor_descent_spread) \
    X(COOR_DESCENT_STEP, coor_descent, coor_descent_step) \
    X(COLUMN_RANGES, convert_operand, column_ranges) \
    X(CONVERT_OPERAND, convert_operand, convert_operand) \
    X(COPY, copy, copy) \
    X(CROSS_ENTROPY_BACKWARD, cross_entropy, cross_entropy_backward) \
    X(CROSS_ENTROPY_FORWARD, cross_entropy, cross_entropy_forward) \
    X(CROSS_ENTROPY_MEAN, cross_entropy, cross_entropy_mean) \
    X(CUM_SOFTMAX_BACKWARD, cum_softmax, cum_softmax_backward) \
    X(CUM_SOFTMAX_PARTIALS, cum_softmax, cum_softmax_partials) \
    X(CUM_SOFTMAX_PARTIALS_BACKWARD, cum_softmax, cum_softmax_partials_backward) \
    X(CUM_SOFTMAX_SCORES, cum_softmax, cum_softmax_scores) \
    X(EMBEDDING_FORWARD, embedding, embedding_forward) \
    X(EMBEDDING_KEYS, embedding, embedding_keys) \
    X(GATHER, gather, gather) \
    X(GATHER_SCORES, route, gather_scores) \
    X(GATHER_SCORES_BACKWARD, route, gather_scores_backward) \
    X(GELU_BACKWARD, activation, gelu_backward) \
    X(GELU_FORWARD, activation, gelu_forward) \
    X(GEMM_EPILOGUE, gemm_epilogue, gemm_epilogue) \
    X(GRADIENT_NORM, gradient_norm, gradient_norm) \
    X(GRADIENT_SCALE, gradient_norm, gradient_scale) \
    X(LAYER_NORM_BACKWARD, norm, layer_norm_backward) \
    X(LAYER_NORM_FORWARD, norm, layer_norm_forward) \
    X(MASK_ROWS, mask_rows, mask_rows) \
    X(MMA_GEMM, mma_gemm, mma_gemm) \
    X(PACKED_GEMM, packed_gemm, packed_gemm) \
    X(PACK_PANELS, packed_gemm, pack_panels) \
    X(RANDOM_UNIFORM, random, random_uniform) \
    X(RMS_NORM_BACKWARD, norm, rms_norm_backward) \
    X(RMS_NORM_FORWARD, norm, rms_norm_forward) \
    X(ROTARY, rotary, rotary) \
    X(ROUTE_MASK, route, route_mask) \
    X(SCATTER_BACKWARD, scatter_backward, scatter_backward) \
    X(SCATTER_CHAIN, scatter, scatter_chain) \
    X(SCATTER_CLEAR, scatter, scatter_clear) \
    X(SCATTER_ROWS, scatter, scatter_rows) \
    X(SCATTER_SLOTS, scatter, scatter_slots) \
    X(SCALE_COLUMNS, activation, scale_columns) \
    X(SCORE_BACKWARD, score, score_backward) \
    X(SCORE_COSINE, score, score_cosine) \
    X(SCORE_FACTOR, score, score_factor) \
    X(SCORE_FORWARD, score, score_forward) \
    X(SCORE_REDUCE, score, score_reduce) \
    X(SCORE_ROWS, score_rows, score_rows) \
    X(SELECT_COUNT, select, select_count) \
    X(SELECT_HISTOGRAM, select, select_histogram) \
    X(SELECT_REGISTERS, select_registers, select_registers) \
    X(SELECT_ROW, select, select_row) \
    X(SELECT_WRITE, select, select_write) \
    X(SINKHORN_CHOOSE, sinkhorn, sinkhorn_choose) \
    X(SINKHORN_COLLECT, sinkhorn_backward, sinkhorn_collect) \
    X(SINKHORN_DIRECT, sinkhorn_backward, sinkhorn_direct) \
    X(SINKHORN_END_BACKWARD, sinkhorn_backward, sinkhorn_end_backward) \
    X(SINKHORN_JOIN, sinkhorn_pass, sinkhorn_join) \
    X(SINKHORN_JOIN_BACKWARD, sinkhorn_pass, sinkhorn_join_backward) \
    X(SINKHORN_JOIN_CHOICE, sinkhorn_pass, sinkhorn_join_choice) \
    X(SINKHORN_PASS, sinkhorn_pass, sinkhorn_pass) \
    X(SINKHORN_PASS_BACKWARD, sinkhorn_pass, sinkhorn_pass_backward) \
    X(SINKHORN_SLOTS, sinkhorn, sinkhorn_slots) \
    X(SINKHORN_SLOTS_BACKWARD, sinkhorn_backward, sinkhorn_slots_backward) \
    X(SINKHORN_START, sinkhorn, sinkhorn_start) \
    X(SINKHORN_TOKENS, sinkhorn, sinkhorn_tokens) \
    X(SINKHORN_TOKENS_BACKWARD, sinkhorn_backward, sinkhorn_tokens_backward) \
    X(SLOT_COUNTS, scatter_backward, slot_counts) \
    X(SORT_COUNT, sort, sort_count) \
    X(SORT_COUNT_ALONE, sort, sort_count_alone) \
    X(SORT_PLACE, sort, sort_place) \
    X(SORT_SCAN, sort, sort_scan) \
    X(SUM_BY_KEY, embedding_backward, sum_by_key) \
    X(SPLIT_PAIRS, split, split_pairs) \
    X(SPLIT_RANGE, split, split_range) \
    X(SUM_SQUARES, gradient_norm, sum_squares) \
    X(TILED_GEMM, tiled_gemm, tiled_gemm) \
    X(TOKEN_MASK, embedding, token_mask) \
    X(TOPK_GATE_GRADIENT, topk, topk_gate_gradient) \
    X(TOPK_MERGE, topk, topk_merge) \
    X(TOPK_SORT, topk, topk_sort) \
    X(TOPK_VALUE_GRADIENT, topk, topk_value_gradient) \
    X(TOPK_WRITE, topk, topk_write) \
    X(UNMARK_SLOTS, scatter_backward, unmark_slots) \
    X(VALID_ROWS, scatter_backward, valid_rows) \
    X(WARPS_TRIAL, warps_trial, warps_trial) \
    X(WGMMA_GEMM, wgmma_gemm, wgmma_gemm)

/* What files begin with besides common: X(file, that one), a line for each. */
#define KERNEL_PRELUDE_LIST(X) \
    X(attention_backward, attention) \
    X(attention_band, attention_operands) \
    X(attention_band_backward, attention_band) \
    X(attention_band_forward, attention_band) \
    X(attention_blocks, attention) \
    X(attention_careful, attention) \
    X(attention_lanes, attention) \
    X(attention_mma, attention_operands) \
    X(attention_mma_backward, attention_operands) \
    X(attention_operands, attention_warps) \
    X(attention_operands, tf32) \
    X(attention_tiles, attention_blocks) \
    X(attention_tiles_backward, attention_blocks) \
    X(attention_vectors, attention_lanes) \
    X(attention_vectors_backward, attention_lanes) \
    X(attention_vectors_queries, attention_lanes) \
    X(attention_warps, attention_careful) \
    X(attention_warps, nvidia) \
    X(activation, warps) \
    X(columns, warps) \
    X(convert_operand, tf32_pairs) \
    X(coor_descent, eights) \
    X(coor_descent, solver) \
    X(coor_descent_backward, eights) \
    X(coor_descent_row, eights) \
    X(coor_descent_row, solver) \
    X(eights, row_warps) \
    X(cum_softmax, routing_order) \
    X(gemm_epilogue, gemm_tiles) \
    X(gumbel, philox) \
    X(mma_gemm, gemm_tiles) \
    X(mma_gemm, mma_slabs) \
    X(mma_gemm, nvidia) \
    X(mma_gemm, nvidia_units) \
    X(mma_gemm, plain_units) \
    X(mma_gemm, amd_cdna) \
    X(mma_gemm, amd_rdna) \
    X(mma_gemm, intel_xmx) \
    X(mma_gemm, mma_warps) \
    X(mma_gemm, mma_epilogue) \
    X(norm, warps) \
    X(random, philox) \
    X(scatter, warps) \
    X(scatter_backward, warps) \
    X(score, warps) \
    X(score_rows, warps) \
    X(select, selection) \
    X(select_registers, selection) \
    X(selection, routing_order) \
    X(selection, row_warps) \
    X(sinkhorn, gumbel) \
    X(sinkhorn_backward, gumbel) \
    X(split, gemm_tiles) \
    X(split, nvidia) \
    X(sinkhorn_pass, gumbel) \
    X(tiled_gemm, gemm_tiles) \
    X(topk, routing_order) \
    X(warps, nvidia) \
    X(warps_trial, warps) \
    X(wgmma_gemm, gemm_tiles) \
    X(wgmma_gemm, wgmma_slabs) \
    X(wgmma_gemm, wgmma) \
    X(wgmma_gemm, wgmma_fetch) \
    X(wgmma_gemm, wgmma_multiply) \
    X(wgmma_gemm, wgmma_parts) \
    X(wgmma_gemm, wgmma_pairs) \
    X(wgmma_gemm, mma_epilogue) \
    X(wgmma_gemm, wgmma_boxes) \
    X(tf32_pairs, gemm_tiles) \
    X(tf32_pairs, nvidia) \
    X(tf32_pairs, tf32) \
    X(wgmma_slabs, hopper) \
    X(wgmma_slabs, tf32_pairs) \
    X(hopper, nvidia)
/* clang-format on */

enum kernel_file {
#define KERNEL_FILE_ENUM(file) KERNEL_FILE_##file,
    KERNEL_FILE_LIST(KERNEL_FILE_ENUM)
#undef KERNEL_FILE_ENUM
        KERNEL_FILE_COUNT
};

enum kernel {
#define KERNEL_ENUM(constant, file, function) KERNEL_##constant,
    KERNEL_LIST(KERNEL_ENUM)
#undef KERNEL_ENUM
        KERNEL_COUNT
};

/* A kernel file embedded by the build: its lines joined, and its length. */
struct kernel_source {
    const char *name;
    const char *const *lines; /* NULL ends */
};

/* Indexed by enum kernel_file; written by build-aux/embed.awk. */
extern const struct kernel_source kernel_sources[KERNEL_FILE_COUNT];

#endif
