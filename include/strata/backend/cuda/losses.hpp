// window_targets, quantize, cross_entropy, cosine_distance, embedding_distance, sigmoid_pairs.
// Shapes: logits [R,V], targets [R]; prediction and embedding [B,n,D] -> loss [1] and gradients; x [B,n,D] -> codes
// [B,m,books].
// Source: backend/reference/losses.hpp. Each block sums its rows in double; one block adds these sums in a fixed order.
#pragma once

#include <strata/backend/cuda/loops.hpp>

namespace strata::inline STRATA_ABI {
namespace device {

inline constexpr int threads_of_losses = static_cast<int>(threads_of_warps);

__device__ __forceinline__ bool is_counted(token target, token ignore) { return target >= 0 && target != ignore; }

/// counted[1] = how many of targets[R] count.
template <int Threads>
__global__ void count_targets_kernel(const token* targets, index_type rows, token ignore, double* counted) {
  STRATA_SHARED(slots, int[Threads / warp_size]);
  int own = 0;
  for (index_type r = threadIdx.x; r < rows; r += Threads) own += is_counted(targets[r], ignore) ? 1 : 0;
  const int total = block_sum<Threads>(own, slots);
  if (threadIdx.x == 0) counted[0] = total;
}

struct window_target {
  const token* ids;
  index_type length;
  int stride;
  index_type offset;
  token* targets;  ///< [B,n,c]
  index_type positions, window;
  __device__ __forceinline__ void operator()(index_type n) const {
    const index_type j = n % window, i = n / window % positions, b = n / window / positions;
    const index_type t = i * stride + offset + j;
    targets[n] = t >= 0 && t < length ? ids[b * length + t] : -1;
  }
};

/// The best code so far: the largest inner product, the first of equals.
struct best_code {
  float product = -INFINITY;
  int code = 0;
  __device__ __forceinline__ void meet(float other_product, int other_code) {
    if (!(other_product > product || (other_product == product && other_code < code))) return;
    product = other_product;
    code = other_code;
  }
};

struct quantize_shape {
  index_type length, kept, rows;  ///< n, m, B m
  int dim, width, count;          ///< D, K, C
};

/// Codes of one book for Rows rows, so that the book is read once for all of them. Dynamic shared memory: [Rows,K].
template <int Threads, int Rows>
__global__ void quantize_kernel(quantize_shape shape, const float* x, const float* projections, const float* codebooks,
                                token* codes) {
  STRATA_DYNAMIC_SHARED(float, projected);
  constexpr int warps = Threads / warp_size;
  STRATA_SHARED(found, best_code[warps][Rows]);
  const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = lane_of_thread();
  const index_type first = static_cast<index_type>(blockIdx.x) * Rows, book = blockIdx.y, books = gridDim.y;
  const int rows = static_cast<int>(shape.rows - first < Rows ? shape.rows - first : Rows);

  for (int r = warp; r < rows; r += warps) {
    const index_type b = (first + r) / shape.kept, i = (first + r) % shape.kept;
    const float* const row = x + (b * shape.length + i) * shape.dim;
    float mean = 0;
    for (int d = lane; d < shape.dim; d += warp_size) mean += row[d];
    mean = warp_sum(mean) / static_cast<float>(shape.dim);
    // Lanes take neighbouring columns. If there are few columns, several lanes share the sum over d of a column.
    const float* const projection = projections + book * shape.dim * shape.width;
    for (int first_column = 0; first_column < shape.width; first_column += warp_size) {
      const int left = shape.width - first_column;
      int columns = 1;
      while (columns < left && columns < warp_size) columns *= 2;
      const int k = lane % columns;
      float sum = 0;
      if (k < left)
        for (int d = lane / columns; d < shape.dim; d += warp_size / columns)
          sum += (row[d] - mean) * projection[static_cast<index_type>(d) * shape.width + first_column + k];
      for (int apart = warp_size / 2; apart >= columns; apart /= 2) sum += __shfl_xor_sync(all_lanes, sum, apart);
      if (lane < left && lane < columns) projected[r * shape.width + first_column + lane] = sum;
    }
  }
  __syncthreads();

  best_code best[Rows];
  for (int c = static_cast<int>(threadIdx.x); c < shape.count; c += Threads) {
    const float* const code = codebooks + (book * shape.count + c) * shape.width;
    float product[Rows] = {};
    for (int k = 0; k < shape.width; ++k) {
      const float value = code[k];
      STRATA_UNROLL
      for (int r = 0; r < Rows; ++r)
        if (r < rows) product[r] += projected[r * shape.width + k] * value;
    }
    STRATA_UNROLL
    for (int r = 0; r < Rows; ++r) best[r].meet(product[r], c);
  }
  STRATA_UNROLL
  for (int r = 0; r < Rows; ++r) {
    for (int apart = warp_size / 2; apart > 0; apart /= 2) {
      const float product = __shfl_xor_sync(all_lanes, best[r].product, apart);
      const int code = __shfl_xor_sync(all_lanes, best[r].code, apart);
      best[r].meet(product, code);
    }
    if (lane == 0) found[warp][r] = best[r];
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) >= rows) return;
  best_code own;
  for (int from = 0; from < warps; ++from) own.meet(found[from][threadIdx.x].product, found[from][threadIdx.x].code);
  codes[(first + threadIdx.x) * books + book] = own.code;
}

/// exp(x - most), where both may be -inf.
__device__ __forceinline__ float exp_below(float x, float most) { return x == -INFINITY ? 0.f : expf(x - most); }

/// One warp per row, read once if it fits into registers, else twice. `gradient` may be the logits, or null.
template <int Held>
__global__ void cross_entropy_kernel(const float* logits, fours memory, const token* targets, token ignore, float scale,
                                     index_type rows, const double* counted, double* partial, float* gradient) {
  const int lane = lane_of_thread();
  const index_type vocabulary = memory.columns;
  double lost = 0;
  for (index_type r = row_of_warp(); r < rows; r += warps_of_grid()) {
    const float* const row = logits + r * vocabulary;
    const token target = targets[r];
    const bool counts = is_counted(target, ignore);
    const float wanted = counts ? row[target] : 0;
    const auto load = [&](index_type v) { return memory.load(row, v, -INFINITY); };
    row_of_lane<float4, Held> own;
    own.read(vocabulary, load);
    // The maximum may ignore NaN: the sum does not.
    float largest = -INFINITY, sum = 0;
    own.for_each(vocabulary, load, [&](index_type, float4 x) {
      const float most = fmaxf(fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w)), largest);
      const float4 e = map_four([&](float value) { return exp_below(value, most); }, x);
      sum = sum * exp_below(largest, most) + (e.x + e.y + e.z + e.w);
      largest = most;
    });
    float all = largest;
    STRATA_UNROLL
    for (int apart = warp_size / 2; apart > 0; apart /= 2) all = fmaxf(all, __shfl_xor_sync(all_lanes, all, apart));
    sum = warp_sum(sum * exp_below(largest, all));
    if (counts) lost += static_cast<double>(logf(sum) + all - wanted);
    if (gradient == nullptr) continue;
    const float factor = counts ? scale / static_cast<float>(counted[0]) : 0;
    __syncwarp();  // all lanes have read row[target], which the gradient may replace
    own.for_each(vocabulary, load, [&](index_type v, float4 x) {
      float4 share = map_four([&](float value) { return factor * (expf(value - all) / sum); }, x);
      const index_type at = target - v;
      share.x -= at == 0 ? factor : 0, share.y -= at == 1 ? factor : 0;
      share.z -= at == 2 ? factor : 0, share.w -= at == 3 ? factor : 0;
      memory.store(gradient + r * vocabulary, v, share);
    });
  }
  keep_partial<threads_of_losses>(lane == 0 ? lost : 0.0, partial);
}

