// Executes every kernel of the cuda backend, at small sizes.
#pragma once

#include <array>
#include <vector>

#include <strata/cuda.hpp>

#include "cuda/models.hpp"

namespace kernels {

using strata::index_type;

template <class Model>
void train_and_write(strata::cuda& backend, index_type steps) {
  const std::vector<std::uint8_t> text(200, 'a');
  strata::training_options options;
  options.batch = 2;
  options.length = 32;
  auto trainer = models::make_trainer<Model>(backend, options);
  for (index_type step = 0; step < steps; ++step) trainer.train_step(text);
  const std::vector<std::vector<strata::token>> prompts{{'a', 'b', 'c'}};
  for (const auto format :
       {strata::weight_format::float32, strata::weight_format::bfloat16, strata::weight_format::int8}) {
    strata::generator writer(trainer.model(), 1, {.weights = format});
    writer.generate(prompts, 5, {}, [](auto, auto) {});
  }
}

/// All attention of one head of E channels, over n positions.
inline void attend(strata::cuda& backend, int head_dim, index_type n) {
  const index_type E = head_dim, span = n / 2;
  strata::device_buffer<float> memory(16 * n * E);
  float* next = memory.data();
  const auto make = [&]<int Rank>(std::array<index_type, Rank> shape) {
    const strata::view<float, Rank> made{next, shape};
    next += made.size();
    return made;
  };
  const auto log_sum_exp = make.operator()<3>({1, 1, n});
  const auto y = make.operator()<2>({n, E});
  {
    const strata::attention_shape shape{1, n, 1, head_dim, span, 1};
    const auto qkv = make.operator()<2>({n, 3 * E}), dqkv = make.operator()<2>({n, 3 * E});
    const auto table = make.operator()<3>({4, n, E / 2}), ring = make.operator()<3>({1, span, E});
    attention(backend, shape, table, qkv, y, log_sum_exp);
    attention_backward(backend, shape, table, qkv, y, log_sum_exp, y, dqkv);
    attention_step(backend, {1, 1, 1, head_dim, span, 1}, n, qkv.slice(0, 1), {table.data, {2, span, E / 2}}, ring,
                   ring, y.slice(0, 1));
  }
  next = y.data + y.size();
  {
    const strata::cross_attention_shape shape{1, n, 1, n, 1, 1, head_dim, span};
    const auto key_value = make.operator()<2>({n, 2 * E}), dkey_value = make.operator()<2>({n, 2 * E});
    const auto query = make.operator()<2>({n, E}), dquery = make.operator()<2>({n, E});
    const auto bias = make.operator()<2>({1, span}), dbias = make.operator()<2>({1, span});
    cross_attention(backend, shape, query, key_value, bias, y, log_sum_exp, strata::update::replace);
    cross_attention_backward(backend, shape, query, key_value, bias, y, log_sum_exp, y, dquery, dkey_value, dbias);
    cross_attention_step(backend, shape, n, query.slice(0, 1), {key_value.data, {1, span, 2 * E}}, bias, y.slice(0, 1),
                         log_sum_exp, strata::update::replace);
  }
  backend.synchronize();
}

/// Work that such small models do not need: sums over so many rows that they are made in groups, matrix products
/// without terms, and the gradient of a mean, which no loss needs.
inline void add_up(strata::cuda& backend) {
  constexpr index_type rows = 4096;
  strata::device_buffer<float> memory(rows + 2);
  strata::device_buffer<strata::token> ids(rows);
  const strata::view<float, 2> column{memory.data(), {rows, 1}}, sum{memory.data() + rows, {1, 1}};
  const strata::view<float, 1> bias{memory.data() + rows + 1, {1}};
  embed_backward(backend, ids.view(), column, sum);
  linear_backward_weight(backend, column, column, sum, bias);
  linear(backend, {memory.data(), {1, 0}}, {memory.data(), {1, 0}}, bias, sum, strata::update::replace);
  window_mean_backward(backend, {memory.data(), {1, 1, 1}}, 1, 1, {sum.data, {1, 1, 1}});
  backend.synchronize();
}

/// Rows of C channels: wider rows than those of small models have their own kernels.
inline void wide_rows(strata::cuda& backend, index_type C) {
  constexpr index_type V = 3000;
  strata::device_buffer<float> memory(2 * V + 8);
  strata::device_buffer<strata::token> ids(2);
  const strata::view<float, 3> x{memory.data(), {1, 2, C}}, dx{memory.data() + 2 * C, {1, 2, C}};
  const strata::view<float, 3> dembedding{memory.data() + 6 * C, {1, 2, C}};
  const strata::view<float, 1> gain{memory.data() + 4 * C, {C}}, bias{memory.data() + 5 * C, {C}};
  const strata::view<float, 1> factor{memory.data() + 2 * V, {2}}, mean{memory.data() + 2 * V + 2, {2}};
  const strata::view<float, 1> loss{memory.data() + 2 * V + 4, {1}}, lost{memory.data() + 2 * V + 6, {1}};
  rms_norm(backend, x, gain, 0, dx, factor);
  rms_norm_backward(backend, x, gain, 0, factor, x, dx, gain);
  layer_norm(backend, x, gain, bias, 0, dx, factor, mean);
  layer_norm_backward(backend, x, gain, 0, factor, mean, x, dx, gain, bias);
  cross_entropy(backend, x.rows(), ids.view(), -1, 1.f, loss, dx.rows());
  cosine_distance(backend, x, x, 1.f, loss, dx, dembedding);
  embedding_distance(backend, {}, {x.data, {1, 1, C}}, x, 1, ids.view().slice(0, 1), -1, 1.f, loss, lost,
                     {dx.data, {1, 1, C}}, dembedding);
  sample(backend, {}, 0, {memory.data(), {2, V}}, ids.view());
  backend.synchronize();
}

/// Muon and NorMuon, for a matrix with more rows than columns and its transpose.
inline void orthogonalise(strata::cuda& backend) {
  constexpr index_type size = 2 * 6 * 10;
  strata::device_buffer<float> memory(4 * size + 1);
  const auto vector = [&](index_type number) { return memory.view().slice(number * size, size); };
  const std::array<strata::matrix_place, 2> places{{{0, 6, 10}, {60, 10, 6}}};
  for (const bool normalised : {false, true})
    muon(backend, {.normalised = normalised}, places, vector(0), memory.view().slice(4 * size, 1), vector(1), vector(2),
         vector(3));
  backend.synchronize();
}

/// Of `steps` of training, the first launches kernels directly, the second is captured, the others launch graphs.
inline void execute_every_kernel(index_type steps) {
  strata::cuda backend;
  train_and_write<device_models::many_things>(backend, steps);
  train_and_write<device_models::attends_to_levels>(backend, steps);
  train_and_write<device_models::separable>(backend, steps);
  train_and_write<device_models::shifts_levels>(backend, steps);
  train_and_write<device_models::decides>(backend, steps);
  add_up(backend);
  orthogonalise(backend);
  for (const index_type C : {300, 600}) wide_rows(backend, C);
  strata::cuda rounding({.precision = strata::cuda_precision::bfloat16});
  for (const int head_dim : {16, 32, 64, 128}) {
    attend(backend, head_dim, 8);
    attend(rounding, head_dim, 8);
  }
  for (strata::cuda* own : {&backend, &rounding}) attend(*own, 16, 72);  // a tile meets several blocks of keys
  add_up(rounding);
  orthogonalise(rounding);
}

}  // namespace kernels
