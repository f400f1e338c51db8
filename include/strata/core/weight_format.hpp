// How weights that are only read may lie in memory: as they are, as the upper halves of floats, or as whole numbers with
// one scale a row.
// Shapes: a matrix [N,K]; in int8 its scales [N].
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include <strata/core/small_floats.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// `float32` is the format of the weights that a model has.
enum class weight_format { float32, bfloat16, int8 };

/// A packed matrix [N,K] inside a memory of scalars: in int8 its scales come first.
template <class S>
struct packed_matrix {
  S* first;
  std::array<index_type, 2> shape;

  /// Scalars that the matrix takes.
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
  /// Whole cache lines.
  static constexpr index_type scales_size(std::array<index_type, 2> shape) { return (shape[0] + 15) / 16 * 16; }
  template <class T>
  auto numbers(S* from) const {
    using element = std::conditional_t<std::is_const_v<S>, const T, T>;
    return view<element, 2>{reinterpret_cast<element*>(from), shape};
  }
};

}  // namespace strata
