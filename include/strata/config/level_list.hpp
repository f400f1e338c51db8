// The levels of a description, written as {{.dim = 128}, {.compression = 2, .dim = 192}}.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include <strata/config/level.hpp>

namespace strata::inline STRATA_ABI {

/// Holds up to `most_levels` levels. It is an aggregate, so that the compiler names a misspelt field of a level.
struct level_list {
  static constexpr level absent{.compression = std::numeric_limits<int>::min()};

  level level_0 = absent, level_1 = absent, level_2 = absent, level_3 = absent;
  level level_4 = absent, level_5 = absent, level_6 = absent, level_7 = absent;
  level one_too_many = absent;  ///< a rule reports it

  constexpr int size() const {
    int count = most_levels + 1;
    while (count > 0 && (*this)[count - 1] == absent) --count;
    return count;
  }
  constexpr bool fits() const { return one_too_many == absent; }
  constexpr void push_back(const level& added) { (*this)[std::min(size(), most_levels)] = added; }
  constexpr level& operator[](int i) { return this->*fields[static_cast<std::size_t>(i)]; }
  constexpr const level& operator[](int i) const { return this->*fields[static_cast<std::size_t>(i)]; }
  constexpr bool operator==(const level_list&) const = default;

  /// Visits the levels in order; they are no array.
  struct iterator {
    const level_list* list;
    int i;
    constexpr const level& operator*() const { return (*list)[i]; }
    constexpr iterator& operator++() {
      ++i;
      return *this;
    }
    constexpr bool operator==(const iterator&) const = default;
  };
  constexpr iterator begin() const { return {this, 0}; }
  constexpr iterator end() const { return {this, std::min(size(), most_levels)}; }

 private:
  using field = level level_list::*;
  static constexpr std::array<field, most_levels + 1> fields{
      &level_list::level_0, &level_list::level_1, &level_list::level_2, &level_list::level_3,     &level_list::level_4,
      &level_list::level_5, &level_list::level_6, &level_list::level_7, &level_list::one_too_many};
};

}  // namespace strata
