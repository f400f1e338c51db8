// squared_norm, adam, adam_rows.
// Shapes: [N] flat buffers; rows of [V,D].
// Source: backend/backend.hpp.
#pragma once

#include <cfloat>

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// partial[blocks] = each block's sum of squares.
template <int Threads>
__global__ void sum_squares_kernel(const float* x, fours memory, double* partial) {
  double sum = 0;
  for (index_type n = 4 * (static_cast<index_type>(blockIdx.x) * Threads + threadIdx.x); n < memory.columns;
       n += 4 * static_cast<index_type>(gridDim.x) * Threads) {
    const float4 own = memory.load(x, n);
    const double a = own.x, b = own.y, c = own.z, d = own.w;
    sum += a * a + b * b + c * c + d * d;
  }
  keep_partial<Threads>(sum, partial);
}

/// clip[1] = the factor of the gradient, or NaN if nothing may change. One thread computes it: double is slow.
template <class = void>
__global__ void clip_kernel(const float* measures, index_type count, double max_norm, float* clip) {
  const double squares = measures[0];
  const double factor = max_norm > 0 && squares > max_norm * max_norm ? max_norm / sqrt(squares) : 1.0;
  bool finite = true;
  for (index_type n = 0; n < count; ++n) finite = finite && fabsf(measures[n]) <= FLT_MAX;
  clip[0] = finite ? static_cast<float>(factor) : __uint_as_float(0x7fc00000u);
}

/// What a step of Adam computes with.
struct adam_floats {
  const float* clip;  ///< on the device
  float beta1, rest1, beta2, rest2, rate, correction1, root_correction2, epsilon;
  adam_floats(const adam_settings& settings, const float* clip_of_step) : clip(clip_of_step) {
    const adam_constants constants(settings, 0);  // the clip is known on the device only
    beta1 = static_cast<float>(settings.beta1);
    rest1 = static_cast<float>(1 - settings.beta1);  // in double: 1 - 0.999 in float keeps five digits only
    beta2 = static_cast<float>(settings.beta2);
    rest2 = static_cast<float>(1 - settings.beta2);
    rate = static_cast<float>(settings.learning_rate);
    correction1 = static_cast<float>(constants.correction1);
    root_correction2 = static_cast<float>(std::sqrt(constants.correction2));
    epsilon = static_cast<float>(settings.epsilon);
  }
  __device__ __forceinline__ void change(float g, float coupled, float decoupled, float& w, float& mean,
                                         float& square) const {
    g += coupled * w;
    mean = beta1 * mean + rest1 * g;
    square = beta2 * square + rest2 * g * g;
    const float direction = mean * correction1 / (sqrtf(square) * root_correction2 + epsilon);
    w -= rate * (direction + decoupled * w);
  }
};

/// The Adam step of four weights and their moments.
struct adam_fours {
  adam_floats step;
  index_type decayed;
  float coupled, decoupled;  ///< the decay of the first `decayed` weights; one of the two is 0
  const float* gradient;
  float *weight, *first_moment, *second_moment;
  fours memory;

  __device__ __forceinline__ void change(index_type n, float g, float& w, float& mean, float& square) const {
    const bool decays = n < decayed;
    step.change(g, decays ? coupled : 0.f, decays ? decoupled : 0.f, w, mean, square);
  }
  __device__ __forceinline__ void operator()(index_type n) const {
    const float factor = step.clip[0];
    if (factor != factor) return;
    const float4 g = map_four([=](float own) { return own * factor; }, memory.load(gradient, n));
    float4 w = memory.load(weight, n), mean = memory.load(first_moment, n), square = memory.load(second_moment, n);
    change(n, g.x, w.x, mean.x, square.x);
    change(n + 1, g.y, w.y, mean.y, square.y);
    change(n + 2, g.z, w.z, mean.z, square.z);
    change(n + 3, g.w, w.w, mean.w, square.w);
    memory.store(weight, n, w);
    memory.store(first_moment, n, mean);
    memory.store(second_moment, n, square);
  }
};

/// The same for four columns of one row of a table.
struct adam_rows_fours {
  adam_floats step;
  const token* rows;
  const float* gradient;
  float *weight, *first_moment, *second_moment;
  fours memory;

  __device__ __forceinline__ void operator()(index_type r, index_type d) const {
    const float factor = step.clip[0];
    if (factor != factor || rows[r] < 0) return;
    const index_type at = rows[r] * memory.columns;
    const float4 g = map_four([=](float own) { return own * factor; }, memory.load(gradient + r * memory.columns, d));
    float4 w = memory.load(weight + at, d), mean = memory.load(first_moment + at, d),
           square = memory.load(second_moment + at, d);
    step.change(g.x, 0, 0, w.x, mean.x, square.x);
    step.change(g.y, 0, 0, w.y, mean.y, square.y);
    step.change(g.z, 0, 0, w.z, mean.z, square.z);
    step.change(g.w, 0, 0, w.w, mean.w, square.w);
    memory.store(weight + at, d, w);
    memory.store(first_moment + at, d, mean);
    memory.store(second_moment + at, d, square);
  }
};

/// clip[1] for `clip_kernel`, in the scratch memory.
inline const float* clip_of_step(cuda& backend, const adam_settings& settings, const view<const float, 1>& measures) {
  float* const clip = backend.scratch(1);
  launch(backend, {1, 1}, clip_kernel<>, measures.data, measures.size(), settings.max_norm, clip);
  return clip;
}

}  // namespace device

inline void squared_norm(cuda& backend, input<float, 1> x, output<float, 1> result) {
  constexpr int threads = 256;
  constexpr index_type elements_a_thread = 16;
  const index_type blocks = device::blocks_of_sums(x.size(), threads * elements_a_thread);
  double* const partial = device::double_scratch(backend, blocks);
  device::launch(backend, {static_cast<unsigned>(blocks), threads}, device::sum_squares_kernel<threads>, x.data,
                 device::fours(x.size(), {}, {x.data}), partial);
  device::total_of_partials(backend, partial, blocks, nullptr, 1, result.data, update::replace);
}

inline void adam(cuda& backend, const adam_settings& settings, input<float, 1> gradient, input<float, 1> measures,
                 output<float, 1> weight, output<float, 1> first_moment, output<float, 1> second_moment) {
  const float decay = static_cast<float>(settings.weight_decay);
  device::for_each_four(
      backend, weight.size(),
      device::adam_fours{
          .step = {settings, device::clip_of_step(backend, settings, measures)},
          .decayed = settings.decayed,
          .coupled = settings.decoupled ? 0.f : decay,
          .decoupled = settings.decoupled ? decay : 0.f,
          .gradient = gradient.data,
          .weight = weight.data,
          .first_moment = first_moment.data,
          .second_moment = second_moment.data,
          .memory = {weight.size(), {}, {gradient.data, weight.data, first_moment.data, second_moment.data}}});
}

inline void adam_rows(cuda& backend, const adam_settings& settings, view<const token, 1> rows, input<float, 2> gradient,
                      input<float, 1> measures, output<float, 2> weight, output<float, 2> first_moment,
                      output<float, 2> second_moment) {
  device::for_each_four_in_rows(
      backend, rows.size(), gradient.shape[1],
      device::adam_rows_fours{
          .step = {settings, device::clip_of_step(backend, settings, measures)},
          .rows = rows.data,
          .gradient = gradient.data,
          .weight = weight.data,
          .first_moment = first_moment.data,
          .second_moment = second_moment.data,
          .memory = {gradient.shape[1], {}, {gradient.data, weight.data, first_moment.data, second_moment.data}}});
}

}  // namespace strata
