// The list of all merges, and the one that a description chooses. A new merge is one file and one line here.
// Shapes: x_l [B,n_l,d_l] for every level -> the same, in place.
// Source: docs/model.md.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>

#include <strata/merges/concatenate.hpp>
#include <strata/merges/level_attention.hpp>
#include <strata/merges/level_shift.hpp>
#include <strata/merges/separable.hpp>

namespace strata::inline STRATA_ABI {

using all_merges = std::tuple<concatenate_merge, separable_merge, level_attention_merge, level_shift_merge>;

namespace detail {

/// Where nothing is merged no rule can be broken.
template <class Config, class Merge>
constexpr bool keeps_merge_rules() {
  if constexpr (facts<Config>::merges) return Merge::template check<Config>();
  return true;
}

template <class Config, class All = all_merges>
struct merge_by_name;
template <class Config, class... Merge>
struct merge_by_name<Config, std::tuple<Merge...>> {
  static constexpr std::array<std::string_view, sizeof...(Merge)> names{Merge::name...};
  static constexpr std::size_t position =
      static_cast<std::size_t>(std::find(names.begin(), names.end(), Config::merge) - names.begin());
  static constexpr bool exists = position < names.size();
  static_assert(exists, "strata: merge names one that does not exist; the list is in merges/merges.hpp");
  using type = std::tuple_element_t<exists ? position : 0, std::tuple<Merge...>>;
  static_assert(keeps_merge_rules<Config, type>());
};

}  // namespace detail

/// The merge that the description `Config` chooses.
template <class Config>
inline constexpr auto chosen_merge = detail::merge_by_name<Config>::type::template of<Config>();
template <class Config>
using merge_of = typename detail::merge_by_name<Config>::type;

}  // namespace strata
