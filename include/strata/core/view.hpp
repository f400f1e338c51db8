// A pointer with a shape. Every operation takes its tensors as views.
// Shapes: rank 1 to 4, row-major and contiguous; a view never owns memory.
// The axis letters are those of docs/model.md: B batch, T tokens, D model width, H heads, E head
// width, W window, V vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

using index_type = std::ptrdiff_t;
using token = std::int32_t;
/// Ends a row of tokens before its last place: as a label it counts in no loss.
inline constexpr token no_token = -1;

template <class T, int Rank>
struct view {
  T* data = nullptr;
  std::array<index_type, Rank> shape{};

  constexpr view() = default;
  constexpr view(T* elements, std::array<index_type, Rank> extents) : data(elements), shape(extents) {}

  /// A view of mutable elements can be read as a view of constant ones.
  template <class U>
  requires(std::is_same_v<const U, T> && !std::is_const_v<U>) constexpr view(const view<U, Rank>& other)
      : data(other.data), shape(other.shape) {}

  constexpr index_type size() const {
    index_type count = 1;
    for (index_type extent : shape) count *= extent;
    return count;
  }
  constexpr explicit operator bool() const { return data != nullptr; }

  template <class... Position>
  requires(sizeof...(Position) == Rank) constexpr T& operator()(Position... position) const {
    index_type offset = 0;
    int axis = 0;
    ((offset = offset * shape[axis++] + static_cast<index_type>(position)), ...);
    return data[offset];
  }

  /// The same elements under another shape of the same size.
  template <int OtherRank>
  constexpr view<T, OtherRank> reshape(std::array<index_type, OtherRank> other) const {
    view<T, OtherRank> result{data, other};
    STRATA_ASSERT(result.size() == size());
    return result;
  }
  constexpr view<T, 1> flat() const { return {data, {size()}}; }

  /// All axes but the last joined: [.., D] as [rows, D].
  constexpr view<T, 2> rows() const requires(Rank >= 2) {
    const index_type width = shape[Rank - 1];
    return {data, {width == 0 ? 0 : size() / width, width}};
  }

  /// `count` entries of the first axis, from `first` on.
  constexpr view slice(index_type first, index_type count) const {
    STRATA_ASSERT(first >= 0 && count >= 0 && first + count <= shape[0]);
    view result = *this;
    index_type stride = 1;
    for (int axis = 1; axis < Rank; ++axis) stride *= shape[axis];
    result.data += first * stride;
    result.shape[0] = count;
    return result;
  }

  /// Entry `position` of the first axis.
  constexpr view<T, Rank - 1> operator[](index_type position) const requires(Rank >= 2) {
    view<T, Rank - 1> result;
    index_type stride = 1;
    for (int axis = 1; axis < Rank; ++axis) {
      result.shape[axis - 1] = shape[axis];
      stride *= shape[axis];
    }
    result.data = data + position * stride;
    return result;
  }
};

// Parameter types of the operations. They are not deduced, so that a mutable view converts to a constant one.
template <class T, int Rank>
using input = std::type_identity_t<view<const T, Rank>>;
template <class T, int Rank>
using output = std::type_identity_t<view<T, Rank>>;

}  // namespace strata
