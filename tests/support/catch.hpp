// Catch2, whichever version is installed: 3, or 2.13 as Debian 12 ships it.
// Where the names differ, tests write `Approx(1.0)` and `Catch::Matchers::ContainsSubstring("words")`.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>

using Catch::Approx;
#else
#include <catch2/catch.hpp>
#include <string>

namespace Catch::Matchers {
inline StdString::ContainsMatcher ContainsSubstring(const std::string& text) { return Contains(text); }
}  // namespace Catch::Matchers
#endif
