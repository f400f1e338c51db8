// Enumerations whose values have names, in files, messages and options of programs.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

#include <strata/core/platform.hpp>

namespace strata::inline STRATA_ABI {

/// An enumeration whose names names_of(value) lists.
template <class Kind>
concept named_kind = std::is_enum_v<Kind> && requires(Kind kind) {
  names_of(kind);
};

template <named_kind Kind>
constexpr std::string_view name_of(Kind kind) {
  return names_of(kind)[static_cast<std::size_t>(kind)];
}

}  // namespace strata
