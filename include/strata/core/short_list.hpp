// A list with a largest length. A constant can hold it, written as {a, b, c}.
#pragma once

#include <array>
#include <initializer_list>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// Holds up to `Most` elements. A longer list keeps its length but loses the elements beyond `Most`; a rule reports it.
template <class T, int Most>
class short_list {
 public:
  static constexpr int most = Most;
  constexpr short_list() = default;
  constexpr short_list(std::initializer_list<T> elements) {
    for (const T& element : elements) push_back(element);
  }
  constexpr void push_back(const T& element) {
    if (count_ < Most) elements_[static_cast<unsigned>(count_)] = element;
    ++count_;
  }
  constexpr int size() const { return count_; }
  constexpr bool fits() const { return count_ <= Most; }
  constexpr T& operator[](int i) { return elements_[static_cast<unsigned>(i)]; }
  constexpr const T& operator[](int i) const { return elements_[static_cast<unsigned>(i)]; }
  constexpr const T* begin() const { return elements_.data(); }
  constexpr const T* end() const { return elements_.data() + (fits() ? count_ : Most); }
  constexpr bool operator==(const short_list&) const = default;

 private:
  std::array<T, static_cast<unsigned>(Most)> elements_{};
  int count_ = 0;
};

}  // namespace strata
