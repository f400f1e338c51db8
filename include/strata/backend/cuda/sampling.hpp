// sample.
// Shapes: logits [B,V] -> ids [B].
// Source: backend/reference/sampling.hpp. Radix selection finds the candidates, bit by bit of a key that orders tokens.
#pragma once

#include <bit>

#include <strata/backend/cuda/context.hpp>
#include <strata/backend/cuda/random.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The maximum over the threads of a block, in every thread; see `block_sum`.
template <int Threads, class T>
__device__ __forceinline__ T block_max(T value, T (&slots)[Threads / warp_size]) {
  const int thread = static_cast<int>(threadIdx.x);
  value = warp_max(value);
  __syncthreads();  // an earlier call may still read the slots
  if (thread % warp_size == 0) slots[thread / warp_size] = value;
  __syncthreads();
  T largest = slots[0];
  for (int warp = 1; warp < Threads / warp_size; ++warp) largest = slots[warp] > largest ? slots[warp] : largest;
  return largest;
}

/// A key that orders tokens: larger if the token is more likely, or as likely and smaller. The keys of a row differ.
__device__ __forceinline__ std::uint64_t order_of_token(float logit, int v, int vocabulary, int bits_of_token) {
  const unsigned bits = logit == 0 ? 0u : __float_as_uint(logit);  // -0 is 0
  const unsigned ascending = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return (std::uint64_t{ascending} << bits_of_token) | static_cast<unsigned>(vocabulary - 1 - v);
}

struct sampling_shape {
  int vocabulary, bits_of_token, kept;
};

/// One block per row.
template <int Threads>
__global__ void __launch_bounds__(Threads)
    sample_kernel(sampling_shape shape, double temperature, std::uint64_t seed, std::uint64_t counter,
                  const float* __restrict__ logits, token* __restrict__ ids) {
  STRATA_SHARED(counts, int[Threads / warp_size]);
  STRATA_SHARED(numbers, double[Threads / warp_size]);
  const index_type b = blockIdx.x;
  const int first = static_cast<int>(threadIdx.x), vocabulary = shape.vocabulary;
  const float* const row = logits + b * vocabulary;

  float own_most = -INFINITY;
  bool is_number = true;
  for (int v = first; v < vocabulary; v += Threads) {
    const float x = row[v];
    own_most = fmaxf(own_most, x);
    is_number = is_number && x == x;
  }
  if (__syncthreads_and(is_number) == 0) {
    if (first == 0) ids[b] = -1;
    return;
  }
  const double most = block_max<Threads>(static_cast<double>(own_most), numbers);

  // The largest bound that `kept` tokens reach, from its highest bit on; often found before the last bit.
  std::uint64_t bound = 0;
  for (int bit = 31 + shape.bits_of_token, reached = vocabulary; reached != shape.kept; --bit) {
    const std::uint64_t raised = bound | (std::uint64_t{1} << bit);
    int own = 0;
    for (int v = first; v < vocabulary; v += Threads)
      own += order_of_token(row[v], v, vocabulary, shape.bits_of_token) >= raised ? 1 : 0;
    const int above = block_sum<Threads>(own, counts);
    if (above < shape.kept) continue;
    bound = raised;
    reached = above;
  }

  double best = -INFINITY;
  int chosen = 0;
  for (int v = first; v < vocabulary; v += Threads) {
    if (order_of_token(row[v], v, vocabulary, shape.bits_of_token) < bound) continue;
    const double x = row[v];
    const double score = (x == most ? 0.0 : (x - most) / temperature) +
                         draw_gumbel(seed, (static_cast<std::uint64_t>(b) << 32) + static_cast<unsigned>(v), counter);
    if (score <= best) continue;
    best = score;
    chosen = v;
  }
  const double winning = block_max<Threads>(best, numbers);
  const int smallest = -block_max<Threads>(best == winning ? -chosen : -vocabulary, counts);
  if (first == 0) ids[b] = smallest;
}

}  // namespace device

inline void sample(cuda& backend, const sampling_options& options, std::uint64_t counter, input<float, 2> logits,
                   view<token, 1> ids) {
  using namespace device;
  const index_type vocabulary = logits.shape[1];
  const sampling_shape shape = {static_cast<int>(vocabulary),
                                static_cast<int>(std::bit_width(static_cast<std::uint64_t>(vocabulary - 1))),
                                static_cast<int>(options.candidates(vocabulary))};
  const auto run = [&]<int Threads>(std::integral_constant<int, Threads>) {
    launch(backend, {static_cast<unsigned>(ids.size()), Threads}, sample_kernel<Threads>, shape, options.temperature,
           options.seed, counter, logits.data, ids.data);
  };
  // More threads read more at once, but wait longer for each other.
  if (vocabulary <= 2048)
    run(std::integral_constant<int, 256>());
  else
    run(std::integral_constant<int, 1024>());
}

}  // namespace strata
