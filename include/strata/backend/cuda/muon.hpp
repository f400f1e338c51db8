// muon: matrix products by cuBLASLt, one matrix after the other.
// Shapes: matrices [R,C] at their places in flat buffers [N]; m = min(R, C), n = max(R, C).
// Source: backend/backend.hpp.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include <strata/backend/cuda/loops.hpp>
#include <strata/backend/cuda/matrix_products.hpp>
#include <strata/backend/cuda/optimizer.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The momentum, its Nesterov form x[R,C] and the sums of squares of x, squares[R]; nothing where clip[1] is NaN. One
/// warp per row.
template <class = void>
__global__ void muon_momentum_kernel(const float* gradient, const float* clip, float momentum, float rest, float* mean,
                                     float* x, double* squares, index_type rows, fours memory) {
  const index_type row = row_of_warp();
  const float factor = clip[0];
  if (row >= rows || factor != factor) return;
  const index_type first = row * memory.columns;
  float sum = 0;
  for (index_type column = 4 * lane_of_thread(); column < memory.columns; column += 4 * warp_size) {
    const float4 g = map_four([=](float own) { return rest * (own * factor); }, memory.load(gradient + first, column));
    const float4 kept =
        map_four([=](float old, float own) { return momentum * old + own; }, memory.load(mean + first, column), g);
    const float4 ahead = map_four([=](float own, float g_own) { return momentum * own + g_own; }, kept, g);
    memory.store(mean + first, column, kept);
    memory.store(x + first, column, ahead);
    sum += memory.sum(column, map_four([](float own) { return own * own; }, ahead));
  }
  const float total = warp_sum(sum);
  if (lane_of_thread() == 0) squares[row] = total;
}

/// x[N] over its norm, the root of squared_norm[1].
struct divide_by_norm_fours {
  const float* squared_norm;
  float* x;
  fours memory;
  __device__ __forceinline__ void operator()(index_type n) const {
    const float factor = 1 / (sqrtf(squared_norm[0]) + static_cast<float>(newton_schulz::epsilon));
    memory.store(x, n, map_four([=](float own) { return own * factor; }, memory.load(x, n)));
  }
};

/// square[m,m] = a + b gram[m,m] + c square[m,m]
struct newton_schulz_fours {
  const float* gram;
  float* square;
  index_type m;
  fours memory;
  __device__ __forceinline__ float constant(index_type n) const {
    return n % (m + 1) == 0 ? static_cast<float>(newton_schulz::a) : 0.f;
  }
  __device__ __forceinline__ void operator()(index_type n) const {
    constexpr float b = static_cast<float>(newton_schulz::b), c = static_cast<float>(newton_schulz::c);
    const float4 terms = map_four([=](float own, float own_square) { return b * own + c * own_square; },
                                  memory.load(gram, n), memory.load(square, n));
    memory.store(square, n,
                 make_float4(terms.x + constant(n), terms.y + constant(n + 1), terms.z + constant(n + 2),
                             terms.w + constant(n + 3)));
  }
};

/// From x[R,C] the new mean_square[R] of NorMuon, the factor[R] of each row, and the rows' sums of squares: before the
/// factors partial[R], and behind them the next R. Nothing where clip[1] is NaN. One warp per row.
template <class = void>
__global__ void muon_rows_kernel(const float* x, const float* clip, float beta2, float rest, float* mean_square,
                                 float* factor, double* partial, index_type rows, fours memory) {
  const index_type row = row_of_warp();
  if (row >= rows || clip[0] != clip[0]) return;
  float sum = 0;
  for (index_type column = 4 * lane_of_thread(); column < memory.columns; column += 4 * warp_size)
    sum += memory.sum(column,
                      map_four([](float own) { return own * own; }, memory.load(x + row * memory.columns, column)));
  const float squares = warp_sum(sum);
  if (lane_of_thread() != 0) return;
  const float kept = beta2 * mean_square[row] + rest * (squares / static_cast<float>(memory.columns));
  const float own = 1 / (sqrtf(kept) + static_cast<float>(normuon_epsilon));
  mean_square[row] = kept;
  factor[row] = own;
  partial[row] = squares;
  partial[rows + row] = static_cast<double>(squares * own) * own;
}

/// weight[R,C] = kept weight - rate update, where the update is x[R,C]; with the factor[R] of NorMuon each row times
/// its own, and all so that the norm stays. `sums` are the sums of squares before and behind the factors.
struct muon_weight_fours {
  const float *clip, *x, *factor, *sums;
  float rate, kept;
  float* weight;
  fours memory;
  __device__ __forceinline__ void operator()(index_type row, index_type column) const {
    if (clip[0] != clip[0]) return;
    float own = rate;
    if (factor != nullptr) own *= sums[1] > 0 ? sqrtf(sums[0] / sums[1]) * factor[row] : 0.f;
    const index_type first = row * memory.columns;
    const auto changed = [=, *this](float w, float update) { return kept * w - own * update; };
    memory.store(weight + first, column,
                 map_four(changed, memory.load(weight + first, column), memory.load(x + first, column)));
  }
};

