// Formats of weights that are only read: unchanged, upper halves of floats, or 8-bit integers with one scale per row.
// Shapes: a matrix [N,K]; in int8 its scales [N].
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include <strata/core/small_floats.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// `float32` leaves the weights of the model unchanged.
enum class weight_format { float32, bfloat16, int8 };

/// A packed matrix [N,K] in a buffer of scalars. In int8 its scales come first.
template <class S>
struct packed_matrix {
  S* first;
  std::array<index_type, 2> shape;

  /// Scalars that the matrix occupies.
  static constexpr index_type size(weight_format format, std::array<index_type, 2> shape) {
    const index_type count = shape[0] * shape[1], width = sizeof(S);
    if (format == weight_format::bfloat16) return (2 * count + width - 1) / width;
    if (format == weight_format::int8) return scales_size(shape) + (count + width - 1) / width;
    return count;
  }
  view<S, 1> scale() const { return {first, {shape[0]}}; }
  auto bytes() const { return numbers<std::int8_t>(first + scales_size(shape)); }
  auto halves() const { return numbers<bfloat16>(first); }

 private:
  /// Rounded up to whole cache lines.
  static constexpr index_type scales_size(std::array<index_type, 2> shape) { return (shape[0] + 15) / 16 * 16; }
  template <class T>
  auto numbers(S* from) const {
    using element = std::conditional_t<std::is_const_v<S>, const T, T>;
    return view<element, 2>{reinterpret_cast<element*>(from), shape};
  }
};

}  // namespace strata
