// Reading and writing safetensors files: what is written comes back, and no file, however hostile, does harm.
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <strata/io/safetensors.hpp>

#include "support/catch.hpp"
#include "support/memory_limit.hpp"
#include "support/messages.hpp"
#include "support/other_locale.hpp"
#include "unit/io/scratch_directory.hpp"

namespace {

/// The bytes of a file with this header, without more padding, and this many bytes of data.
std::string file_of(const std::string& header, std::size_t data_bytes = 0) {
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\1');
}

std::string file_with(const std::string& tensors, std::size_t data_bytes) {
  std::string header = "{";
  header.append(tensors).append("}");
  return file_of(header, data_bytes);
}

strata::safetensors_file parse(const std::string& file) {
  strata::buffer<std::byte> bytes(static_cast<strata::index_type>(file.size()));
  if (!file.empty()) std::memcpy(bytes.data(), file.data(), file.size());
  return strata::safetensors_file::parse(std::move(bytes), "bad.safetensors");
}

std::string refusal(const std::string& file) {
  const std::string message = message_of([&] { parse(file); });
  return message.rfind("bad.safetensors: ", 0) == 0 ? message : "(the file is not named) " + message;
}

/// A tensor of 4 floats, with one part of its description replaced.
std::string header_entry(const std::string& name, const std::string& offsets, const std::string& shape = "[4]",
                         const std::string& dtype = "\"F32\"") {
  return "\"" + name + "\":{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

template <class T>
void check_round_trip(const std::vector<T>& values) {
  const scratch_directory directory;
  strata::safetensors_writer writer;
  const auto count = static_cast<strata::index_type>(values.size());
  writer.add("x", {count}, values.data());
  writer.write(directory / "file");
  const auto file = strata::safetensors_file::read(directory / "file");
  CHECK(file.entry("x").dtype == strata::dtype_of<T>());
  CHECK(file.entry("x").shape == std::vector<strata::index_type>{count});
  const auto found = file.values<T>("x");
  REQUIRE(found.size() == values.size());
  CHECK(std::memcmp(found.data(), values.data(), values.size() * sizeof(T)) == 0);
}

template <class Stored, class T>
std::vector<T> read_as(strata::dtype dtype, const std::vector<Stored>& stored) {
  const scratch_directory directory;
  strata::safetensors_writer writer;
  writer.add("x", dtype, {static_cast<strata::index_type>(stored.size())}, stored.data());
  writer.write(directory / "file");
  return strata::safetensors_file::read(directory / "file").values<T>("x");
}

}  // namespace

TEST_CASE("every dtype comes back as it was written") {
  check_round_trip<double>({0.0, -0.0, 1.5, -1e300, 5e-324, std::nan(""), INFINITY});
  check_round_trip<float>({0.0f, -0.0f, 1.5f, -1e38f, 1e-45f, NAN, -INFINITY});
  check_round_trip<std::int64_t>(
      {0, -1, std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()});
  check_round_trip<std::int32_t>(
      {0, -1, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()});
  check_round_trip<std::int16_t>({0, -1, -32768, 32767});
  check_round_trip<std::int8_t>({0, -1, -128, 127});
  check_round_trip<std::uint64_t>({0, 1, std::numeric_limits<std::uint64_t>::max()});
  check_round_trip<std::uint32_t>({0, 1, std::numeric_limits<std::uint32_t>::max()});
  check_round_trip<std::uint16_t>({0, 1, 65535});
  check_round_trip<std::uint8_t>({0, 1, 255});
}

TEST_CASE("bool comes back as bool and as a number") {
  const scratch_directory directory;
  const bool flags[] = {true, false, true};
  strata::safetensors_writer writer;
  writer.add("x", {3}, flags);
  writer.write(directory / "file");
  const auto file = strata::safetensors_file::read(directory / "file");
  CHECK(file.entry("x").dtype == strata::dtype::BOOL);
  CHECK(file.values<int>("x") == std::vector<int>{1, 0, 1});
  bool found[3] = {};
  file.copy_to("x", std::span<bool>(found), std::array<strata::index_type, 1>{3});
  CHECK(std::memcmp(found, flags, sizeof(flags)) == 0);
}

TEST_CASE("numbers are converted to the type that is asked for") {
  using strata::dtype;
  CHECK(read_as<double, float>(dtype::F64, {1.5, -2.25, 0.1}) == std::vector<float>{1.5f, -2.25f, 0.1f});
  CHECK(read_as<float, double>(dtype::F32, {1.5f, 0.1f}) == std::vector<double>{1.5, double{0.1f}});
  CHECK(std::isinf(read_as<double, float>(dtype::F64, {INFINITY})[0]));
  CHECK(std::isnan(read_as<double, float>(dtype::F64, {std::nan("")})[0]));
  CHECK(read_as<std::uint16_t, float>(dtype::BF16, {0x3f80, 0xc049, 0x0001}) ==
        std::vector<float>{1.0f, -3.140625f, std::ldexp(1.0f, -133)});
  CHECK(read_as<std::int64_t, int>(dtype::I64, {-5, 1 << 30}) == std::vector<int>{-5, 1 << 30});
  CHECK(read_as<std::uint8_t, std::int64_t>(dtype::U8, {255}) == std::vector<std::int64_t>{255});
  CHECK(read_as<std::int8_t, int>(dtype::I8, {-128}) == std::vector<int>{-128});
  CHECK(read_as<float, int>(dtype::F32, {-0x1p31f, 3, -0.0f}) == std::vector<int>{-2147483647 - 1, 3, 0});
  CHECK(read_as<std::uint64_t, double>(dtype::U64, {std::uint64_t{1} << 63}) == std::vector<double>{0x1p63});
  CHECK(read_as<std::int64_t, float>(dtype::I64, {INT64_MIN, -3, 0}) == std::vector<float>{-0x1p63f, -3, 0});
}

TEST_CASE("every dtype is read into every type") {
  using strata::dtype;
  // 1 and 0 in each: 1 is written in the bits of the dtype.
  const std::map<dtype, std::uint64_t> ones{
      {dtype::F64, 0x3ff0000000000000}, {dtype::F32, 0x3f800000}, {dtype::F16, 0x3c00}, {dtype::BF16, 0x3f80},
      {dtype::F8_E4M3, 0x38},           {dtype::F8_E5M2, 0x3c}};
  for (const auto& row : strata::detail::dtype_rows) {
    CAPTURE(row.name);
    CHECK(strata::name_of(row.type) == row.name);
    const std::uint64_t one = ones.contains(row.type) ? ones.at(row.type) : 1;
    std::string file = file_with(
        header_entry("x", strata::to_text("[0,", 2 * row.bytes, "]"), "[2]", strata::to_text('"', row.name, '"')),
        2 * row.bytes);
    std::memset(file.data() + file.size() - 2 * row.bytes, 0, 2 * row.bytes);
    std::memcpy(file.data() + file.size() - row.bytes, &one, row.bytes);
    const auto found = parse(file);
    const auto is_0_and_1 = [](const auto& values) { return values.size() == 2 && values[0] == 0 && values[1] == 1; };
    CHECK(is_0_and_1(found.values<float>("x")));
    CHECK(is_0_and_1(found.values<double>("x")));
    CHECK(is_0_and_1(found.values<int>("x")));
    CHECK(is_0_and_1(found.values<std::int64_t>("x")));
    CHECK(is_0_and_1(found.values<std::uint8_t>("x")));
    bool flags[] = {true, false};
    found.copy_to("x", strata::view<bool, 1>(flags, {2}));
    CHECK(is_0_and_1(std::vector<int>(flags, flags + 2)));
  }
}

TEST_CASE("tensors of a dtype that is not converted do not hinder the others") {
  const auto file_of_type = [](const std::string& type, const std::string& shape, std::size_t bytes) {
    const std::string end = std::to_string(bytes), last = std::to_string(bytes + 16);
    return file_with(header_entry("odd", "[0," + end + "]", shape, "\"" + type + "\"") + "," +
                         header_entry("x", "[" + end + "," + last + "]"),
                     bytes + 16);
  };
  const auto check = [&](const std::string& type, const std::string& shape, std::size_t bytes) {
    CAPTURE(type);
    const auto file = parse(file_of_type(type, shape, bytes));
    CHECK(file.values<float>("x").size() == 4);
    CHECK(file.entry("odd").dtype == strata::dtype::other);
    CHECK(file.entry("odd").dtype_name == type);
    CHECK(file.bytes(file.entry("odd")).size() == bytes);
    const std::vector<std::string> expected{"bad.safetensors: tensor \"odd\"", "\"" + type + "\"", "cannot convert"};
    CHECK(missing_in(message_of([&] { file.values<float>("odd"); }), expected) == "");
    std::vector<float> target(8);
    CHECK(missing_in(message_of([&] { file.copy_to("odd", strata::view<float, 1>(target.data(), {8})); }), expected) ==
          "");
  };
  for (const char* type : {"F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) check(type, "[8]", 8);
  check("F4", "[8]", 4);
  check("F6_E2M3", "[8]", 6);
  check("F6_E3M2", "[2,4]", 6);
  check("C64", "[8]", 64);
  check("F33", "[8]", 7);  // whoever made this type knows its size
  check("f32", "[1152921504606846976]", 1);
  CHECK(missing_in(refusal(file_of_type("F4", "[8]", 8)),
                   {"tensor \"odd\"", "[8] of \"F4\" takes 4 bytes", "hold 8"}) == "");
  CHECK(missing_in(refusal(file_of_type("F4", "[3]", 1)), {"takes 12 bits"}) == "");
  strata::safetensors_writer writer;
  const float number = 1;
  CHECK(missing_in(message_of([&] { writer.add("x", strata::dtype::other, {1}, &number); }), {"\"x\"", "dtype"}) == "");
}

TEST_CASE("numbers are rounded to the dtype that is asked for") {
  const scratch_directory directory;
  // More than are converted at a time.
  std::vector<float> floats(100001);
  std::vector<double> doubles(floats.size());
  for (std::size_t n = 0; n < floats.size(); ++n) {
    floats[n] = std::sin(static_cast<float>(n)) * 100;
    doubles[n] = static_cast<double>(floats[n]) * (1 + 0x1p-40);
  }
  floats[5] = INFINITY;
  doubles[6] = std::nan("");
  const auto count = static_cast<strata::index_type>(floats.size());
  using strata::dtype;
  const dtype all[] = {dtype::F64, dtype::F32, dtype::F16, dtype::BF16};
  strata::safetensors_writer writer;
  for (const dtype as : all) {
    writer.add("float." + std::string(name_of(as)), {count}, floats.data(), as);
    writer.add("double." + std::string(name_of(as)), strata::view<const double, 1>(doubles.data(), {count}), as);
  }
  writer.write(directory / "file");
  const auto file = strata::safetensors_file::read(directory / "file");
  const auto as_stored = [](dtype as, auto x) {
    if (as == dtype::F16) return static_cast<double>(to_float(strata::to_float16(x)));
    if (as == dtype::BF16) return static_cast<double>(to_float(strata::to_bfloat16(x)));
    return as == dtype::F32 ? static_cast<double>(static_cast<float>(x)) : static_cast<double>(x);
  };
  for (const dtype as : all) {
    CHECK(file.entry("float." + std::string(name_of(as))).dtype == as);
    CHECK(file.entry("double." + std::string(name_of(as))).dtype == as);
    const auto of_floats = file.values<double>("float." + std::string(name_of(as)));
    const auto of_doubles = file.values<double>("double." + std::string(name_of(as)));
    for (std::size_t n = 0; n < floats.size(); ++n) {
      REQUIRE(of_floats[n] == as_stored(as, floats[n]));
      if (n != 6) REQUIRE(of_doubles[n] == as_stored(as, doubles[n]));
    }
    CHECK(std::isnan(of_doubles[6]));
  }
  CHECK(file.bytes(file.entry("float.BF16")).size() == 2 * floats.size());
}

TEST_CASE("a number that becomes infinite is not written") {
  const scratch_directory directory;
  write_plainly(directory / "file", "old");
  std::vector<float> floats(100001, 1);
  const auto message = [&](strata::dtype as, const auto& numbers) {
    strata::safetensors_writer writer;
    writer.add("layer.weight", {static_cast<strata::index_type>(numbers.size())}, numbers.data(), as);
    return message_of([&] { writer.write(directory / "file"); });
  };
  const std::string path = (directory / "file").string();
  floats[70000] = 65520;
  CHECK(missing_in(message(strata::dtype::F16, floats),
                   {"cannot write", path, "tensor \"layer.weight\": 65520 at element 70000 is too large for F16"}) ==
        "");
  floats[70000] = -3.4e38f;
  CHECK(missing_in(message(strata::dtype::BF16, floats), {"-3.4e+38 at element 70000 is too large for BF16"}) == "");
  CHECK(missing_in(message(strata::dtype::F32, std::vector<double>{1, 1e39}), {"1e+39 at element 1", "F32"}) == "");
  CHECK(missing_in(message(strata::dtype::F16, std::vector<double>{-INFINITY, 1e300}), {"1e+300 at element 1"}) == "");
  CHECK(read_plainly(directory / "file") == "old");
  CHECK(directory.names() == std::set<std::string>{"file"});

  strata::safetensors_writer writer;
  const int integer = 1;
  CHECK(message_of([&] { writer.add("n", {1}, &integer, strata::dtype::F32); }) ==
        "tensor \"n\": I32 cannot be written as F32");
  CHECK(message_of([&] { writer.add("n", {1}, floats.data(), strata::dtype::I8); }) ==
        "tensor \"n\": F32 cannot be written as I8");
  CHECK(message_of([&] { writer.add("n", {1}, floats.data(), strata::dtype::F8_E5M2); }) ==
        "tensor \"n\": F32 cannot be written as F8_E5M2");
}

TEST_CASE("half precision is exact for every bit pattern") {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t at = 0; at < bits.size(); ++at) bits[at] = static_cast<std::uint16_t>(at);
  const auto values = read_as<std::uint16_t, double>(strata::dtype::F16, bits);
  for (std::size_t at = 0; at < bits.size(); ++at) {
    const int exponent = (at >> 10) & 31, mantissa = at & 1023;
    const double sign = at & 0x8000 ? -1 : 1;
    if (exponent == 31) {
      REQUIRE((mantissa == 0 ? values[at] == sign * INFINITY : std::isnan(values[at])));
    } else {
      // The definition of the format: subnormals have no leading one.
      const double expected = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
      REQUIRE(values[at] == sign * expected);
      REQUIRE(std::signbit(values[at]) == (sign < 0));
    }
  }
}

TEST_CASE("a number that the type cannot hold is an error that says where") {
  using strata::dtype;
  CHECK(missing_in(message_of([] {
                     read_as<double, float>(dtype::F64, {1, 2, 1e300});
                   }),
                   {"tensor \"x\"", "1e+300", "element 2", "F32"}) == "");
  CHECK(missing_in(message_of([] {
                     read_as<std::int64_t, int>(dtype::I64, {0, std::int64_t{1} << 31});
                   }),
                   {"tensor \"x\"", "2147483648", "element 1", "I32"}) == "");
  CHECK(missing_in(message_of([] { read_as<std::int8_t, std::uint8_t>(dtype::I8, {-1}); }), {"-1", "U8"}) == "");
  CHECK(missing_in(message_of([] {
                     read_as<float, int>(dtype::F32, {1, 2.0000002f});
                   }),
                   {"tensor \"x\"", "2.0000002 at element 1", "I32"}) == "");
  CHECK(missing_in(message_of([] { read_as<float, int>(dtype::F32, {0x1p31f}); }),
                   {"2147483648 at element 0", "I32"}) == "");
  CHECK(missing_in(message_of([] { read_as<float, std::uint8_t>(dtype::F32, {-1}); }), {"-1 at", "U8"}) == "");
  CHECK(missing_in(message_of([] { read_as<double, int>(dtype::F64, {NAN}); }), {"nan at element 0", "I32"}) == "");
  CHECK(missing_in(message_of([] { read_as<double, std::int64_t>(dtype::F64, {-INFINITY}); }), {"-inf", "I64"}) == "");
  CHECK(missing_in(message_of([] {
                     read_as<std::int64_t, float>(dtype::I64, {1 << 24, (1 << 24) + 1});
                   }),
                   {"tensor \"x\"", "16777217 at element 1", "F32"}) == "");
  CHECK(missing_in(message_of([] { read_as<std::uint64_t, double>(dtype::U64, {UINT64_MAX}); }),
                   {"18446744073709551615", "F64"}) == "");
  const auto file = parse(file_with(header_entry("x", "[0,1]", "[1]", "\"BOOL\""), 1));
  CHECK(file.values<int>("x") == std::vector<int>{1});
  auto two = file_with(header_entry("x", "[0,1]", "[1]", "\"BOOL\""), 1);
  two.back() = 2;
  bool flag = false;
  CHECK(missing_in(message_of([&] { parse(two).copy_to("x", strata::view<bool, 1>(&flag, {1})); }),
                   {"2 at element 0", "BOOL"}) == "");
}

TEST_CASE("names, shapes, metadata and order survive") {
  const scratch_directory directory;
  const std::vector<float> matrix{1, 2, 3, 4, 5, 6};
  const float scalar = 7;
  const std::int64_t step = 123456789012;
  const std::uint8_t byte = 9;
  const std::string strange = "name with \"quotes\", \\, \n, \x01, \xc3\xa4 and \xf0\x9f\x99\x82";
  strata::safetensors_writer writer;
  writer.set_metadata("config", "{\"a\": 1}");
  writer.set_metadata(strange, strange);
  writer.set_metadata("config", "{\"a\": 2}");
  writer.add("byte", {1}, &byte);
  writer.add("z.matrix", strata::view<const float, 2>(matrix.data(), {2, 3}));
  writer.add(strange, {}, &scalar);
  writer.add<float>("nothing", {3, 0, 2}, nullptr);
  writer.add("a.step", {1, 1}, &step);
  writer.write(directory / "file");

  const auto file = strata::safetensors_file::read(directory / "file");
  REQUIRE(file.metadata().size() == 2);
  CHECK(file.metadata("config") == "{\"a\": 2}");
  CHECK(file.metadata(strange) == strange);
  CHECK(missing_in(message_of([&] { file.metadata("absent"); }), {"file\"", "no \"absent\" in its metadata"}) == "");
  REQUIRE(file.entries().size() == 5);
  const std::string names[] = {"byte", "z.matrix", strange, "nothing", "a.step"};
  for (std::size_t at = 0; at < 5; ++at) CHECK(file.entries()[at].name == names[at]);
  CHECK(file.contains("z.matrix"));
  CHECK(!file.contains("z"));
  CHECK(file.entry("z.matrix").shape == std::vector<strata::index_type>{2, 3});
  CHECK(file.entry(strange).shape.empty());
  CHECK(file.values<float>("z.matrix") == matrix);
  CHECK(file.values<double>(strange) == std::vector<double>{7});
  CHECK(file.values<float>("nothing").empty());
  CHECK(file.values<std::int64_t>("a.step") == std::vector<std::int64_t>{step});
  CHECK(file.values<std::uint8_t>("byte") == std::vector<std::uint8_t>{9});
  CHECK(file.bytes(file.entry("byte")).size() == 1);
  CHECK(missing_in(message_of([&] { file.entry("absent"); }), {"file\"", "no tensor \"absent\""}) == "");
}

TEST_CASE("the layout on disk is the one of the format") {
  const scratch_directory directory;
  const std::uint8_t bytes[] = {1, 2, 3};
  const float number = 1;
  strata::safetensors_writer writer;
  writer.add("b", {3}, bytes);
  writer.add("a", {1}, &number);
  writer.write(directory / "file");
  const std::string content = read_plainly(directory / "file");
  const std::string header =
      R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[4, 7]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0, 4]}})";
  std::uint64_t length = 0;
  REQUIRE(content.size() > 8);
  std::memcpy(&length, content.data(), 8);
  CHECK(length % 8 == 0);
  REQUIRE(content.size() == 8 + length + 7);
  CHECK(content.substr(8, header.size()) == header);
  CHECK(content.substr(8 + header.size(), length - header.size()) == std::string(length - header.size(), ' '));
  CHECK(content.substr(8 + length) == std::string("\x00\x00\x80\x3f\x01\x02\x03", 7));
}

