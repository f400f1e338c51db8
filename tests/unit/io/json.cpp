// JSON from files: invalid JSON and wrong numbers are errors in words.
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <strata/io/json.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"
#include "support/other_locale.hpp"

namespace {

using nlohmann::json;
using strata::read_number;

const std::string source = "run/checkpoint";

template <class Number>
std::string refusal(const json& value, Number minimum, Number maximum) {
  const json object{{"steps", value}};
  const std::string message = message_of([&] { read_number<Number>(object, "steps", source, minimum, maximum); });
  return message.rfind("run/checkpoint: \"steps\" ", 0) == 0 ? message.substr(24) : "(not named) " + message;
}

std::string parsing(const std::string& text) {
  return message_of([&] { strata::parse_json(text, source); });
}

}  // namespace

TEST_CASE("json: whole numbers in their range") {
  const json object =
      strata::parse_json(R"({"a": 1, "b": -128, "c": 18446744073709551615, "d": 9223372036854775807})", source);
  CHECK(read_number<int>(object, "a", source, 1, 1) == 1);
  CHECK(read_number<std::int8_t>(object, "b", source) == -128);
  CHECK(read_number<std::uint64_t>(object, "c", source) == std::numeric_limits<std::uint64_t>::max());
  CHECK(read_number<std::int64_t>(object, "d", source, 0) == std::numeric_limits<std::int64_t>::max());
  CHECK(strata::to_number<int>(json(7), "steps", source) == 7);

  const std::string expected = ", but a whole number from 0 to 1000 is expected";
  const auto refused = [](const std::string& text) {
    return refusal<std::int64_t>(strata::parse_json(text, source), 0, 1000);
  };
  CHECK(refused("1.5") == "is 1.5" + expected);
  CHECK(refused("2.0") == "is 2" + expected);
  CHECK(refused("-5") == "is -5" + expected);
  CHECK(refused("1001") == "is 1001" + expected);
  CHECK(refused("9223372036854775808") == "is 9223372036854775808" + expected);
  CHECK(refused("1e300") == "is 1e+300" + expected);
  CHECK(refused("\"3\"") == "is \"3\"" + expected);
  CHECK(refused("true") == "is true" + expected);
  CHECK(refused("null") == "is null" + expected);
  CHECK(refused("[1]") == "is of type array" + expected);
  CHECK(refusal<int>(INFINITY, 0, 1000) == "is inf" + expected);
  CHECK(refusal<std::uint8_t>(256, 0, 255) == "is 256, but a whole number from 0 to 255 is expected");
  CHECK(refusal<std::uint64_t>(-1, 0, 5) == "is -1, but a whole number from 0 to 5 is expected");
  CHECK(refusal<std::int64_t>(std::uint64_t{1} << 63, 0, INT64_MAX) ==
        "is 9223372036854775808, but a whole number from 0 to 9223372036854775807 is expected");
}

TEST_CASE("json: floating-point numbers in their range") {
  const json object = strata::parse_json(R"({"a": 0.1, "b": 3, "c": 1e-50, "d": 1e-45})", source);
  CHECK(read_number<double>(object, "a", source, 0, 1) == 0.1);
  CHECK(read_number<float>(object, "a", source, 0, 1) == 0.1f);
  CHECK(read_number<double>(object, "b", source, 3, 3) == 3);
  CHECK(read_number<double>(object, "c", source) == 1e-50);
  CHECK(read_number<float>(object, "d", source) == 1e-45f);
  CHECK(message_of([&] { read_number<float>(object, "c", source, 0, 1); }) ==
        "run/checkpoint: \"c\" is 1e-50, which as a float is 0");
  CHECK(refusal<double>(1.5, 0, 1) == "is 1.5, but a number from 0 to 1 is expected");
  CHECK(refusal<double>(-0.1, 0, 1) == "is -0.1, but a number from 0 to 1 is expected");
  CHECK(refusal<double>(NAN, 0, 1) == "is nan, but a number from 0 to 1 is expected");
  CHECK(refusal<double>(INFINITY, 0, HUGE_VAL) == "is inf, but a number from 0 to inf is expected");
  CHECK(refusal<double>("0.5", 0, 1) == "is \"0.5\", but a number from 0 to 1 is expected");
  CHECK(refusal<double>(true, 0, 1) == "is true, but a number from 0 to 1 is expected");
  CHECK(refusal<float>(1e300, 0, 1) == "is 1e+300, but a number from 0 to 1 is expected");
  CHECK(refusal<float>(1e300, 0, HUGE_VALF) == "is 1e+300, which as a float is too large");
}