/// Scratch memory of one matrix: two arrays of doubles, then floats. Every array starts on 16 bytes.
struct muon_memory {
  index_type rows, elements, squares;
  explicit muon_memory(const matrix_place& place)
      : rows(whole(place.rows)), elements(whole(place.size())), squares(whole(place.smaller() * place.smaller())) {}
  index_type size() const { return 5 * rows + 2 * elements + 2 * squares; }

 private:
  static index_type whole(index_type count) { return (count + 3) / 4 * 4; }
};

inline void muon_step(cuda& backend, const muon_settings& settings, const matrix_place& place, const float* gradient,
                      float* weight, float* mean, float* mean_square, const float* clip, float* sums, float* memory) {
  const auto [offset, rows, columns] = place;
  const muon_memory sizes(place);
  const index_type m = place.smaller(), n = place.larger();
  double* const partial = reinterpret_cast<double*>(memory);  // [2, R]
  float* const factor = memory + 4 * sizes.rows;              // [R]
  float* x = factor + sizes.rows;                             // [R, C]
  float* next = x + sizes.elements;                           // [R, C]
  float* const gram = next + sizes.elements;                  // [m, m]
  float* const square = gram + sizes.squares;                 // [m, m]

  launch_warps(backend, rows, muon_momentum_kernel<>, gradient, clip, static_cast<float>(settings.momentum),
               static_cast<float>(1 - settings.momentum), mean, x, partial, rows,
               fours(columns, {}, {gradient, mean, x}));
  total_of_partials(backend, partial, rows, nullptr, 1, sums, update::replace);
  for_each_four(backend, place.size(), divide_by_norm_fours{sums, x, fours(place.size(), {}, {x})});

  const bool tall = rows > columns;
  for (int iteration = 0; iteration < settings.iterations; ++iteration) {
    multiply(backend, {.transpose_a = !tall, .transpose_b = tall, .m = m, .n = m, .k = n}, x, x, nullptr, gram);
    multiply(backend, {.m = m, .n = m, .k = m}, gram, gram, nullptr, square);
    for_each_four(backend, m * m, newton_schulz_fours{gram, square, m, fours(m * m, {}, {gram, square})});
    if (tall)
      multiply(backend, {.m = columns, .n = rows, .k = m}, square, x, nullptr, next);
    else
      multiply(backend, {.m = columns, .n = rows, .k = m}, x, square, nullptr, next);
    std::swap(x, next);
  }

  if (settings.normalised) {
    launch_warps(backend, rows, muon_rows_kernel<>, x, clip, static_cast<float>(settings.beta2),
                 static_cast<float>(1 - settings.beta2), mean_square, factor, partial, rows, fours(columns, {}, {x}));
    total_of_partials(backend, partial, rows, nullptr, 1, sums, update::replace);
    total_of_partials(backend, partial + rows, rows, nullptr, 1, sums + 1, update::replace);
  }
  for_each_four_in_rows(
      backend, rows, columns,
      muon_weight_fours{.clip = clip,
                        .x = x,
                        .factor = settings.normalised ? factor : nullptr,
                        .sums = sums,
                        .rate = static_cast<float>(settings.learning_rate * muon_scale(place)),
                        .kept = static_cast<float>(1 - settings.learning_rate * settings.weight_decay),
                        .weight = weight,
                        .memory = {columns, {}, {x, weight}}});
}

}  // namespace device

inline void muon(cuda& backend, const muon_settings& settings, std::span<const matrix_place> matrices,
                 input<float, 1> gradient, input<float, 1> measures, output<float, 1> weight,
                 output<float, 1> first_moment, output<float, 1> second_moment) {
  constexpr index_type head = 4;  // the factor of the gradient and two sums
  index_type most = 0;
  for (const matrix_place& place : matrices) most = std::max(most, device::muon_memory(place).size());
  float* const clip = backend.scratch(head + most);
  device::launch(backend, {1, 1}, device::clip_kernel<>, measures.data, measures.size(), settings.max_norm, clip);
  for (const matrix_place& place : matrices)
    if (place.size() > 0)
      device::muon_step(backend, settings, place, gradient.data + place.offset, weight.data + place.offset,
                        first_moment.data + place.offset, second_moment.data + place.offset, clip, clip + 1,
                        clip + head);
}

}  // namespace strata