TEST_CASE("a file of no tensors is a file") {
  const scratch_directory directory;
  strata::safetensors_writer().write(directory / "file");
  CHECK(read_plainly(directory / "file") == file_of("{}      "));
  CHECK(strata::safetensors_file::read(directory / "file").entries().empty());
  strata::safetensors_writer writer;
  writer.set_metadata("key", "");
  writer.write(directory / "file");
  CHECK(strata::safetensors_file::read(directory / "file").metadata("key").empty());
}

TEST_CASE("what other writers make is read too") {
  // Spaces, keys in another order, data in another order than the header, a name in escapes.
  auto file = parse(file_of("{ \"\\u00e4\" : {\"shape\": [ 2 ], \"data_offsets\":[4 , 8], \"dtype\":\"I16\"},\n" +
                                header_entry("x", "[0,4]", "[2,1]", "\"F16\"") + "}   ",
                            8));
  CHECK(file.values<int>("\xc3\xa4") == std::vector<int>{0x101, 0x101});
  CHECK(file.values<float>("x").size() == 2);
  // Data that no alignment helps with.
  CHECK(parse(file_with(header_entry("x", "[0,16]"), 16)).values<float>("x").size() == 4);
  CHECK(parse(file_with(header_entry("x", "[0,32]", "[4]", "\"F64\""), 32)).values<float>("x").size() == 4);
}

