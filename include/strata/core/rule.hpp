// A rule: a condition, and the compiler's sentence where it does not hold.
#pragma once

#include <type_traits>

#include <strata/core/platform.hpp>

/// In a class: the constant `name` and its static_assert.
#define STRATA_RULE(name, rule, sentence) \
  static constexpr bool name = rule;      \
  static_assert(name, "strata: " sentence)

namespace strata::inline STRATA_ABI {

/// Whether the rules of `Check` hold. In clang a class with a failed static_assert has no constants; asking for `passed`
/// here is no second error.
template <class Check>
concept passes = requires {
  typename std::enable_if<Check::passed>::type;
};

}  // namespace strata