/// x y / (|x| |y|); each lane of a warp sums some channels.
struct cosine_of_rows {
  float xx = 0, yy = 0, xy = 0, x_norm = 0, y_norm = 0, value = 0;
  __device__ __forceinline__ void add(float x, float y) {
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  /// Past the last column both are 0.
  __device__ __forceinline__ void add(const two_fours& own) {
    add(own.x.x, own.y.x), add(own.x.y, own.y.y), add(own.x.z, own.y.z), add(own.x.w, own.y.w);
  }
  __device__ __forceinline__ void finish(float smallest_norm) {
    x_norm = sqrtf(warp_sum(xx)), y_norm = sqrtf(warp_sum(yy));
    x_norm = x_norm < smallest_norm ? smallest_norm : x_norm;  // not fmaxf, which ignores NaN
    y_norm = y_norm < smallest_norm ? smallest_norm : y_norm;
    value = warp_sum(xy) / (x_norm * y_norm);
  }
  __device__ __forceinline__ float slope_of_x(float x, float y) const {
    return (y / y_norm - value * (x / x_norm)) / x_norm;
  }
  __device__ __forceinline__ float slope_of_y(float x, float y) const {
    return (x / x_norm - value * (y / y_norm)) / y_norm;
  }
};

/// One warp per row of prediction[B,n,D]; factor = -scale / pairs.
template <int Held>
__global__ void cosine_distance_kernel(const float* prediction, const float* embedding, fours memory, index_type rows,
                                       index_type length, float factor, double* partial, float* dprediction,
                                       float* dembedding) {
  const int lane = lane_of_thread();
  const index_type dim = memory.columns;
  double lost = 0;
  for (index_type r = row_of_warp(); r < rows; r += warps_of_grid()) {
    const index_type at = r * dim, next = at + dim;
    if (r % length + 1 == length) {
      if (dprediction == nullptr) continue;
      for (index_type d = 4 * lane; d < dim; d += 4 * warp_size)
        memory.store(dprediction + at, d, make_float4(0, 0, 0, 0));
      continue;
    }
    const auto load = [&](index_type d) {
      return two_fours{memory.load(prediction + at, d), memory.load(embedding + next, d)};
    };
    row_of_lane<two_fours, Held> row;
    row.read(dim, load);
    cosine_of_rows cosine;
    row.for_each(dim, load, [&](index_type, const two_fours& own) { cosine.add(own); });
    cosine.finish(1e-12f);
    lost += 1.0 - static_cast<double>(cosine.value);
    if (dprediction == nullptr) continue;
    row.for_each(dim, load, [&](index_type d, const two_fours& own) {
      const auto of_x = [&](float x, float y) { return factor * cosine.slope_of_x(x, y); };
      const auto of_y = [&](float before, float x, float y) { return before + factor * cosine.slope_of_y(x, y); };
      memory.store(dprediction + at, d, map_four(of_x, own.x, own.y));
      memory.store(dembedding + next, d, map_four(of_y, memory.load(dembedding + next, d), own.x, own.y));
    });
  }
  keep_partial<threads_of_losses>(lane == 0 ? lost : 0.0, partial);
}

struct embedding_distance_shape {
  index_type rows, length, embeddings, first;  ///< B m, m, n of the embedding
  float squared, smooth, along, share, decay;  ///< the first two divided by D
};

/// One warp per row of prediction[B,m,D].
template <int Held>
__global__ void embedding_distance_kernel(embedding_distance_shape shape, fours memory, const float* prediction,
                                          const float* embedding, const token* targets, token ignore, float scale,
                                          const double* counted, double* partial, float* lost, float* dprediction,
                                          float* dembedding) {
  const int lane = lane_of_thread();
  const index_type dim = memory.columns;
  double total = 0;
  for (index_type r = row_of_warp(); r < shape.rows; r += warps_of_grid()) {
    const index_type at = r * dim;
    const index_type other = (r / shape.length * shape.embeddings + shape.first + r % shape.length) * dim;
    const auto load = [&](index_type d) {
      return two_fours{memory.load(prediction + at, d), memory.load(embedding + other, d)};
    };
    row_of_lane<two_fours, Held> row;
    row.read(dim, load);
    cosine_of_rows cosine;
    float distance = 0;
    row.for_each(dim, load, [&](index_type, const two_fours& own) {
      const float4 each = map_four(
          [&](float x, float y) {
            const float apart = fabsf(x - y);
            return shape.squared * apart * apart + shape.smooth * (apart < 1 ? apart * apart / 2 : apart - 0.5f);
          },
          own.x, own.y);
      distance += each.x + each.y + each.z + each.w;
      cosine.add(own);
    });
    cosine.finish(1e-8f);
    distance = warp_sum(distance) + shape.along * (1 - cosine.value);
    const bool counts = is_counted(targets[r], ignore);
    const float before = lost[r], share = counts ? shape.share * expf(-shape.decay * before) : 0;
    total += static_cast<double>(share * distance);
    __syncwarp();  // all lanes have read lost[r]
    if (lane == 0) lost[r] = before + distance;
    if (dprediction == nullptr) continue;
    const float factor = counts ? scale * share / static_cast<float>(counted[0]) : 0;
    const auto pull = [&](float x, float y) {
      const float apart = x - y, clamped = apart < -1 ? -1.f : apart > 1 ? 1.f : apart;
      return 2 * shape.squared * apart + shape.smooth * clamped;
    };
    row.for_each(dim, load, [&](index_type d, const two_fours& own) {
      const auto of_x = [&](float x, float y) { return factor * (pull(x, y) - shape.along * cosine.slope_of_x(x, y)); };
      const auto of_y = [&](float old, float x, float y) {
        return old - factor * (pull(x, y) + shape.along * cosine.slope_of_y(x, y));
      };
      memory.store(dprediction + at, d, map_four(of_x, own.x, own.y));
      if (dembedding != nullptr)
        memory.store(dembedding + other, d, map_four(of_y, memory.load(dembedding + other, d), own.x, own.y));
    });
  }
  keep_partial<threads_of_losses>(lane == 0 ? total : 0.0, partial);
}

/// partial[3,blocks]: sums of the loss, dlog_scale and dbias; without `gradient` only the first.
template <int Threads>
__global__ void sigmoid_pairs_kernel(float* cosines, index_type count, index_type columns, index_type first,
                                     const float* log_scale, const float* bias, float factor, bool gradient,
                                     double* partial) {
  const float slope = expf(log_scale[0]), shift = bias[0];
  double sums[3] = {};
  for (index_type n = static_cast<index_type>(blockIdx.x) * Threads + threadIdx.x; n < count;
       n += static_cast<index_type>(gridDim.x) * Threads) {
    const float cosine = cosines[n], label = first + n / columns == n % columns ? 1.f : -1.f;
    const float z = -label * (slope * cosine + shift), small = expf(-fabsf(z));
    sums[0] += static_cast<double>((z < 0 ? 0 : z) + log1pf(small));  // softplus(z)
    if (!gradient) continue;
    const float dlogit = -label * factor * (z < 0 ? small : 1.f) / (1 + small);  // sigmoid(z)
    sums[1] += static_cast<double>(dlogit * slope * cosine);
    sums[2] += static_cast<double>(dlogit);
    cosines[n] = dlogit * slope;
  }
  for (int which = 0; which < (gradient ? 3 : 1); ++which)
    keep_partial<Threads>(sums[which], partial + which * static_cast<index_type>(gridDim.x));
}

inline void count_targets(cuda& backend, const view<const token, 1>& targets, token ignore, double* counted) {
  launch(backend, {1, threads_of_totals}, count_targets_kernel<threads_of_totals>, targets.data, targets.size(), ignore,
         counted);
}

}  // namespace device