TEST_CASE("json: a double that no float can stand for") {
  const auto refused = [](double value) { return message_of([&] { strata::require_float(value, "rate", source); }); };
  for (const double fine : {0.0, -0.0, 1e-45, -1e38, 0.1, 3.4028234663852886e38})
    CHECK(refused(fine) == "(no strata::error was thrown)");
  CHECK(refused(1e-50) == "run/checkpoint: \"rate\" is 1e-50, which as a float is 0");
  CHECK(refused(-1e-50) == "run/checkpoint: \"rate\" is -1e-50, which as a float is 0");
  CHECK(refused(-1e39) == "run/checkpoint: \"rate\" is -1e+39, which as a float is too large");
}

TEST_CASE("json: a key that is missing, and what is no object") {
  CHECK(message_of([] { read_number<int>(json::object(), "steps", source); }) ==
        "run/checkpoint: \"steps\" is missing");
  CHECK(message_of([] { read_number<int>(json::array({1}), "steps", source); }) ==
        "run/checkpoint: an object with \"steps\" is expected, not of type array");
  CHECK(message_of([] { read_number<int>(json("text"), "steps", source); }) ==
        "run/checkpoint: an object with \"steps\" is expected, not \"text\"");
}

TEST_CASE("json: a text that is no JSON") {
  CHECK(strata::parse_json(" {\"a\": [1, {\"a\": null}]} ", source)["a"][1]["a"].is_null());
  CHECK(missing_in(parsing(""), {"run/checkpoint: not valid JSON"}) == "");
  CHECK(missing_in(parsing("{\"a\": 1} x"), {"not valid JSON at or after \"a\""}) == "");
  CHECK(missing_in(parsing("{\"steps\": 1e400}"), {"\"steps\"", "1e400"}) == "");
  CHECK(missing_in(parsing("{\"a\": NaN}"), {"not valid JSON at or after \"a\""}) == "");
  CHECK(missing_in(parsing("\"\xff\""), {"not valid JSON", "UTF-8"}) == "");
  CHECK(missing_in(parsing(std::string("{}\0x", 4)), {"a zero byte at byte 2"}) == "");
  CHECK(missing_in(parsing("{\"a\": {\"b\": 1}, \"c\": {\"b\": 1, \"b\": 2}}"), {"\"b\" appears twice"}) == "");
  CHECK(parsing("[{\"b\": 1}, {\"b\": 2}]") == "(no strata::error was thrown)");
  CHECK(parsing("{\"a\": {\"b\": 1}, \"b\": 2}") == "(no strata::error was thrown)");
  CHECK(parsing(std::string(64, '[') + std::string(64, ']')) == "(no strata::error was thrown)");
  CHECK(parsing(std::string(1000000, '[')) == "run/checkpoint: JSON of more than 64 levels");
  CHECK(parsing("\"" + std::string(1000000, 'x')).size() < 500);
}

TEST_CASE("json: numbers are the same in every locale") {
  const other_cpp_locale cpp;
  const other_c_locale c;
  CHECK(strata::parse_json("1234567.25", source).get<double>() == 1234567.25);
  CHECK(json(1234567.25).dump() == "1234567.25");
  CHECK(json(1234567).dump() == "1234567");
  CHECK(refusal<double>(1234567.25, 0, 2000) == "is 1234567.25, but a number from 0 to 2000 is expected");
  CHECK(refusal<int>(1234567, 0, 2000) == "is 1234567, but a whole number from 0 to 2000 is expected");
}
