// A list with a largest length that is an aggregate, written as {{.dim = 128}, {.dim = 192}}.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// Holds up to `most` elements. An aggregate lets the compiler name a misspelt field of an element; short_list does not.
/// T::absent() is a value that no element has.
template <class T>
struct aggregate_list {
  static constexpr int most = 8;

  T element_0 = T::absent(), element_1 = T::absent(), element_2 = T::absent(), element_3 = T::absent();
  T element_4 = T::absent(), element_5 = T::absent(), element_6 = T::absent(), element_7 = T::absent();
  T one_too_many = T::absent();  ///< a rule reports it

  constexpr int size() const {
    int count = most + 1;
    while (count > 0 && (*this)[count - 1] == T::absent()) --count;
    return count;
  }
  constexpr bool fits() const { return one_too_many == T::absent(); }
  constexpr void push_back(const T& added) { (*this)[std::min(size(), most)] = added; }
  constexpr T& operator[](int i) { return this->*fields[static_cast<std::size_t>(i)]; }
  constexpr const T& operator[](int i) const { return this->*fields[static_cast<std::size_t>(i)]; }
  constexpr bool operator==(const aggregate_list&) const = default;

  /// Visits the elements in order; they are no array.
  struct iterator {
    const aggregate_list* list;
    int i;
    constexpr const T& operator*() const { return (*list)[i]; }
    constexpr iterator& operator++() {
      ++i;
      return *this;
    }
    constexpr bool operator==(const iterator&) const = default;
  };
  constexpr iterator begin() const { return {this, 0}; }
  constexpr iterator end() const { return {this, std::min(size(), most)}; }

 private:
  using field = T aggregate_list::*;
  static constexpr std::array<field, most + 1> fields{
      &aggregate_list::element_0, &aggregate_list::element_1, &aggregate_list::element_2,
      &aggregate_list::element_3, &aggregate_list::element_4, &aggregate_list::element_5,
      &aggregate_list::element_6, &aggregate_list::element_7, &aggregate_list::one_too_many};
};

}  // namespace strata