inline void window_targets(cuda& backend, view<const token, 2> ids, int stride, index_type offset,
                           view<token, 3> targets) {
  device::for_each_element(
      backend, targets.size(),
      device::window_target{ids.data, ids.shape[1], stride, offset, targets.data, targets.shape[1], targets.shape[2]});
}

inline void quantize(cuda& backend, input<float, 3> x, input<float, 3> projections, input<float, 3> codebooks,
                     view<token, 3> codes) {
  constexpr int threads = device::threads_of_losses, rows_a_block = 8;
  const auto [books, dim, width] = projections.shape;
  const device::quantize_shape shape{
      x.shape[1],
      codes.shape[1],
      codes.shape[0] * codes.shape[1],
      static_cast<int>(dim),
      static_cast<int>(width),
      static_cast<int>(codebooks.shape[1]),
  };
  device::launch(backend,
                 {dim3(device::blocks_for(shape.rows, rows_a_block), static_cast<unsigned>(books)), threads,
                  static_cast<std::size_t>(rows_a_block * width) * sizeof(float)},
                 device::quantize_kernel<threads, rows_a_block>, shape, x.data, projections.data, codebooks.data,
                 codes.data);
}

inline void cross_entropy(cuda& backend, input<float, 2> logits, view<const token, 1> targets, token ignore,
                          float scale, output<float, 1> loss, output<float, 2> gradient) {
  constexpr int threads = device::threads_of_losses;
  const index_type rows = logits.shape[0], vocabulary = logits.shape[1];
  const index_type blocks = device::blocks_of_sums(rows, threads / device::warp_size);
  double* const counted = device::double_scratch(backend, 1 + blocks);
  double* const partial = counted + 1;
  device::count_targets(backend, targets, ignore, counted);
  device::with_held_parts(vocabulary, [&](auto held) {
    device::launch(backend, {static_cast<unsigned>(blocks), threads}, device::cross_entropy_kernel<held()>, logits.data,
                   device::fours(vocabulary, {}, {logits.data, gradient.data}), targets.data, ignore, scale, rows,
                   counted, partial, gradient.data);
  });
  device::total_of_partials(backend, partial, blocks, counted, 0, loss.data, update::add);
}

