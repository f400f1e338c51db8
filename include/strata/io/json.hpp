// JSON from files that may be damaged: texts that are parsed, and numbers that are looked up in them, with errors in words.
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

namespace strata::inline STRATA_ABI {

namespace detail {

/// Text from a file as it may stand in a message: quoted, escaped, and not too long.
inline std::string printable(std::string_view text, std::size_t longest = 120) {
  const std::string start(text.substr(0, longest));
  return nlohmann::json(start).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         (text.size() > longest ? "..." : "");
}

/// As few digits as tell the number from all others.
template <class Number>
std::string digits(Number number) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

/// A value as it may stand in a message.
inline std::string value_text(const nlohmann::json& value) {
  if (value.is_number_float()) return digits(value.get<double>());
  if (value.is_string()) return printable(std::string_view(value.get_ref<const std::string&>()), 40);
  if (value.is_structured() || value.is_binary()) return std::string("of type ") + value.type_name();
  return value.dump();
}

}  // namespace detail

/// The tree of a text in JSON. Refuses, beside what is no JSON, an object with the same key twice, of which a tree would keep
/// one, and more than 64 levels, which could overflow the stack of whoever walks through the tree.
inline nlohmann::json parse_json(std::string_view text, const std::string& source) {
  using json = nlohmann::json;
  // The parser takes a zero byte for the end and would not look at what follows.
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

/// Fails where a float cannot hold a number that is finite, or holds 0 in the place of one that is not.
inline void require_float(double value, std::string_view name, const std::string& source) {
  const bool too_large = std::abs(value) > static_cast<double>(std::numeric_limits<float>::max());
  const bool becomes_0 = !too_large && value != 0 && static_cast<float>(value) == 0;
  require(!too_large && !becomes_0, source, ": ", detail::printable(name), " is ", detail::digits(value),
          ", which as a float is ", too_large ? "too large" : "0");
}

/// The number that `value` is, a whole one where `Number` is an integer. Fails with `source`, `name`, the value and the range
/// where it is none, or not in the range. As a float, a number other than 0 must not become 0.
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
