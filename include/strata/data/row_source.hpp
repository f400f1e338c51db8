// What a trainer learns from, and what it is measured on.
// Shapes: a row for length T is T + 1 ids: inputs are the first T, labels the last T. A row that is shorter ends with
// `no_token`.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include <strata/core/platform.hpp>
#include <strata/core/view.hpp>

namespace strata::inline STRATA_ABI {

/// Fills rows of training: a pure function of step and row, so that a resumed run, or one of several processes, sees
/// the same rows. Steps count from 0, rows over all passes of a step.
template <class Source>
concept row_source = requires(const Source& source, index_type step, index_type row, std::span<token> ids) {
  source.fill(step, row, ids);
};

/// The rows of an evaluation. They are for one length, T.
template <class Windows>
concept window_list = requires(const Windows& windows, index_type position, std::span<token> ids) {
  { windows.count() } -> std::convertible_to<index_type>;
  windows.copy(position, ids);
};

namespace detail {

/// The stream of random numbers that choose where rows begin: letters in the upper half, the row in the lower.
inline constexpr std::uint64_t crop_stream = std::uint64_t{0x63726f70} << 32;  // "crop"

}  // namespace detail

}  // namespace strata