inline void cosine_distance(cuda& backend, input<float, 3> prediction, input<float, 3> embedding, float scale,
                            output<float, 1> loss, output<float, 3> dprediction, output<float, 3> dembedding) {
  constexpr int threads = device::threads_of_losses;
  const index_type batch = prediction.shape[0], length = prediction.shape[1], dim = prediction.shape[2];
  const index_type rows = batch * length, blocks = device::blocks_of_sums(rows, threads / device::warp_size);
  const double pairs = static_cast<double>(batch * (length - 1));
  double* const partial = device::double_scratch(backend, blocks);
  device::with_held_parts(dim, [&](auto held) {
    device::launch(backend, {static_cast<unsigned>(blocks), threads}, device::cosine_distance_kernel<held()>,
                   prediction.data, embedding.data,
                   device::fours(dim, {}, {prediction.data, embedding.data, dprediction.data, dembedding.data}), rows,
                   length, -scale / static_cast<float>(pairs), partial, dprediction.data, dembedding.data);
  });
  device::total_of_partials(backend, partial, blocks, nullptr, pairs, loss.data, update::add);
}

inline void embedding_distance(cuda& backend, const distance_settings& settings, input<float, 3> prediction,
                               input<float, 3> embedding, index_type first, view<const token, 1> targets, token ignore,
                               float scale, output<float, 1> loss, output<float, 1> lost, output<float, 3> dprediction,
                               output<float, 3> dembedding) {
  constexpr int threads = device::threads_of_losses;
  const index_type batch = prediction.shape[0], length = prediction.shape[1], dim = prediction.shape[2];
  const index_type rows = batch * length, blocks = device::blocks_of_sums(rows, threads / device::warp_size);
  const device::embedding_distance_shape shape{
      rows,
      length,
      embedding.shape[1],
      first,
      static_cast<float>(settings.squared / static_cast<double>(dim)),
      static_cast<float>(settings.smooth / static_cast<double>(dim)),
      static_cast<float>(settings.cosine),
      static_cast<float>(settings.share),
      static_cast<float>(settings.decay),
  };
  double* const counted = device::double_scratch(backend, 1 + blocks);
  double* const partial = counted + 1;
  device::count_targets(backend, targets, ignore, counted);
  device::with_held_parts(dim, [&](auto held) {
    device::launch(backend, {static_cast<unsigned>(blocks), threads}, device::embedding_distance_kernel<held()>, shape,
                   device::fours(dim, {}, {prediction.data, embedding.data, dprediction.data, dembedding.data}),
                   prediction.data, embedding.data, targets.data, ignore, scale, counted, partial, lost.data,
                   dprediction.data, dembedding.data);
  });
  device::total_of_partials(backend, partial, blocks, counted, 0, loss.data, update::add);
}

inline void sigmoid_pairs(cuda& backend, output<float, 2> cosines, index_type first, input<float, 1> log_scale,
                          input<float, 1> bias, float scale, output<float, 1> loss, output<float, 1> dlog_scale,
                          output<float, 1> dbias) {
  constexpr int threads = device::threads_of_losses;
  const index_type columns = cosines.shape[1], count = cosines.size(), blocks = device::blocks_of_sums(count, threads);
  double* const partial = device::double_scratch(backend, 3 * blocks);
  device::launch(backend, {static_cast<unsigned>(blocks), threads}, device::sigmoid_pairs_kernel<threads>, cosines.data,
                 count, columns, first, log_scale.data, bias.data, scale / static_cast<float>(columns), bool(dbias),
                 partial);
  device::total_of_partials(backend, partial, blocks, nullptr, static_cast<double>(columns), loss.data, update::add);
  if (!dbias) return;
  device::total_of_partials(backend, partial + blocks, blocks, nullptr, 1, dlog_scale.data, update::add);
  device::total_of_partials(backend, partial + 2 * blocks, blocks, nullptr, 1, dbias.data, update::add);
}

}  // namespace strata
