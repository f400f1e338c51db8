// The metrics of a run as TensorBoard reads them.
// Source: TFRecord files and the messages Event, Summary and TensorProto of TensorFlow, in the protocol buffer encoding.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace examples {

/// CRC-32C (Castagnoli), as in RFC 3720.
inline std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto table = [] {
    std::array<std::uint32_t, 256> own{};
    for (std::uint32_t n = 0; n < 256; ++n) {
      own[n] = n;
      for (int bit = 0; bit < 8; ++bit) own[n] = own[n] >> 1 ^ (own[n] & 1 ? 0x82F63B78u : 0u);
    }
    return own;
  }();
  std::uint32_t sum = ~0u;
  for (const char each : bytes) sum = sum >> 8 ^ table[(sum ^ static_cast<std::uint8_t>(each)) & 0xff];
  return ~sum;
}

namespace protocol_buffer {

inline std::string number(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
// Fields: a number of variable length, 8 bytes, a text or message, 4 bytes.
inline std::string field(int key, std::uint64_t value) {
  return number(static_cast<unsigned>(key) << 3) + number(value);
}
inline std::string field(int key, double value) {
  return number(static_cast<unsigned>(key) << 3 | 1) + little_endian(value);
}
inline std::string field(int key, std::string_view value) {
  return number(static_cast<unsigned>(key) << 3 | 2) + number(value.size()) + std::string(value);
}
inline std::string field(int key, float value) {
  return number(static_cast<unsigned>(key) << 3 | 5) + little_endian(value);
}

}  // namespace protocol_buffer

/// A record of an event file: length, data and their checks.
inline std::string event_record(std::string_view data) {
  const auto check = [](std::string_view bytes) {
    const std::uint32_t sum = crc32c(bytes);
    return protocol_buffer::little_endian((sum >> 15 | sum << 17) + 0xa282ead8u);
  };
  const std::string length = protocol_buffer::little_endian(static_cast<std::uint64_t>(data.size()));
  return length + check(length) + std::string(data) + check(data);
}

/// The first record of an event file.
inline std::string event_file_start(double time) {
  using protocol_buffer::field;
  return event_record(field(1, time) + field(3, std::string_view("brain.Event:2")));
}
/// A number under the name `tag`. Times are seconds since 1970.
inline std::string number_event(double time, std::int64_t step, std::string_view tag, double value) {
  using protocol_buffer::field;
  const std::string summary = field(1, field(1, tag) + field(2, static_cast<float>(value)));
  return event_record(field(1, time) + field(2, static_cast<std::uint64_t>(step)) + field(5, summary));
}
/// A text under the name `tag`, in UTF-8.
inline std::string text_event(double time, std::int64_t step, std::string_view tag, std::string_view text) {
  using protocol_buffer::field;
  constexpr std::uint64_t text_type = 7;
  const std::string shape = field(2, field(1, std::uint64_t{1}));
  const std::string tensor = field(1, text_type) + field(2, shape) + field(8, text);
  const std::string plugin = field(1, field(1, std::string_view("text")));
  const std::string summary = field(1, field(1, tag) + field(9, plugin) + field(8, tensor));
  return event_record(field(1, time) + field(2, static_cast<std::uint64_t>(step)) + field(5, summary));
}

}  // namespace examples
