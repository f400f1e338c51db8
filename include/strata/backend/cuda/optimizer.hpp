// squared_norm, adam.
// Shapes: [N] flat buffers.
// Source: backend/backend.hpp.
#pragma once

#include <cfloat>

#include <strata/backend/cuda/loops.hpp>

namespace strata {
namespace device {

/// partial[blocks] = the squares that each block sums; blocks take turns.
template <int Threads>
__global__ void sum_squares_kernel(const float* x, index count, double* partial) {
  double sum = 0;
  for (index n = static_cast<index>(blockIdx.x) * Threads + threadIdx.x; n < count;
       n += static_cast<index>(gridDim.x) * Threads) {
    const double value = x[n];
    sum += value * value;
  }
  keep_partial<Threads>(sum, partial);
}

/// clip[1] = the factor of the gradient, not a number where nothing may change. By one thread: double is slow.
template <class = void>
__global__ void clip_kernel(const float* measures, index count, double max_norm, float* clip) {
  const double squares = measures[0];
  const double factor = max_norm > 0 && squares > max_norm * max_norm ? max_norm / sqrt(squares) : 1.0;
  bool finite = true;
  for (index n = 0; n < count; ++n) finite = finite && fabsf(measures[n]) <= FLT_MAX;
  clip[0] = finite ? static_cast<float>(factor) : __uint_as_float(0x7fc00000u);
}

struct adam_element {
  const float* clip;
  const float* gradient;
  float* weight;
  float* first_moment;
  float* second_moment;
  index decayed;
  float coupled, decoupled;  ///< the decay of the first `decayed` elements, of which one is 0
  float beta1, rest1, beta2, rest2, rate, correction1, root_correction2, epsilon;
  __device__ __forceinline__ void operator()(index n) const {
    const float factor = clip[0];
    if (factor != factor) return;
    const bool decays = n < decayed;
    const float w = weight[n], g = gradient[n] * factor + (decays ? coupled : 0.f) * w;
    const float mean = beta1 * first_moment[n] + rest1 * g, square = beta2 * second_moment[n] + rest2 * g * g;
    first_moment[n] = mean;
    second_moment[n] = square;
    const float direction = mean * correction1 / (sqrtf(square) * root_correction2 + epsilon);
    weight[n] = w - rate * (direction + (decays ? decoupled : 0.f) * w);
  }
};

}  // namespace device

inline void squared_norm(cuda& backend, input<float, 1> x, output<float, 1> result) {
  constexpr int threads = 256;
  constexpr index elements_a_thread = 4;
  const index blocks = device::blocks_of_sums(x.size(), threads * elements_a_thread);
  double* const partial = device::double_scratch(backend, blocks);
  device::launch(backend, {static_cast<unsigned>(blocks), threads}, device::sum_squares_kernel<threads>, x.data,
                 x.size(), partial);
  device::total_of_partials(backend, partial, blocks, nullptr, 1, result.data, update::replace);
}

inline void adam(cuda& backend, const adam_settings& settings, input<float, 1> gradient, input<float, 1> measures,
                 output<float, 1> weight, output<float, 1> first_moment, output<float, 1> second_moment) {
  const adam_constants constants(settings, 0);  // the clip is known on the device only
  const float decay = static_cast<float>(settings.weight_decay);
  float* const clip = backend.scratch(1);
  device::launch(backend, {1, 1}, device::clip_kernel<>, measures.data, measures.size(), settings.max_norm, clip);
  device::for_each_element(
      backend, weight.size(),
      device::adam_element{
          .clip = clip,
          .gradient = gradient.data,
          .weight = weight.data,
          .first_moment = first_moment.data,
          .second_moment = second_moment.data,
          .decayed = settings.decayed,
          .coupled = settings.decoupled ? 0.f : decay,
          .decoupled = settings.decoupled ? decay : 0.f,
          .beta1 = static_cast<float>(settings.beta1),
          .rest1 = static_cast<float>(1 - settings.beta1),  // in double first: 1 - 0.999 in float has lost five digits
          .beta2 = static_cast<float>(settings.beta2),
          .rest2 = static_cast<float>(1 - settings.beta2),
          .rate = static_cast<float>(settings.learning_rate),
          .correction1 = static_cast<float>(constants.correction1),
          .root_correction2 = static_cast<float>(std::sqrt(constants.correction2)),
          .epsilon = static_cast<float>(settings.epsilon)});
}

}  // namespace strata
