// linear and its two gradients: own inner products for a few rows, else oneDNN if the program has it, else own matrix
// products. Packed weights are unpacked first if many rows share them.
// Shapes: x [R,K], weight [N,K], bias [N] or empty -> y [R,N].
// Source: oneDNN, matmul primitive.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include <strata/backend/cpu/context.hpp>
#include <strata/backend/cpu/operations.hpp>

#if STRATA_HAS_ONEDNN
#include <strata/backend/cpu/matrix_products_onednn.hpp>
#else
namespace strata::inline STRATA_ABI {
class onednn_products {};
}  // namespace strata
#endif

namespace strata::inline STRATA_ABI {

/// Up to this many rows, memory limits the speed, not arithmetic: every weight is read only once.
inline constexpr index_type few_rows = 4;
/// From this many rows on, unpacking weights pays off.
inline constexpr index_type many_rows = 32;

/// The inputs as they are, or rounded into shared memory if bfloat16 is emulated.
struct product_inputs {
  view<const float, 2> first, second;
  product_inputs(cpu& backend, view<const float, 2> x, view<const float, 2> y) : first(x), second(y) {
    if (backend.precision() != product_precision::bfloat16_emulated) return;
    const view<float, 1> memory{backend.shared_memory(x.size() + y.size()), {x.size() + y.size()}};
    round_to_bfloat16(backend, x.flat(), memory.slice(0, x.size()));
    round_to_bfloat16(backend, y.flat(), memory.slice(x.size(), y.size()));
    first.data = memory.data;
    second.data = memory.data + x.size();
  }
};

#if STRATA_HAS_ONEDNN
/// Null where strata's own kernel computes the product: by choice, or for no terms, since oneDNN 2.6 then divides by
/// zero on some processors.
inline onednn_products* onednn_for(cpu& backend, index_type terms) { return terms > 0 ? backend.onednn() : nullptr; }
#endif

inline void linear(cpu& backend, input<float, 2> given_x, input<float, 2> given_weight, input<float, 1> bias,
                   output<float, 2> y, update mode) {
  const exclusive_use in_use(backend);
  if (given_x.shape[0] <= few_rows) return linear_few_rows(backend, given_x, given_weight, {}, bias, y, mode);
  const auto [x, weight] = product_inputs(backend, given_x, given_weight);
#if STRATA_HAS_ONEDNN
  if (auto* const onednn = onednn_for(backend, x.shape[1])) return onednn->linear(backend, x, weight, bias, y, mode);
#endif
  const index_type depth = x.shape[1];
  multiply(backend, depth, {x.data, depth, 1}, {weight.data, 1, depth}, bias, y, mode);
}

inline void linear_backward_input(cpu& backend, input<float, 2> given_dy, input<float, 2> given_weight,
                                  output<float, 2> dx, update mode) {
  const exclusive_use in_use(backend);
  const auto [dy, weight] = product_inputs(backend, given_dy, given_weight);
#if STRATA_HAS_ONEDNN
  if (auto* const onednn = onednn_for(backend, dy.shape[1]))
    return onednn->backward_input(backend, dy, weight, dx, mode);
#endif
  multiply(backend, dy.shape[1], {dy.data, dy.shape[1], 1}, {weight.data, dx.shape[1], 1}, {}, dx, mode);
}

inline void linear_backward_weight(cpu& backend, input<float, 2> given_dy, input<float, 2> given_x,
                                   output<float, 2> dweight, output<float, 1> dbias) {
  const exclusive_use in_use(backend);
  if (dbias) add_column_sums(backend, given_dy, dbias);
  const auto [dy, x] = product_inputs(backend, given_dy, given_x);
#if STRATA_HAS_ONEDNN
  if (auto* const onednn = onednn_for(backend, dy.shape[0])) return onednn->backward_weight(backend, dy, x, dweight);
#endif
  multiply(backend, dy.shape[0], {dy.data, 1, dy.shape[1]}, {x.data, x.shape[1], 1}, {}, dweight, update::add);
}

inline void pack_bfloat16(cpu& backend, input<float, 1> x, view<bfloat16, 1> packed) {
  backend.parallel(x.size(), 1, [&](index_type begin, index_type end) {
    for (index_type n = begin; n < end; ++n) packed.data[n] = to_bfloat16(x.data[n]);
  });
}

inline void pack_int8(cpu& backend, input<float, 2> weight, view<std::int8_t, 2> packed, output<float, 1> scale) {
  const index_type depth = weight.shape[1];
  backend.parallel(weight.shape[0], 8 * depth, [&](index_type begin, index_type end) {
    for (index_type n = begin; n < end; ++n) {
      const float* const row = weight.data + n * depth;
      float largest = 0;
      bool finite = true;
      for (index_type k = 0; k < depth; ++k) {
        finite = finite && std::isfinite(row[k]);
        largest = std::max(largest, std::abs(row[k]));
      }
      const float own = finite ? largest / 127 : std::numeric_limits<float>::quiet_NaN();
      scale(n) = own;
      for (index_type k = 0; k < depth; ++k)
        packed.data[n * depth + k] =
            own > 0 ? static_cast<std::int8_t>(std::clamp(std::nearbyint(row[k] / own), -127.f, 127.f))
                    : std::int8_t{0};
    }
  });
}

/// Any number of rows; an empty scale counts as 1.
template <class Weight>
void linear_packed(cpu& backend, input<float, 2> x, view<const Weight, 2> packed, input<float, 1> scale,
                   input<float, 1> bias, output<float, 2> y, update mode) {
  const exclusive_use in_use(backend);
  const index_type rows = x.shape[0];
  if (rows >= many_rows) {
    const view<float, 2> weight{backend.weight_memory(packed.size()), packed.shape};
    unpack(backend, packed, scale, weight);
    return linear(backend, x, weight, bias, y, mode);
  }
  for (index_type first = 0; first < rows; first += few_rows) {
    const index_type count = std::min(few_rows, rows - first);
    linear_few_rows(backend, x.slice(first, count), packed, scale, bias, y.slice(first, count), mode);
  }
}

inline void linear_bfloat16(cpu& backend, input<float, 2> x, view<const bfloat16, 2> packed, input<float, 1> bias,
                            output<float, 2> y, update mode) {
  linear_packed(backend, x, packed, {}, bias, y, mode);
}

inline void linear_int8(cpu& backend, input<float, 2> x, view<const std::int8_t, 2> packed, input<float, 1> scale,
                        input<float, 1> bias, output<float, 2> y, update mode) {
  linear_packed(backend, x, packed, scale, bias, y, mode);
}

inline cpu::cpu(cpu_options options) try
    : instructions_(chosen_instructions(options.instructions)),
      precision_(options.precision),
      pool_(resolved_threads(options)),
      thread_memory_(static_cast<std::size_t>(pool_.threads())) {
  if (const int processors = available_processors(); threads() > processors)
    say(to_text(threads(), " threads were asked for, but this process has ", processors,
                processors == 1 ? " processor: 1 thread does" : to_text(" processors: ", processors, " threads do"),
                " the work of all"));
#if STRATA_HAS_ONEDNN
  bool uses_onednn = options.products != matrix_products::own;
  if (const std::string problem = onednn_threads::problem(); uses_onednn && !problem.empty()) {
    require(options.products != matrix_products::onednn, problem);
    say(problem + ": strata multiplies matrices itself");
    uses_onednn = false;
  }
  const bool has_bfloat16 = uses_onednn && onednn_products::has_bfloat16();
#else
  require(options.products != matrix_products::onednn, "this program was built without oneDNN");
  const bool uses_onednn = false, has_bfloat16 = false;
#endif
  if (precision_ == product_precision::bfloat16 && !has_bfloat16) {
    precision_ = product_precision::float32;
    say(uses_onednn ? "this processor has no matrix products in bfloat16 (AVX512-BF16): they are computed in float32"
                    : "matrix products in bfloat16 need oneDNN: they are computed in float32");
  }
#if STRATA_HAS_ONEDNN
  if (!uses_onednn) return;
  onednn_ = std::make_shared<onednn_products>(pool_.threads(), precision_ == product_precision::bfloat16);
  // Now, because a later product may find no memory for it.
  run(threads(), [this](int thread, int) { onednn_->enter(thread); });
#endif
} catch (const std::bad_alloc&) {
  fail("there is too little memory for a cpu backend of ", options.threads, " threads");
} catch (const std::length_error&) {
  fail("there is too little memory for a cpu backend of ", options.threads, " threads");
}

}  // namespace strata
