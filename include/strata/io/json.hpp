// JSON from files that may be damaged: parsing and reading numbers, with errors in words.
// Source: RFC 8259.
#pragma once

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/small_floats.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Text from a file for a message: quoted, escaped, and not too long.
inline std::string printable(std::string_view text, std::size_t longest = 120) {
  const std::string start(text.substr(0, longest));
  return nlohmann::json(start).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         (text.size() > longest ? "..." : "");
}

/// The fewest digits that identify the number.
template <class Number>
std::string digits(Number number) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

/// A value for a message.
inline std::string value_text(const nlohmann::json& value) {
  if (value.is_number_float()) return digits(value.get<double>());
  if (value.is_string()) return printable(std::string_view(value.get_ref<const std::string&>()), 40);
  if (value.is_structured() || value.is_binary()) return std::string("of type ") + value.type_name();
  return value.dump();
}

}  // namespace detail

/// Parses a text in JSON. Besides invalid JSON, it refuses an object with two equal keys (a tree would keep only one)
/// and more than 64 levels (code that walks the tree could overflow the stack).
inline nlohmann::json parse_json(std::string_view text, const std::string& source) {
  using json = nlohmann::json;
  // The parser would stop at a zero byte and ignore the rest.
  const std::size_t zero = text.find('\0');
  require(zero == text.npos, source, ": not valid JSON: a zero byte at byte ", zero);
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::string last;
  const auto look = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > 64) fail(source, ": JSON of more than 64 levels");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key) {
      last = parsed.get<std::string>();
      if (!keys.back().insert(last).second) fail(source, ": ", detail::printable(last), " appears twice in an object");
    }
    return true;
  };
  try {
    return json::parse(text, look);
  } catch (const json::exception& problem) {
    const std::string where = last.empty() ? "" : " at or after " + detail::printable(last);
    fail(source, ": not valid JSON", where, ": ", detail::printable(problem.what(), 240));
  }
}

/// Fails if `value` is too large for a float, or is not 0 but becomes 0 as a float.
inline void require_float(double value, std::string_view name, const std::string& source) {
  require(fits_float(value), source, ": ", detail::printable(name), " is ", detail::digits(value),
          ", which as a float is ", std::abs(value) < 1 ? "0" : "too large");
}

/// Returns the number in `value`, a whole one if `Number` is an integer. Fails with `source`, `name`, the value and the
/// range if it is no number or out of range. A number other than 0 must not become 0 as a float.
template <class Number>
Number to_number(const nlohmann::json& value, std::string_view name, const std::string& source,
                 Number minimum = std::numeric_limits<Number>::lowest(),
                 Number maximum = std::numeric_limits<Number>::max()) {
  static_assert(std::floating_point<Number> || (std::integral<Number> && !std::same_as<Number, bool>));
  const auto require_range = [&](bool inside) {
    require(inside, source, ": ", detail::printable(name), " is ", detail::value_text(value), ", but a ",
            std::integral<Number> ? "whole " : "", "number from ", detail::digits(minimum), " to ",
            detail::digits(maximum), " is expected");
  };
  if constexpr (std::integral<Number>) {
    const auto convert = [&](auto stored) {
      require_range(std::in_range<Number>(stored));
      const auto number = static_cast<Number>(stored);
      require_range(number >= minimum && number <= maximum);
      return number;
    };
    require_range(value.is_number_integer());
    return value.is_number_unsigned() ? convert(value.get<std::uint64_t>()) : convert(value.get<std::int64_t>());
  } else {
    require_range(value.is_number());
    const double number = value.get<double>();
    require_range(std::isfinite(number) && number >= minimum && number <= maximum);
    if constexpr (std::same_as<Number, float>) require_float(number, name, source);
    return static_cast<Number>(number);
  }
}

/// The number under the key `name` of an object, as above.
template <class Number>
Number read_number(const nlohmann::json& object, const std::string& name, const std::string& source,
                   Number minimum = std::numeric_limits<Number>::lowest(),
                   Number maximum = std::numeric_limits<Number>::max()) {
  require(object.is_object(), source, ": an object with ", detail::printable(name), " is expected, not ",
          detail::value_text(object));
  const auto found = object.find(name);
  require(found != object.end(), source, ": ", detail::printable(name), " is missing");
  return to_number<Number>(*found, name, source, minimum, maximum);
}

}  // namespace strata
