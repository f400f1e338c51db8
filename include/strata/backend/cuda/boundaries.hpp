// boundary_probability, smooth, their gradients, confidence_backward and boundary_ratio.
// Shapes: query, key, x [B,n,D]; p, share [B,n].
// Source: backend/backend.hpp. Rows have one warp each; a scan over positions has one thread for each channel.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

/// The sum over the channels of a row, term(d), in every lane of the warp.
template <class Term>
__device__ __forceinline__ float sum_of_row(index_type dim, Term term) {
  float sum = 0;
  for (index_type d = lane_of_thread(); d < dim; d += warp_size) sum += term(d);
  return warp_sum(sum);
}
__device__ __forceinline__ float length_of_row(const float* x, index_type dim) {
  return fmaxf(sqrtf(sum_of_row(dim, [=](index_type d) { return x[d] * x[d]; })), static_cast<float>(least_length));
}
__device__ __forceinline__ float clamped_share(float share) {
  return fminf(fmaxf(share, static_cast<float>(least_share)), static_cast<float>(1 - least_share));
}

template <class = void>
__global__ void boundary_probability_kernel(index_type rows, index_type length, index_type dim, const float* query,
                                            const float* key, float* p) {
  const index_type r = row_of_warp();
  if (r >= rows) return;
  if (r % length == 0) {
    if (lane_of_thread() == 0) p[r] = 1;
    return;
  }
  const float *const q = query + r * dim, *const k = key + (r - 1) * dim;
  const float dot = sum_of_row(dim, [=](index_type d) { return q[d] * k[d]; });
  const float lengths = length_of_row(q, dim) * length_of_row(k, dim);
  if (lane_of_thread() == 0) p[r] = 0.5f - 0.5f * dot / lengths;
}

template <class = void>
__global__ void boundary_probability_backward_kernel(index_type rows, index_type length, index_type dim,
                                                     const float* query, const float* key, const float* dp,
                                                     float* dquery, float* dkey) {
  const index_type r = row_of_warp();
  if (r >= rows) return;
  if (r % length == 0) {
    for (index_type d = lane_of_thread(); d < dim; d += warp_size) {
      dquery[r * dim + d] = 0;
      dkey[(r + length - 1) * dim + d] = 0;
    }
    return;
  }
  const float *const q = query + r * dim, *const k = key + (r - 1) * dim;
  const float of_query = 1 / length_of_row(q, dim), of_key = 1 / length_of_row(k, dim);
  const float cosine = sum_of_row(dim, [=](index_type d) { return q[d] * k[d]; }) * of_query * of_key;
  const float slope = -0.5f * dp[r];
  for (index_type d = lane_of_thread(); d < dim; d += warp_size) {
    const float own = q[d] * of_query, before = k[d] * of_key;
    dquery[r * dim + d] = (before - own * cosine) * (slope * of_query);
    dkey[(r - 1) * dim + d] = (own - before * cosine) * (slope * of_key);
  }
}

struct smooth_channel {
  index_type length, dim;
  const float* share;
  const float* x;
  float* y;
  __device__ __forceinline__ void operator()(index_type n) const {
    const index_type b = n / dim, d = n % dim;
    float kept = 0;
    for (index_type i = 0; i < length; ++i) {
      const index_type row = b * length + i;
      const float own = clamped_share(share[row]);
      kept = own * x[row * dim + d] + (1 - own) * kept;
      y[row * dim + d] = kept;
    }
  }
};
/// dx = the whole gradient by y.
struct smooth_backward_channel {
  index_type length, dim;
  const float* share;
  const float* dy;
  float* dx;
  __device__ __forceinline__ void operator()(index_type n) const {
    const index_type b = n / dim, d = n % dim;
    float later = 0;
    for (index_type i = length - 1; i >= 0; --i) {
      const index_type row = b * length + i;
      const float slope = dy[row * dim + d] + later;
      dx[row * dim + d] = slope;
      later = (1 - clamped_share(share[row])) * slope;
    }
  }
};
/// Then dshare, and dx of x.
template <class = void>
__global__ void smooth_backward_kernel(index_type rows, index_type length, index_type dim, const float* share,
                                       const float* x, const float* y, float* dx, float* dshare) {
  const index_type r = row_of_warp();
  if (r >= rows) return;
  float* const slope = dx + r * dim;
  const float *const here = x + r * dim, *const before = y + (r - 1) * dim;
  const bool first = r % length == 0;
  const float own = clamped_share(share[r]);
  const float dot = sum_of_row(dim, [=](index_type d) { return slope[d] * (here[d] - (first ? 0.f : before[d])); });
  for (index_type d = lane_of_thread(); d < dim; d += warp_size) slope[d] *= own;
  if (lane_of_thread() == 0) dshare[r] = own == share[r] ? dot : 0.f;
}