TEST_CASE("a wrong shape is named on both sides") {
  const auto file = parse(file_with(header_entry("level.0.weight", "[0,16]", "[2,2]"), 16));
  std::vector<float> target(4);
  file.copy_to("level.0.weight", strata::view<float, 2>(target.data(), {2, 2}));
  CHECK(target[3] == file.values<float>("level.0.weight")[3]);
  CHECK(target[3] != 0);
  CHECK(missing_in(message_of([&] {
                     file.copy_to("level.0.weight", strata::view<float, 2>(target.data(), {4, 1}));
                   }),
                   {"bad.safetensors", "\"level.0.weight\"", "[2, 2]", "[4, 1]"}) == "");
  CHECK(missing_in(message_of([&] { file.copy_to("level.0.weight", strata::view<float, 1>(target.data(), {4})); }),
                   {"[2, 2]", "[4] is expected"}) == "");
  CHECK(
      missing_in(
          message_of([&] {
            file.copy_to("level.0.weight", std::span<float>(target).first(3), std::array<strata::index_type, 2>{2, 2});
          }),
          {"\"level.0.weight\"", "4 elements", "destination has 3"}) == "");
}

TEST_CASE("the writer refuses what would not be a valid file") {
  const scratch_directory directory;
  const float number = 1;
  strata::safetensors_writer writer;
  writer.add("x", {1}, &number);
  CHECK(missing_in(message_of([&] { writer.add("x", {1}, &number); }), {"tensor \"x\"", "added twice"}) == "");
  CHECK(missing_in(message_of([&] { writer.add("__metadata__", {1}, &number); }), {"__metadata__"}) == "");
  CHECK(missing_in(message_of([&] { writer.add("y", {2, -1}, &number); }), {"tensor \"y\"", "[2, -1]"}) == "");
  CHECK(missing_in(message_of([&] { writer.add("y", {0, -1}, &number); }), {"tensor \"y\"", "[0, -1]"}) == "");
  const strata::index_type large = strata::index_type{1} << 40;
  CHECK(missing_in(message_of([&] { writer.add("y", {large, large}, &number); }), {"tensor \"y\"", "too many"}) == "");
  CHECK(missing_in(message_of([&] { writer.add<float>("y", {1}, nullptr); }), {"tensor \"y\"", "no data"}) == "");
  writer.write(directory / "file");
  CHECK(strata::safetensors_file::read(directory / "file").entries().size() == 1);

  const std::string before = read_plainly(directory / "file");
  auto broken = writer;
  broken.add("bad \xff name", {1}, &number);
  CHECK(missing_in(message_of([&] { broken.write(directory / "file"); }), {"file\"", "not valid UTF-8"}) == "");
  broken = writer;
  broken.set_metadata("key", "\xc3");
  CHECK(missing_in(message_of([&] { broken.write(directory / "file"); }), {"file\"", "not valid UTF-8"}) == "");
  CHECK(read_plainly(directory / "file") == before);
  CHECK(directory.names() == std::set<std::string>{"file"});
}

