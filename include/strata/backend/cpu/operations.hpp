// The operations that the kernels compute: each calls the kernel of the backend's instruction set.
// Shapes: backend/backend.hpp.
#pragma once

#include <strata/backend/cpu/kernels.hpp>

namespace strata::inline STRATA_ABI {

/// Takes the backend and calls the kernel of its instruction set.
#if STRATA_COMPILES_AVX2
#define STRATA_IF_AVX2(call) \
  if (backend.instructions() == instruction_set::avx2) return kernels::avx2::call
#else
#define STRATA_IF_AVX2(call) static_cast<void>(0)
#endif
#if STRATA_COMPILES_AVX512
#define STRATA_IF_AVX512(call) \
  if (backend.instructions() == instruction_set::avx512) return kernels::avx512::call
#else
#define STRATA_IF_AVX512(call) static_cast<void>(0)
#endif
#define STRATA_CALL_KERNEL(call)       \
  const exclusive_use in_use(backend); \
  STRATA_IF_AVX512(call);              \
  STRATA_IF_AVX2(call);                \
  return kernels::baseline::call

// memory
inline void add(cpu& backend, input<float, 1> x, output<float, 1> y) { STRATA_CALL_KERNEL(add(backend, x, y)); }
inline void mix(cpu& backend, float keep, input<float, 1> x, output<float, 1> y) {
  STRATA_CALL_KERNEL(mix(backend, keep, x, y));
}
// embedding
inline void embed(cpu& backend, view<const token, 1> ids, input<float, 2> table, output<float, 2> y, update mode) {
  STRATA_CALL_KERNEL(embed(backend, ids, table, y, mode));
}
inline void embed_backward(cpu& backend, view<const token, 1> ids, input<float, 2> dy, output<float, 2> dtable) {
  STRATA_CALL_KERNEL(embed_backward(backend, ids, dy, dtable));
}
// matrix products
template <class Weight>
void linear_few_rows(cpu& backend, input<float, 2> x, view<const Weight, 2> weight, input<float, 1> scale,
                     input<float, 1> bias, output<float, 2> y, update mode) {
  STRATA_CALL_KERNEL(linear_few_rows(backend, x, weight, scale, bias, y, mode));
}
template <class Weight>
void unpack(cpu& backend, view<const Weight, 2> weight, input<float, 1> scale, output<float, 2> y) {
  STRATA_CALL_KERNEL(unpack(backend, weight, scale, y));
}
inline void multiply(cpu& backend, index_type depth, strided a, strided b, input<float, 1> bias, output<float, 2> c,
                     update mode) {
  STRATA_CALL_KERNEL(multiply(backend, depth, a, b, bias, c, mode));
}
inline void add_column_sums(cpu& backend, input<float, 2> dy, output<float, 1> dbias) {
  STRATA_CALL_KERNEL(add_column_sums(backend, dy, dbias));
}
inline void round_to_bfloat16(cpu& backend, input<float, 1> x, output<float, 1> y) {
  STRATA_CALL_KERNEL(round_to_bfloat16(backend, x, y));
}
// activations
inline void gelu(cpu& backend, input<float, 1> x, output<float, 1> y) { STRATA_CALL_KERNEL(gelu(backend, x, y)); }
inline void gelu_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  STRATA_CALL_KERNEL(gelu_backward(backend, x, dy, dx));
}
inline void silu(cpu& backend, input<float, 1> x, output<float, 1> y) { STRATA_CALL_KERNEL(silu(backend, x, y)); }
inline void silu_backward(cpu& backend, input<float, 1> x, input<float, 1> dy, output<float, 1> dx) {
  STRATA_CALL_KERNEL(silu_backward(backend, x, dy, dx));
}
// dropout
inline void dropout(cpu& backend, const dropout_mask& mask, input<float, 1> x, output<float, 1> y, update mode) {
  STRATA_CALL_KERNEL(dropout(backend, mask, x, y, mode));
}
// norms
inline void rms_norm(cpu& backend, input<float, 3> x, input<float, 1> gain, int shift, output<float, 3> y,
                     output<float, 1> factor) {
  STRATA_CALL_KERNEL(rms_norm(backend, x, gain, shift, y, factor));
}
inline void rms_norm_backward(cpu& backend, input<float, 3> x, input<float, 1> gain, int shift, input<float, 1> factor,
                              input<float, 3> dy, output<float, 3> dx, output<float, 1> dgain) {
  STRATA_CALL_KERNEL(rms_norm_backward(backend, x, gain, shift, factor, dy, dx, dgain));
}
inline void layer_norm(cpu& backend, input<float, 3> x, input<float, 1> gain, input<float, 1> bias, int shift,
                       output<float, 3> y, output<float, 1> factor, output<float, 1> mean) {
  STRATA_CALL_KERNEL(layer_norm(backend, x, gain, bias, shift, y, factor, mean));
}
inline void layer_norm_backward(cpu& backend, input<float, 3> x, input<float, 1> gain, int shift,
                                input<float, 1> factor, input<float, 1> mean, input<float, 3> dy, output<float, 3> dx,
                                output<float, 1> dgain, output<float, 1> dbias) {
  STRATA_CALL_KERNEL(layer_norm_backward(backend, x, gain, shift, factor, mean, dy, dx, dgain, dbias));
}
// learned token shift
inline void add_previous(cpu& backend, input<float, 3> x, input<float, 1> share, int shift, output<float, 3> y) {
  STRATA_CALL_KERNEL(add_previous(backend, x, share, shift, y));
}
inline void add_previous_backward(cpu& backend, input<float, 3> x, input<float, 1> share, int shift, input<float, 3> dy,
                                  output<float, 3> dx, output<float, 1> dshare) {
  STRATA_CALL_KERNEL(add_previous_backward(backend, x, share, shift, dy, dx, dshare));
}
inline void add_previous_step(cpu& backend, input<float, 2> x, input<float, 1> share, output<float, 2> previous,
                              output<float, 2> y) {
  STRATA_CALL_KERNEL(add_previous_step(backend, x, share, previous, y));
}
// attention
inline void attention(cpu& backend, const attention_shape& shape, input<float, 3> table, input<float, 2> qkv,
                      output<float, 2> y, output<float, 3> log_sum_exp) {
  STRATA_CALL_KERNEL(attention(backend, shape, table, qkv, y, log_sum_exp));
}
inline void attention_backward(cpu& backend, const attention_shape& shape, input<float, 3> table, input<float, 2> qkv,
                               input<float, 2> y, input<float, 3> log_sum_exp, input<float, 2> dy,
                               output<float, 2> dqkv) {
  STRATA_CALL_KERNEL(attention_backward(backend, shape, table, qkv, y, log_sum_exp, dy, dqkv));
}
inline void attention_step(cpu& backend, const attention_shape& shape, index_type count, input<float, 2> qkv,
                           input<float, 3> table, output<float, 3> keys, output<float, 3> values, output<float, 2> y) {
  STRATA_CALL_KERNEL(attention_step(backend, shape, count, qkv, table, keys, values, y));
}
// attention across two sequences
inline void cross_attention(cpu& backend, const cross_attention_shape& shape, input<float, 2> query,
                            input<float, 2> key_value, input<float, 2> bias, output<float, 2> y,
                            output<float, 3> log_sum_exp, update mode) {
  STRATA_CALL_KERNEL(cross_attention(backend, shape, query, key_value, bias, y, log_sum_exp, mode));
}
inline void cross_attention_backward(cpu& backend, const cross_attention_shape& shape, input<float, 2> query,
                                     input<float, 2> key_value, input<float, 2> bias, input<float, 2> y,
                                     input<float, 3> log_sum_exp, input<float, 2> dy, output<float, 2> dquery,
                                     output<float, 2> dkey_value, output<float, 2> dbias) {
  STRATA_CALL_KERNEL(
      cross_attention_backward(backend, shape, query, key_value, bias, y, log_sum_exp, dy, dquery, dkey_value, dbias));
}
inline void cross_attention_step(cpu& backend, const cross_attention_shape& shape, index_type count,
                                 input<float, 2> query, input<float, 3> ring, input<float, 2> bias, output<float, 2> y,
                                 output<float, 3> log_sum_exp, update mode) {
  STRATA_CALL_KERNEL(cross_attention_step(backend, shape, count, query, ring, bias, y, log_sum_exp, mode));
}
// between levels
inline void unfold(cpu& backend, input<float, 3> x, int compression, int stride, index_type first, output<float, 3> y) {
  STRATA_CALL_KERNEL(unfold(backend, x, compression, stride, first, y));
}
inline void unfold_backward(cpu& backend, input<float, 3> dy, int compression, int stride, index_type first,
                            output<float, 3> dx) {
  STRATA_CALL_KERNEL(unfold_backward(backend, dy, compression, stride, first, dx));
}
inline void window_mean(cpu& backend, input<float, 3> x, int compression, int stride, output<float, 3> y) {
  STRATA_CALL_KERNEL(window_mean(backend, x, compression, stride, y));
}
inline void window_mean_backward(cpu& backend, input<float, 3> dy, int compression, int stride, output<float, 3> dx) {
  STRATA_CALL_KERNEL(window_mean_backward(backend, dy, compression, stride, dx));
}
inline void repeat(cpu& backend, input<float, 3> x, int stride, index_type column, output<float, 3> y) {
  STRATA_CALL_KERNEL(repeat(backend, x, stride, column, y));
}
inline void repeat_backward(cpu& backend, input<float, 3> dy, int stride, index_type column, output<float, 3> dx) {
  STRATA_CALL_KERNEL(repeat_backward(backend, dy, stride, column, dx));
}
inline void subsample(cpu& backend, input<float, 3> x, int stride, index_type column, output<float, 3> y) {
  STRATA_CALL_KERNEL(subsample(backend, x, stride, column, y));
}
inline void subsample_backward(cpu& backend, input<float, 3> dy, int stride, index_type column, output<float, 3> dx) {
  STRATA_CALL_KERNEL(subsample_backward(backend, dy, stride, column, dx));
}
inline void take_columns(cpu& backend, input<float, 3> x, const column_range& range, output<float, 3> y) {
  STRATA_CALL_KERNEL(take_columns(backend, x, range, y));
}
inline void take_columns_backward(cpu& backend, input<float, 3> dy, const column_range& range, output<float, 3> dx) {
  STRATA_CALL_KERNEL(take_columns_backward(backend, dy, range, dx));
}
inline void depthwise(cpu& backend, input<float, 3> x, int stride, input<float, 1> weight, input<float, 1> bias,
                      output<float, 3> y, update mode) {
  STRATA_CALL_KERNEL(depthwise(backend, x, stride, weight, bias, y, mode));
}
inline void depthwise_backward(cpu& backend, input<float, 3> x, int stride, input<float, 1> weight, input<float, 3> dy,
                               output<float, 3> dx, output<float, 1> dweight, output<float, 1> dbias) {
  STRATA_CALL_KERNEL(depthwise_backward(backend, x, stride, weight, dy, dx, dweight, dbias));
}
inline void shift_step(cpu& backend, input<float, 2> x, output<float, 2> previous, output<float, 2> y) {
  STRATA_CALL_KERNEL(shift_step(backend, x, previous, y));
}
// routing
inline void route(cpu& backend, double capacity, int dilation, index_type first, input<float, 2> scores,
                  output<float, 2> budget, view<token, 2> rows, output<float, 2> gate) {
  STRATA_CALL_KERNEL(route(backend, capacity, dilation, first, scores, budget, rows, gate));
}
inline void add_routed(cpu& backend, view<const token, 1> rows, input<float, 1> gate, input<float, 2> x,
                       output<float, 2> y) {
  STRATA_CALL_KERNEL(add_routed(backend, rows, gate, x, y));
}
inline void add_routed_backward(cpu& backend, view<const token, 1> rows, input<float, 1> gate, input<float, 2> x,
                                input<float, 2> dy, output<float, 2> dx, output<float, 1> dscore) {
  STRATA_CALL_KERNEL(add_routed_backward(backend, rows, gate, x, dy, dx, dscore));
}
// learned boundaries
inline void boundary_probability(cpu& backend, input<float, 3> query, input<float, 3> key, output<float, 2> p) {
  STRATA_CALL_KERNEL(boundary_probability(backend, query, key, p));
}
inline void boundary_probability_backward(cpu& backend, input<float, 3> query, input<float, 3> key, input<float, 2> dp,
                                          output<float, 3> dquery, output<float, 3> dkey) {
  STRATA_CALL_KERNEL(boundary_probability_backward(backend, query, key, dp, dquery, dkey));
}
inline void smooth(cpu& backend, input<float, 2> share, input<float, 3> x, output<float, 3> y) {
  STRATA_CALL_KERNEL(smooth(backend, share, x, y));
}
inline void smooth_backward(cpu& backend, input<float, 2> share, input<float, 3> x, input<float, 3> y,
                            input<float, 3> dy, output<float, 3> dx, output<float, 2> dshare) {
  STRATA_CALL_KERNEL(smooth_backward(backend, share, x, y, dy, dx, dshare));
}
inline void confidence_backward(cpu& backend, input<float, 1> p, input<float, 2> y, input<float, 2> dy,
                                output<float, 1> dp) {
  STRATA_CALL_KERNEL(confidence_backward(backend, p, y, dy, dp));
}
inline void boundary_ratio(cpu& backend, input<float, 1> p, view<const token, 1> ids, double wanted, float scale,
                           output<float, 1> loss, output<float, 1> dp) {
  STRATA_CALL_KERNEL(boundary_ratio(backend, p, ids, wanted, scale, loss, dp));
}
// losses
inline void window_targets(cpu& backend, view<const token, 2> ids, int stride, index_type offset,
                           view<token, 3> targets) {
  STRATA_CALL_KERNEL(window_targets(backend, ids, stride, offset, targets));
}
inline void quantize(cpu& backend, input<float, 3> x, input<float, 3> projections, input<float, 3> codebooks,
                     view<token, 3> codes) {
  STRATA_CALL_KERNEL(quantize(backend, x, projections, codebooks, codes));
}
inline void cross_entropy(cpu& backend, input<float, 2> logits, view<const token, 1> targets, token ignore, float scale,
                          output<float, 1> loss, output<float, 2> gradient) {
  STRATA_CALL_KERNEL(cross_entropy(backend, logits, targets, ignore, scale, loss, gradient));
}
inline void cosine_distance(cpu& backend, input<float, 3> prediction, input<float, 3> embedding, float scale,
                            output<float, 1> loss, output<float, 3> dprediction, output<float, 3> dembedding) {
  STRATA_CALL_KERNEL(cosine_distance(backend, prediction, embedding, scale, loss, dprediction, dembedding));
}
inline void embedding_distance(cpu& backend, const distance_settings& settings, input<float, 3> prediction,
                               input<float, 3> embedding, index_type first, view<const token, 1> targets, token ignore,
                               float scale, output<float, 1> loss, output<float, 1> lost, output<float, 3> dprediction,
                               output<float, 3> dembedding) {
  STRATA_CALL_KERNEL(embedding_distance(backend, settings, prediction, embedding, first, targets, ignore, scale, loss,
                                        lost, dprediction, dembedding));
}
inline void sigmoid_pairs(cpu& backend, output<float, 2> cosines, index_type first, input<float, 1> log_scale,
                          input<float, 1> bias, float scale, output<float, 1> loss, output<float, 1> dlog_scale,
                          output<float, 1> dbias) {
  STRATA_CALL_KERNEL(sigmoid_pairs(backend, cosines, first, log_scale, bias, scale, loss, dlog_scale, dbias));
}
// optimizer
inline void squared_norm(cpu& backend, input<float, 1> x, output<float, 1> result) {
  STRATA_CALL_KERNEL(squared_norm(backend, x, result));
}
inline void adam(cpu& backend, const adam_settings& settings, input<float, 1> gradient, input<float, 1> measures,
                 output<float, 1> weight, output<float, 1> first_moment, output<float, 1> second_moment) {
  STRATA_CALL_KERNEL(adam(backend, settings, gradient, measures, weight, first_moment, second_moment));
}
inline void adam_rows(cpu& backend, const adam_settings& settings, view<const token, 1> rows, input<float, 2> gradient,
                      input<float, 1> measures, output<float, 2> weight, output<float, 2> first_moment,
                      output<float, 2> second_moment) {
  STRATA_CALL_KERNEL(adam_rows(backend, settings, rows, gradient, measures, weight, first_moment, second_moment));
}
inline void muon(cpu& backend, const muon_settings& settings, std::span<const matrix_place> matrices,
                 input<float, 1> gradient, input<float, 1> measures, output<float, 1> weight,
                 output<float, 1> first_moment, output<float, 1> second_moment) {
  STRATA_CALL_KERNEL(muon(backend, settings, matrices, gradient, measures, weight, first_moment, second_moment));
}

#undef STRATA_CALL_KERNEL
#undef STRATA_IF_AVX2
#undef STRATA_IF_AVX512

}  // namespace strata