template <class = void>
__global__ void confidence_backward_kernel(index_type rows, index_type dim, const float* p, const float* y,
                                           const float* dy, float* dp) {
  const index_type r = row_of_warp();
  if (r >= rows) return;
  const float dot = sum_of_row(dim, [=](index_type d) { return y[r * dim + d] * dy[r * dim + d]; });
  if (lane_of_thread() == 0) dp[r] += p[r] >= 0.5f ? dot : -dot;
}

/// One block.
template <int Threads>
__global__ void boundary_ratio_kernel(const float* p, const token* ids, index_type rows, double wanted, float scale,
                                      float* loss, float* dp) {
  STRATA_SHARED(slots, double[Threads / warp_size]);
  STRATA_SHARED(slope, float[1]);
  const auto counts = [=](index_type r) { return ids == nullptr || ids[r] >= 0; };
  double begun = 0, mean = 0, count = 0;
  for (index_type r = threadIdx.x; r < rows; r += Threads) {
    if (!counts(r)) continue;
    count += 1;
    begun += p[r] >= 0.5f ? 1 : 0;
    mean += static_cast<double>(p[r]);
  }
  begun = block_sum<Threads>(begun, slots);
  __syncthreads();
  mean = block_sum<Threads>(mean, slots);
  __syncthreads();
  count = block_sum<Threads>(count, slots);
  if (threadIdx.x == 0) slope[0] = 0;
  if (threadIdx.x == 0 && count > 0) {
    begun /= count;
    mean /= count;
    const double factor = wanted / (wanted - 1);
    loss[0] += static_cast<float>(factor * ((wanted - 1) * begun * mean + (1 - begun) * (1 - mean)));
    slope[0] = scale * static_cast<float>(factor * (wanted * begun - 1) / count);
  }
  __syncthreads();
  if (dp == nullptr) return;
  for (index_type r = threadIdx.x; r < rows; r += Threads)
    if (counts(r)) dp[r] += slope[0];
}

}  // namespace device

inline void boundary_probability(cuda& backend, input<float, 3> query, input<float, 3> key, output<float, 2> p) {
  device::launch_warps(backend, p.size(), device::boundary_probability_kernel<>, p.size(), query.shape[1],
                       query.shape[2], query.data, key.data, p.data);
}
inline void boundary_probability_backward(cuda& backend, input<float, 3> query, input<float, 3> key, input<float, 2> dp,
                                          output<float, 3> dquery, output<float, 3> dkey) {
  device::launch_warps(backend, dp.size(), device::boundary_probability_backward_kernel<>, dp.size(), query.shape[1],
                       query.shape[2], query.data, key.data, dp.data, dquery.data, dkey.data);
}
inline void smooth(cuda& backend, input<float, 2> share, input<float, 3> x, output<float, 3> y) {
  const auto [batch, length, dim] = x.shape;
  device::for_each_element(backend, batch * dim, device::smooth_channel{length, dim, share.data, x.data, y.data});
}
inline void smooth_backward(cuda& backend, input<float, 2> share, input<float, 3> x, input<float, 3> y,
                            input<float, 3> dy, output<float, 3> dx, output<float, 2> dshare) {
  const auto [batch, length, dim] = x.shape;
  device::for_each_element(backend, batch * dim,
                           device::smooth_backward_channel{length, dim, share.data, dy.data, dx.data});
  device::launch_warps(backend, batch * length, device::smooth_backward_kernel<>, batch * length, length, dim,
                       share.data, x.data, y.data, dx.data, dshare.data);
}
inline void confidence_backward(cuda& backend, input<float, 1> p, input<float, 2> y, input<float, 2> dy,
                                output<float, 1> dp) {
  device::launch_warps(backend, y.shape[0], device::confidence_backward_kernel<>, y.shape[0], y.shape[1], p.data,
                       y.data, dy.data, dp.data);
}
inline void boundary_ratio(cuda& backend, input<float, 1> p, view<const token, 1> ids, double wanted, float scale,
                           output<float, 1> loss, output<float, 1> dp) {
  constexpr int threads = device::threads_of_totals;
  device::launch(backend, {1, threads}, device::boundary_ratio_kernel<threads>, p.data, ids.data, p.size(), wanted,
                 scale, loss.data, dp.data);
}

}  // namespace strata