TEST_CASE("hostile: the length of the header") {
  SECTION("no room for it") {
    CHECK(missing_in(refusal(""), {"0 bytes are too few"}) == "");
    CHECK(missing_in(refusal("1234567"), {"7 bytes are too few"}) == "");
  }
  SECTION("more than the file has") {
    for (const std::uint64_t claim : {std::uint64_t{3}, std::uint64_t{1} << 30, std::uint64_t{1} << 63,
                                      std::numeric_limits<std::uint64_t>::max()}) {
      auto file = file_of("{}");
      std::memcpy(file.data(), &claim, 8);
      CHECK(missing_in(refusal(file), {"claims " + std::to_string(claim) + " bytes", "offset 8", "only 2"}) == "");
    }
  }
  SECTION("over the limit") {
    std::string file(100'000'009 + 8, ' ');
    const std::uint64_t claim = 100'000'001;
    std::memcpy(file.data(), &claim, 8);
    file[8] = '{';
    file[9] = '}';
    CHECK(missing_in(refusal(file), {"100000001", "limit of 100000000"}) == "");
  }
  SECTION("zero") { CHECK(missing_in(refusal(file_of("", 16)), {"does not start with '{'"}) == ""); }
}

TEST_CASE("hostile: a header that is not the JSON it should be") {
  CHECK(missing_in(refusal(file_of("[]")), {"offset 8", "does not start with '{'"}) == "");
  CHECK(missing_in(refusal(file_of(" {}")), {"does not start with '{'"}) == "");
  CHECK(missing_in(refusal(file_of("\xef\xbb\xbf{}")), {"does not start with '{'"}) == "");
  CHECK(missing_in(refusal(file_of("{")), {"not valid JSON"}) == "");
  CHECK(missing_in(refusal(file_of("{}x")), {"not valid JSON at byte 10 of the file"}) == "");
  CHECK(missing_in(refusal(file_of("{} {}")), {"not valid JSON at byte 11 of the file"}) == "");
  CHECK(missing_in(refusal(file_of(std::string("{}\0", 3))), {"not valid JSON", "zero byte at offset 10"}) == "");
  CHECK(missing_in(refusal(file_of("{\"\xff\":1}")), {"not valid JSON", "UTF-8"}) == "");
  CHECK(missing_in(refusal(file_of("{\"\xc0\x80\":1}")), {"not valid JSON", "UTF-8"}) == "");
  CHECK(missing_in(refusal(file_of("{\"x\":nul}")), {"not valid JSON"}) == "");
  CHECK(missing_in(refusal(file_of("{\"x\":1}")), {"tensor \"x\"", "the number 1", "an object"}) == "");
  CHECK(missing_in(refusal(file_of("{\"x\":null}")), {"tensor \"x\"", "null", "an object"}) == "");
  CHECK(missing_in(refusal(file_of("{\"x\":[]}")), {"tensor \"x\"", "an array", "an object"}) == "");
  CHECK(missing_in(refusal(file_of("{\"x\":\"y\"}")), {"tensor \"x\"", "a string", "an object"}) == "");
}

TEST_CASE("hostile: a million levels of nesting") {
  const std::string many(1'000'000, '[');
  CHECK(missing_in(refusal(file_of("{\"x\":" + many)), {"tensor \"x\"", "an array"}) == "");
  CHECK(missing_in(refusal(file_of("{\"x\":{\"shape\":" + many)), {"tensor \"x\"", "\"shape\"", "an array"}) == "");
  std::string objects;
  for (int level = 0; level < 100'000; ++level) objects += "{\"a\":";
  CHECK(missing_in(refusal(file_of(objects)), {"tensor \"a\"", "unknown key"}) == "");
}

TEST_CASE("hostile: a message stays short and printable") {
  const std::string long_name(1'000'000, 'n');
  CHECK(refusal(file_of("{\"" + long_name + "\":1}")).size() < 500);
  CHECK(refusal(file_of("{\"" + long_name)).size() < 500);
  CHECK(refusal(file_of("{\"x\":" + std::string(1'000'000, '7') + "}")).size() < 500);
  const std::string message = refusal(file_of("{\"\\u001b[2J\\n\":1}"));
  CHECK(message.find('\x1b') == std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}

TEST_CASE("hostile: a name that appears twice") {
  const std::string one = header_entry("x", "[0,16]"), two = header_entry("x", "[16,32]");
  CHECK(missing_in(refusal(file_with(one + "," + two, 32)), {"tensor \"x\"", "twice"}) == "");
  CHECK(missing_in(refusal(file_with(one + ",\"\\u0078\":{}", 32)), {"tensor \"x\"", "twice"}) == "");
  CHECK(missing_in(refusal(file_of("{\"__metadata__\":{},\"__metadata__\":{}}")), {"__metadata__", "twice"}) == "");
  CHECK(missing_in(refusal(file_of("{\"__metadata__\":{\"key\":\"1\",\"key\":\"2\"}}")),
                   {"__metadata__", "\"key\"", "twice"}) == "");
  CHECK(missing_in(
            refusal(file_of("{\"x\":{\"shape\":[4],\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16)),
            {"tensor \"x\"", "\"shape\"", "twice"}) == "");
}

TEST_CASE("hostile: a description with parts missing or of another kind") {
  const auto described = [](const std::string& description) {
    return refusal(file_of("{\"x\":{" + description + "}}", 16));
  };
  const std::string type = "\"dtype\":\"F32\"", shape = "\"shape\":[4]", offsets = "\"data_offsets\":[0,16]";
  CHECK(message_of([&] { parse(file_of("{\"x\":{" + type + "," + shape + "," + offsets + "}}", 16)); }) ==
        "(no strata::error was thrown)");
  CHECK(missing_in(described(shape + "," + offsets), {"tensor \"x\"", "dtype is missing"}) == "");
  CHECK(missing_in(described(type + "," + offsets), {"tensor \"x\"", "shape is missing"}) == "");
  CHECK(missing_in(described(type + "," + shape), {"tensor \"x\"", "data_offsets is missing"}) == "");
  CHECK(missing_in(described(""), {"tensor \"x\"", "dtype is missing"}) == "");
  CHECK(missing_in(described(type + "," + shape + "," + offsets + ",\"other\":1"), {"\"other\"", "unknown key"}) == "");

  // The next tensor must not use the fields of this one.
  CHECK(missing_in(refusal(file_with(header_entry("x", "[0,16]") + ",\"y\":{" + type + "," + offsets + "}", 32)),
                   {"tensor \"y\"", "shape is missing"}) == "");

  const auto typed = [](const std::string& dtype) {
    return refusal(file_with(header_entry("x", "[0,16]", "[4]", dtype), 16));
  };
  CHECK(missing_in(typed("32"), {"\"dtype\"", "the number 32", "a string"}) == "");
  CHECK(missing_in(typed("[\"F32\"]"), {"\"dtype\"", "an array", "a string"}) == "");
  CHECK(missing_in(typed("{}"), {"\"dtype\"", "an object", "a string"}) == "");
  CHECK(missing_in(typed("null"), {"\"dtype\"", "null", "a string"}) == "");
  CHECK(missing_in(typed("true"), {"\"dtype\"", "a truth value", "a string"}) == "");

  const auto shaped = [](const std::string& extents) {
    return refusal(file_with(header_entry("x", "[0,16]", extents), 16));
  };
  CHECK(missing_in(shaped("4"), {"\"shape\"", "the number 4", "an array"}) == "");
  CHECK(missing_in(shaped("\"4\""), {"\"shape\"", "a string", "an array"}) == "");
  CHECK(missing_in(shaped("[\"4\"]"), {"\"shape\"", "a string", "a whole number"}) == "");
  CHECK(missing_in(shaped("[4.0]"), {"\"shape\"", "the number 4.0", "a whole number"}) == "");
  CHECK(missing_in(shaped("[true]"), {"\"shape\"", "a truth value", "a whole number"}) == "");
  CHECK(missing_in(shaped("[null]"), {"\"shape\"", "null", "a whole number"}) == "");
  CHECK(missing_in(shaped("[{}]"), {"\"shape\"", "an object", "a whole number"}) == "");
  CHECK(missing_in(shaped("[-4]"), {"\"shape\"", "the number -4", "a whole number from 0"}) == "");

  const auto placed = [](const std::string& begin_end) { return refusal(file_with(header_entry("x", begin_end), 16)); };
  CHECK(missing_in(placed("16"), {"\"data_offsets\"", "the number 16", "an array"}) == "");
  CHECK(missing_in(placed("[]"), {"\"data_offsets\"", "0 numbers"}) == "");
  CHECK(missing_in(placed("[16]"), {"\"data_offsets\"", "1 numbers"}) == "");
  CHECK(missing_in(placed("[0,16,16]"), {"\"data_offsets\"", "3 numbers"}) == "");
  CHECK(missing_in(placed("[-16,0]"), {"\"data_offsets\"", "the number -16"}) == "");
}

TEST_CASE("hostile: shapes that are too large") {
  const auto shaped = [](const std::string& shape, const std::string& offsets = "[0,16]") {
    return refusal(file_with(header_entry("x", offsets, shape), 16));
  };
  CHECK(missing_in(shaped("[9223372036854775808]"),
                   {"tensor \"x\"", "\"shape\"", "9223372036854775808 is too large"}) == "");
  CHECK(missing_in(shaped("[18446744073709551616]"), {"tensor \"x\"", "the number 18446744073709551616"}) == "");
  CHECK(missing_in(shaped("[9223372036854775807]"), {"tensor \"x\"", "[9223372036854775807]", "too many"}) == "");
  // These products are 4, 0 and 16 bytes in 64 bits.
  CHECK(missing_in(shaped("[4611686018427387905]"), {"tensor \"x\"", "too many"}) == "");
  CHECK(missing_in(shaped("[4294967296,4294967296]", "[0,0]"), {"tensor \"x\"", "too many"}) == "");
  CHECK(missing_in(shaped("[2147483648,2147483648,4]"), {"tensor \"x\"", "too many"}) == "");
  std::string many = "[1";
  for (int axis = 0; axis < 64; ++axis) many += ",1";
  CHECK(missing_in(shaped(many + "]"), {"tensor \"x\"", "\"shape\"", "more than 64"}) == "");
}

TEST_CASE("hostile: offsets") {
  const auto placed = [](const std::string& tensors, std::size_t data_bytes) {
    return refusal(file_with(tensors, data_bytes));
  };
  SECTION("backwards") {
    CHECK(missing_in(placed(header_entry("x", "[16,0]"), 16), {"tensor \"x\"", "[16, 0]", "backwards"}) == "");
  }
  SECTION("past the end") {
    CHECK(missing_in(placed(header_entry("x", "[0,16]"), 15), {"tensor \"x\"", "[0, 16]", "past the 15 bytes"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[16,32]"), 16), {"tensor \"x\"", "[16, 32]", "past the 16 bytes"}) ==
          "");
    CHECK(missing_in(placed(header_entry("x", "[9223372036854775791,9223372036854775807]"), 16),
                     {"tensor \"x\"", "9223372036854775807", "past the 16 bytes"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[18446744073709551600,18446744073709551615]"), 16),
                     {"tensor \"x\"", "18446744073709551600 is too large"}) == "");
  }
  SECTION("not the size of the shape") {
    CHECK(missing_in(placed(header_entry("x", "[0,12]"), 12),
                     {"tensor \"x\"", "[4] of F32", "16 bytes", "[0, 12]", "12"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[0,20]"), 20), {"tensor \"x\"", "16 bytes", "[0, 20]"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[0,16]", "[4]", "\"F64\""), 16), {"tensor \"x\"", "F64", "32 bytes"}) ==
          "");
    CHECK(missing_in(placed(header_entry("x", "[0,16]", "[4,0]"), 16), {"tensor \"x\"", "0 bytes"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[0,16]", "[]"), 16), {"tensor \"x\"", "4 bytes"}) == "");
  }
  SECTION("shared") {
    CHECK(missing_in(placed(header_entry("x", "[0,16]") + "," + header_entry("y", "[0,16]"), 16),
                     {"tensor \"y\"", "[0, 16]", "overlap", "\"x\""}) == "");
    CHECK(missing_in(placed(header_entry("y", "[12,28]") + "," + header_entry("x", "[0,16]"), 28),
                     {"tensor \"y\"", "[12, 28]", "overlap", "\"x\""}) == "");
    // Hidden between tensors of no size.
    CHECK(missing_in(placed(header_entry("x", "[0,16]") + "," + header_entry("y", "[8,8]", "[0]"), 16),
                     {"tensor \"y\"", "[8, 8]", "overlap", "\"x\""}) == "");
  }
  SECTION("left out") {
    CHECK(missing_in(placed(header_entry("x", "[8,24]"), 24), {"tensor \"x\"", "hole", "bytes 0 to 8"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[0,16]") + "," + header_entry("y", "[20,36]"), 36),
                     {"tensor \"y\"", "hole", "bytes 16 to 20"}) == "");
    CHECK(missing_in(placed(header_entry("x", "[0,16]"), 20), {"last 4 of 20 bytes", "offset 16"}) == "");
    CHECK(missing_in(refusal(file_of("{}", 1)), {"last 1 of 1 bytes"}) == "");
  }
  SECTION("tensors of no size are fine anywhere a tensor begins") {
    CHECK(message_of([&] {
            parse(file_with(header_entry("a", "[16,16]", "[0]") + "," + header_entry("x", "[0,16]") + "," +
                                header_entry("b", "[0,0]", "[2,0]"),
                            16));
          }) == "(no strata::error was thrown)");
  }
}

TEST_CASE("hostile: metadata that are not strings") {
  const auto described = [](const std::string& value) { return refusal(file_of("{\"__metadata__\":" + value + "}")); };
  CHECK(missing_in(described("\"x\""), {"__metadata__", "a string", "an object"}) == "");
  CHECK(missing_in(described("null"), {"__metadata__", "null", "an object"}) == "");
  CHECK(missing_in(described("[]"), {"__metadata__", "an array", "an object"}) == "");
  CHECK(missing_in(described("{\"key\":1}"), {"__metadata__", "\"key\"", "the number 1", "a string"}) == "");
  CHECK(missing_in(described("{\"key\":-1}"), {"\"key\"", "the number -1", "a string"}) == "");
  CHECK(missing_in(described("{\"key\":1.5}"), {"\"key\"", "the number 1.5", "a string"}) == "");
  CHECK(missing_in(described("{\"key\":null}"), {"\"key\"", "null", "a string"}) == "");
  CHECK(missing_in(described("{\"key\":false}"), {"\"key\"", "a truth value", "a string"}) == "");
  CHECK(missing_in(described("{\"key\":[]}"), {"\"key\"", "an array", "a string"}) == "");
  CHECK(missing_in(described("{\"key\":{}}"), {"\"key\"", "an object", "a string"}) == "");
}

TEST_CASE("a file on disk is named in the message") {
  const scratch_directory directory;
  write_plainly(directory / "short", "1234");
  const auto reading = [&](const std::string& name) {
    return message_of([&] { strata::safetensors_file::read(directory / name); });
  };
  CHECK(missing_in(reading("short"), {(directory / "short").string(), "4 bytes are too few"}) == "");
  CHECK(missing_in(reading("absent"), {(directory / "absent").string(), "cannot read"}) == "");
}

TEST_CASE("no more of a file is in memory than is asked for") {
  const scratch_directory directory;
  // A file with a hole: 64 GiB that take no disk space.
  const std::uint64_t hole = std::uint64_t{1} << 36;
  const std::string end = std::to_string(hole), last = std::to_string(hole + 8);
  const auto path = directory / "file";
  write_plainly(path, file_with(header_entry("large", "[0," + end + "]", "[" + end + "]", "\"U8\"") + "," +
                                    header_entry("small", "[" + end + "," + last + "]", "[8]", "\"U8\""),
                                0));
  const std::uint64_t start = std::filesystem::file_size(path);
  std::filesystem::resize_file(path, start + hole);
  std::ofstream(path, std::ios::binary | std::ios::app) << "abcdefgh";
  const auto file = strata::safetensors_file::read(path);
  CHECK(file.values<int>("small") == std::vector<int>{'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'});
  CHECK(file.bytes(file.entry("large")).size() == hole);
  CHECK(file.bytes(file.entry("large"))[hole / 2] == std::byte{0});
  CHECK(file.bytes(file.entry("small"))[7] == std::byte{'h'});

#if STRATA_TESTS_WITHOUT_MEMORY
  std::string message;
  {
    const no_more_memory limit;
    message = message_of([&] { file.values<double>("large"); });
  }
  CHECK(missing_in(message, {path.string(), "tensor \"large\"", std::to_string(8 * hole),
                             "bytes of memory were asked for", "more than there is"}) == "");
  write_plainly(path, file_of("{" + std::string(90'000'000, ' ') + "}"));
  {
    const no_more_memory limit;
    message = message_of([&] { strata::safetensors_file::read(path); });
  }
  CHECK(missing_in(message, {"cannot read", path.string(), "header does not fit in memory"}) == "");
#endif
}

TEST_CASE("a file that becomes shorter is an error") {
  const scratch_directory directory;
  const std::vector<float> numbers(10000, 1);
  strata::safetensors_writer writer;
  writer.add("x", {10000}, numbers.data());
  writer.add("half", {10000}, numbers.data(), strata::dtype::F16);
  writer.write(directory / "file");
  const auto file = strata::safetensors_file::read(directory / "file");
  std::filesystem::resize_file(directory / "file", 20000);
  const std::vector<std::string> expected{"cannot read", (directory / "file").string(), "it ends after 20000 of"};
  CHECK(missing_in(message_of([&] { file.values<float>("x"); }), expected) == "");
  CHECK(missing_in(message_of([&] { file.values<float>("half"); }), expected) == "");
  CHECK(missing_in(message_of([&] { file.bytes(file.entry("x")); }), expected) == "");
}

TEST_CASE("a file comes through a pipe") {
  const scratch_directory directory;
  const std::vector<float> numbers{1, 2, 3};
  strata::safetensors_writer writer;
  writer.add("x", {3}, numbers.data());
  writer.write(directory / "file");
  const std::string content = read_plainly(directory / "file");
  const auto through_pipe = [](const std::string& text) {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const strata::detail::file_descriptor from(ends[0]);
    strata::detail::file_descriptor to(ends[1]);
    REQUIRE(::write(to.number(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    to.close();
    return strata::safetensors_file::read("/dev/fd/" + std::to_string(from.number()));
  };
  const auto file = through_pipe(content);
  CHECK(file.values<float>("x") == numbers);
  CHECK(file.bytes(file.entry("x")).size() == 12);
  CHECK(missing_in(message_of([&] { through_pipe(content.substr(0, content.size() - 1)); }),
                   {"/dev/fd/", "tensor \"x\"", "past the 11 bytes"}) == "");
}

TEST_CASE("what is no safetensors file is named, with what to do") {
  const scratch_directory directory;
  const auto refused = [&](const std::string& content, const std::vector<std::string>& parts) {
    write_plainly(directory / "file", content);
    const std::string message = message_of([&] { strata::safetensors_file::read(directory / "file"); });
    CHECK(missing_in(message, {(directory / "file").string()}) == "");
    CHECK(missing_in(message, parts) == "");
    // The same bytes, not from a file.
    CHECK(missing_in(refusal(content), parts) == "");
  };
  const auto zip = [](const std::string& name) {
    return std::string("PK\3\4\0\0\x08\x08", 8) + std::string(22, '\0') + name;
  };
  const std::string rest(100, '\0'), save = "safetensors.torch.save_file";
  refused(zip("archive/data.pkl") + rest, {"a zip archive", "PyTorch", ".pt", ".bin", save});
  refused(zip("arr_0.npy") + rest, {"an archive of NumPy (.npz)", save});
  for (const char protocol : {'\2', '\3', '\4', '\5'})
    refused(std::string("\x80") + protocol + "\x8a\nl\xfc\x9c" + rest, {"a pickle", "PyTorch", save});
  refused("\x93NUMPY\1" + rest, {"an array of NumPy (.npy)", save});
  refused("\x89HDF\r\n\x1a\n" + rest, {"an HDF5 file", save});
  refused(std::string("GGUF\3\0\0\0", 8) + rest, {"a GGUF file", "safetensors file that it was made from"});
  refused("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", {"Git LFS", "git lfs pull"});
  refused("\n <!DOCTYPE html><html>", {"a page of HTML or XML", "download the file itself"});
  refused("<?xml version=\"1.0\"?><Error>", {"a page of HTML or XML"});
  refused("\x1f\x8b\x08" + rest, {"compressed by gzip", "gunzip"});
  refused("{\"dim\": 512, \"depth\": 6}", {"JSON", "model.safetensors.index.json"});
  refused(" [1, 2]", {"JSON"});
  refused("First Citizen: Before we proceed", {"but text that starts with", "First Citizen"});
  // Safetensors files that start like other formats: a header of 0x280 bytes starts as a pickle.
  const auto file = parse(file_of("{" + std::string(0x27e, ' ') + "}"));
  CHECK(file.entries().empty());
  write_plainly(directory / "file", file_of("{" + std::string('{' - 2, ' ') + "}"));  // the first byte is that of JSON
  CHECK(strata::safetensors_file::read(directory / "file").entries().empty());
}

TEST_CASE("shards are one file") {
  const scratch_directory directory;
  const std::string index = "model.safetensors.index.json";
  const float numbers[] = {1, 2, 3, 4, 5};
  const auto write_shard = [&](const std::string& name, const std::vector<std::string>& tensors,
                               const std::string& metadata) {
    strata::safetensors_writer writer;
    for (std::size_t n = 0; n < tensors.size(); ++n) writer.add(tensors[n], {2}, numbers + n + (name == "b" ? 2 : 0));
    writer.set_metadata("format", metadata);
    writer.set_metadata("of." + name, "own");
    writer.write(directory / name);
  };
  const auto write_index = [&](const std::string& map, const std::string& more = "") {
    write_plainly(directory / index, "{\"weight_map\": " + map + more + "}");
  };
  const auto reading = [&] {
    const std::string message = message_of([&] { strata::safetensors_file::read(directory / index); });
    CHECK(missing_in(message, {(directory / index).string()}) == "");
    return message;
  };
  write_shard("a", {"x", "y"}, "of a");
  write_shard("b", {"z"}, "of b");
  const std::string valid = R"({"z": "b", "x": "a", "y": "a"})";

  SECTION("the index, or its folder") {
    write_index(valid, R"(, "metadata": {"total_size": 24, "of.b": "of the index"})");
    for (const auto& path : {directory / index, directory.path()}) {
      const auto file = strata::safetensors_file::read(path);
      CHECK(file.source() == strata::to_text(directory / index));
      REQUIRE(file.entries().size() == 3);
      CHECK(file.entries()[0].name == "x");
      CHECK(file.entries()[2].name == "z");
      CHECK(file.values<float>("x") == std::vector<float>{1, 2});
      CHECK(file.values<float>("y") == std::vector<float>{2, 3});
      CHECK(file.values<double>("z") == std::vector<double>{3, 4});
      CHECK(file.bytes(file.entry("z")).size() == 8);
      CHECK(file.metadata() ==
            std::map<std::string, std::string>{{"format", "of a"}, {"of.a", "own"}, {"of.b", "of the index"}});
      CHECK(missing_in(message_of([&] { file.entry("absent"); }), {index, "no tensor \"absent\""}) == "");
    }
  }
  SECTION("tensors that the index does not name are there too; a byte order mark") {
    write_plainly(directory / index, "\xef\xbb\xbf{\"weight_map\": {\"z\": \"b\", \"x\": \"a\"}}");
    CHECK(strata::safetensors_file::read(directory / index).contains("y"));
  }
  SECTION("a link to the index, as in the cache of the hub") {
    std::filesystem::create_directory(directory / "blobs");
    write_plainly(directory / "blobs/0123", "{\"weight_map\": " + valid + "}");
    std::filesystem::create_symlink("blobs/0123", directory / index);
    CHECK(strata::safetensors_file::read(directory / index).entries().size() == 3);
  }
  SECTION("an element that does not fit names the shard") {
    const float half = 0.5f;
    strata::safetensors_writer writer;
    writer.add("z", {1}, &half);
    writer.write(directory / "b");
    write_index(valid);
    CHECK(missing_in(message_of([&] { strata::safetensors_file::read(directory.path()).values<int>("z"); }),
                     {(directory / "b").string(), "tensor \"z\"", "0.5 at element 0"}) == "");
  }
  SECTION("a folder without an index") {
    CHECK(missing_in(message_of([&] { strata::safetensors_file::read(directory.path()); }),
                     {directory.path().string(), "a directory without", index}) == "");
  }
  SECTION("a shard that is missing, or no shard") {
    write_index(R"({"x": "a", "w": "c"})");
    CHECK(missing_in(reading(), {"shard of tensor \"w\"", (directory / "c").string(), std::strerror(ENOENT)}) == "");
    write_plainly(directory / "c", "GGUF....................");
    CHECK(missing_in(reading(), {"shard of tensor \"w\"", (directory / "c").string(), "a GGUF file"}) == "");
    write_index("{\"w\": \"" + index + "\"}");
    CHECK(missing_in(reading(), {"shard of tensor \"w\"", "JSON"}) == "");
  }
  SECTION("a tensor that is not in its shard") {
    write_index(R"({"x": "a", "z": "b", "w": "b"})");
    CHECK(missing_in(reading(), {"tensor \"w\" is not in its shard", (directory / "b").string()}) == "");
    write_index(R"({"x": "b", "z": "b", "y": "a"})");
    CHECK(missing_in(reading(), {"tensor \"x\" is not in its shard", (directory / "b").string()}) == "");
  }
  SECTION("a tensor that is there twice") {
    write_shard("b", {"z", "y"}, "of b");
    write_index(valid);
    CHECK(missing_in(reading(), {"tensor \"y\" is also in", (directory / "a").string(), (directory / "b").string()}) ==
          "");
    write_index(R"({"x": "a", "x": "b"})");
    CHECK(missing_in(reading(), {"\"x\" appears twice"}) == "");
  }
  SECTION("names that lead elsewhere") {
    for (const std::string name : {"../a", "/etc/passwd", "b/../a", "sub/a", "..", ".", "", "a\\u0000b"}) {
      CAPTURE(name);
      write_index("{\"x\": \"" + name + "\"}");
      CHECK(missing_in(reading(), {"tensor \"x\"", "shard \"" + name + "\"", "not the name of a file beside"}) == "");
    }
    write_index(R"({"x": 5})");
    CHECK(missing_in(reading(), {"tensor \"x\"", "the shard 5 is not the name"}) == "");
    write_index(R"({"x": ["a"]})");
    CHECK(missing_in(reading(), {"tensor \"x\"", "the shard of type array is not the name"}) == "");
  }
  SECTION("an index that is not what it should be") {
    write_index("[]");
    CHECK(missing_in(reading(), {"weight_map is of type array", "an object of file names is expected"}) == "");
    write_plainly(directory / index, "{\"weight_map\": {\"x\": \"a\"");
    CHECK(missing_in(reading(), {"not valid JSON at or after \"x\""}) == "");
    write_index(valid, ", \"more\": 1e400");
    CHECK(missing_in(reading(), {"not valid JSON", "1e400"}) == "");
    write_index(valid, ", \"more\": \"\xff\"");
    CHECK(missing_in(reading(), {"not valid JSON", "UTF-8"}) == "");
    write_index(valid, std::string(", \"more\": 1}\0", 14));
    CHECK(missing_in(reading(), {"not valid JSON", "a zero byte"}) == "");
    write_index(valid, ", \"more\": " + std::string(1000000, '['));
    CHECK(missing_in(reading(), {"more than 64 levels"}) == "");
    write_index("{}");
    CHECK(strata::safetensors_file::read(directory / index).entries().empty());
  }
}

TEST_CASE("a file is the same in every locale") {
  const scratch_directory directory;
  std::vector<float> numbers(1234567, 0.5f);
  const auto write = [&](const std::string& name) {
    strata::safetensors_writer writer;
    writer.add("x", {1234567}, numbers.data());
    writer.set_metadata("text", strata::to_text(1234567, ' ', 0.5));
    writer.write(directory / name);
    return read_plainly(directory / name);
  };
  const std::string expected = write("plain");
  const other_cpp_locale cpp;
  const other_c_locale c;
  CHECK((write("other") == expected));  // too long to be shown
  CHECK(strata::safetensors_file::read(directory / "other").entry("x").shape[0] == 1234567);
  CHECK(missing_in(refusal(file_with(header_entry("x", "[0,1234568]", "[1234567]", "\"U8\""), 1234568)),
                   {"takes 1234567 bytes", "hold 1234568"}) == "");
}

TEST_CASE("a damaged file is read or refused, nothing else") {
  const scratch_directory directory;
  const std::vector<float> numbers{1, 2, 3, 4, 5, 6};
  const std::int64_t step = 17;
  const bool flags[] = {true, false, true};
  strata::safetensors_writer writer;
  writer.set_metadata("config", "small");
  writer.add("weight", {2, 3}, numbers.data());
  writer.add("step", {1}, &step);
  writer.add("flags", {3}, flags);
  writer.write(directory / "file");
  const std::string valid = read_plainly(directory / "file");
  const auto header_end = static_cast<std::size_t>(static_cast<unsigned char>(valid[0])) + 8;
  REQUIRE(header_end < valid.size());

  std::mt19937_64 random(20240607);
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
  int loaded = 0, refused = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string damaged = valid;
    const std::size_t changes = 1 + below(3);
    for (std::size_t change = 0; change < changes; ++change) {
      const std::size_t at = below(below(4) == 0 ? damaged.size() : std::min(header_end, damaged.size()));
      switch (below(6)) {
        case 0:
          damaged[at] = static_cast<char>(random());
          break;
        case 1:
          damaged[at] = static_cast<char>(damaged[at] ^ (1 << below(8)));
          break;
        case 2:
          damaged[at] = "0123456789[]{},:\"-.e"[below(20)];
          break;
        case 3:
          damaged.erase(at, 1 + below(4));
          break;
        case 4:
          damaged.insert(at, damaged.substr(below(damaged.size()), 1 + below(40)));
          break;
        default:
          damaged.resize(at + 1);
      }
    }
    // Half of them with a header length that fits; otherwise nothing after the first check would be reached.
    if (damaged.size() > header_end && below(2) == 0) {
      const std::uint64_t length = header_end - 8 + damaged.size() - valid.size();
      std::memcpy(damaged.data(), &length, 8);
    }
    try {
      const auto file = parse(damaged);
      for (const auto& entry : file.entries()) {
        if (strata::detail::is_floating(entry.dtype))
          file.values<double>(entry.name);
        else
          file.values<std::int64_t>(entry.name);
      }
      ++loaded;
    } catch (const strata::error&) {
      ++refused;
    }
  }
  CHECK(loaded > 100);
  CHECK(refused > 1000);
  CHECK(loaded + refused == 6000);
}
